// Interpreters with a GIL of their own: made, leased to one worker thread at a time, parked between two pools, ended.
//
//   (none) --make--> leased --park--> parked --lease--> leased
//                       `--retire--> retired           parked --end_parked--> (none)
//
// They are parked rather than ended because an ended one leaks megabytes below Python 3.14. Who
// leases one makes a thread state for the leasing thread. A retired one must not be used again (threads that were
// started in it still run, or it could not be cleaned); it is ended at exit, or before a fork.
//
// The main interpreter's GIL is needed for none of this.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "wire.hpp"

namespace pyferris::python {

/// True where this Python can make such interpreters.
constexpr bool kHasInterpreters = PY_VERSION_HEX >= 0x030C0000;

/// One leased or parked interpreter. Its Python objects are touched by threads attached to it only.
class Interpreter {
  public:
    Interpreter(const Interpreter&) = delete;
    Interpreter& operator=(const Interpreter&) = delete;

    PyInterpreterState* state() const noexcept { return state_; }
    /// The namespace of `pyferris._worker` there: a function by name, borrowed. Null with an error set. Attached to it.
    PyObject* function(const char* name) const;
    const WireCodec& codec() const noexcept { return codec_; }
    /// True if no thread but the caller's, whose state is `mine`, has a state in it. Attached to it.
    bool is_alone(PyThreadState* mine) const;

    /// The calling thread's state in it: attached from here to `detach`, or `leave`.
    static PyThreadState* enter(PyInterpreterState* interpreter);
    /// Deletes the calling thread's state, which it is attached with.
    static void leave(PyThreadState* state);

    // What the process has. Any thread, detached.

    /// A parked interpreter, or a new one, once `wait` has returned, which a new one's own beginning does not wait for.
    /// Null with the reason in `*error`, or without one where `wait` returned false.
    static std::unique_ptr<Interpreter> lease(const std::function<bool()>& wait, std::string* error);
    /// Nothing traces the memory now: where that changes no interpreter is made. Any thread.
    static void remember_allocator() noexcept;
    static void park(std::unique_ptr<Interpreter> interpreter);
    static void retire(std::unique_ptr<Interpreter> interpreter);
    /// Ends one that no thread has a state in any more. Keeps the caller's thread state.
    static void end(std::unique_ptr<Interpreter> interpreter);
    /// Ends those that are parked.
    static void end_parked();
    /// Ends those retired ones whose threads have ended; with `join`, waits for those that `threading` waits for. False
    /// if threads run on in one.
    static bool end_deserted(bool join = false);
    /// At exit: ends all. False if threads run on in one that nobody joins.
    static bool end_all();
    static std::size_t count_parked();
    /// Made, or being made, and not ended.
    static std::size_t count_alive() noexcept;
    static std::size_t count_retired();
    static void forget_after_fork();

    std::unordered_map<std::uint64_t, PyObject*> functions;  // shipped ones by number, strong; the leaseholder's

  private:
    Interpreter() = default;
    static std::unique_ptr<Interpreter> make(const std::function<bool()>& wait, std::string* error);
    bool prepare(std::string* error);
    static std::unique_ptr<Interpreter> take(std::vector<std::unique_ptr<Interpreter>>& from);
    bool is_deserted(bool join) const;

    PyInterpreterState* state_ = nullptr;
    PyThreadState* keeper_ = nullptr;  // never attached: 3.12 cannot make an interpreter's first state twice
    PyObject* namespace_ = nullptr;    // a dict, strong
    WireCodec codec_;
};

/// What a new interpreter runs first: Python code that binds `worker` to its module pyferris._worker, and what it finds
/// as `state`, bytes. Any thread.
void set_interpreter_bootstrap(std::string code, std::string state);

}  // namespace pyferris::python
