// The native part of shared data (SafeCounter, SafeDict, SafeLock, ...), which objects of several interpreters stand
// on.
//
//   private --first pickling, its elements are bytes now--> shared      (for good; numbers and locks are born shared)
//
// A private state belongs to one Python object, which may keep references to others in it. A shared one holds no Python
// object: any thread of any interpreter may use it or be the last to drop it.
//
// Pickling gives a handle: kind, process, random token, number. `_attach` makes an object of the handle in whatever
// interpreter of the process unpickles it. The registry finds a state by its number and keeps none alive: its objects
// do, and so do messages in which a handle travels (`take_pickled_handles`).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "py_ref.hpp"

namespace pyferris::python {

enum class SharedKind : std::uint8_t { counter, array, queue, dict, lock, rlock, condition };
inline constexpr std::size_t kSharedKinds = 7;

class SharedState {
  public:
    SharedState(SharedKind kind, bool shared) noexcept : kind_(kind), shared_(shared) {}
    SharedState(const SharedState&) = delete;
    SharedState& operator=(const SharedState&) = delete;
    virtual ~SharedState();

    SharedKind kind() const noexcept { return kind_; }
    /// Any thread. It never becomes false again; with the container's mutex held it does not change.
    bool is_shared() const noexcept { return shared_.load(std::memory_order_acquire); }
    /// Makes it shared, if it is not. False with an error set; then nothing changed. Attached, to the interpreter of
    /// the one object of a private state.
    virtual bool share() { return true; }

  protected:
    /// The container's mutex is held, and no Python object is left in it.
    void set_shared() noexcept { shared_.store(true, std::memory_order_release); }

  private:
    friend std::uint64_t register_state(const std::shared_ptr<SharedState>& state);

    const SharedKind kind_;
    std::atomic<bool> shared_;
    std::uint64_t number_ = 0;  // guarded by the registry's mutex; 0: never pickled
};

/// What was pickled on this thread since the last call, to be kept until it is unpickled. Any thread. Outside of a
/// HandleScope only the last 1000 are kept, as plain `pickle.dumps` has nobody to take them.
std::vector<std::shared_ptr<void>> take_pickled_handles();

/// While it lives, collects what this thread pickles, however much, apart from what was pickled before.
class HandleScope {
  public:
    HandleScope();
    ~HandleScope();
    HandleScope(const HandleScope&) = delete;
    HandleScope& operator=(const HandleScope&) = delete;
    std::vector<std::shared_ptr<void>> take() { return take_pickled_handles(); }

  private:
    std::vector<std::shared_ptr<void>> before_;
};

/// While it lives, this thread goes through the container's elements, and meets it again where it holds itself.
class Visit {
  public:
    enum class Purpose : std::uint8_t { share, show };

    Visit(const SharedState& state, Purpose purpose);
    ~Visit();
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    /// True if the thread was at it already.
    bool is_nested() const noexcept { return nested_; }

  private:
    const SharedState& state_;
    const Purpose purpose_;
    bool nested_ = true;
};

/// While on, this thread cannot pickle shared data: a TypeError that it cannot go to another process, and no container
/// is turned into bytes for nothing. Returns what it was.
bool refuse_handles(bool on);

/// `__reduce__` of `self`: shares its state. Null with an error set.
PyObject* reduce_to_handle(PyObject* self, const std::shared_ptr<SharedState>& state);

/// `__copy__` and `__deepcopy__` of `self`: TypeError with the remedy.
PyObject* refuse_copy(PyObject* self, PyObject* unused);

/// What makes an object of `type` on a shared state of its kind; null with an error set.
using AttachFunction = PyObject* (*)(PyTypeObject* type, std::shared_ptr<SharedState> state);
PyObject* attach_counter(PyTypeObject* type, std::shared_ptr<SharedState> state);
PyObject* attach_array(PyTypeObject* type, std::shared_ptr<SharedState> state);
PyObject* attach_queue(PyTypeObject* type, std::shared_ptr<SharedState> state);
PyObject* attach_dict(PyTypeObject* type, std::shared_ptr<SharedState> state);
PyObject* attach_lock(PyTypeObject* type, std::shared_ptr<SharedState> state);
PyObject* attach_rlock(PyTypeObject* type, std::shared_ptr<SharedState> state);
PyObject* attach_condition(PyTypeObject* type, std::shared_ptr<SharedState> state);

/// The state that a handle names. Null with an error set. Attached.
std::shared_ptr<SharedState> find_state(SharedKind kind, long long process, unsigned long long token,
                                        unsigned long long number);
const char* name_of(SharedKind kind);

}  // namespace pyferris::python
