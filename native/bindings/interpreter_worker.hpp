// Workers whose calls run in an interpreter of their own, and what a pool of them shares.
//
// A worker's thread leases an interpreter before its first call and parks it after the last. While it runs calls it is
// attached to that interpreter; it never attaches to the main one.
//
//   PoolShared --> IsolatedPool --> WorkerSlot (shared) <-- InterpreterWorker
//
// A slot (worker_slots.hpp) is what others may touch of a worker.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "pyferris/cores.hpp"
#include "worker_slots.hpp"

namespace pyferris::python {

/// What the workers of one pool share.
struct IsolatedPool {
    enum class Opening : std::uint8_t { prepared, done, failed };
    std::atomic<Opening> opening{Opening::prepared};  // a worker makes its interpreter meanwhile, and waits for `done`

    std::atomic<int> early{0};  // workers that begin before there is a call

    Seen opener{0, -1};  // who made the pool, and may go on to compute; set before there are workers

    // Set by then.
    std::string environment;                      // for `_worker.enter`
    std::shared_ptr<const Shipment> initializer;  // or null
    Message initargs;
    std::atomic<std::int64_t> nap_us{0};  // of readers while much is queued; see nap_while_busy

    std::mutex mutex;  // guards all below
    std::vector<std::shared_ptr<WorkerSlot>> slots;
    std::int64_t finished_by_gone = 0;  // calls, by workers that have no slot any more
};

/// Workers of all pools that begin before there is a call, and have no interpreter yet; `change` is added first.
std::size_t count_early(int change);
/// Calls that workers of the pool have finished, of those that `PoolShared::active` counts. Any thread.
std::int64_t count_finished(IsolatedPool& pool);

class InterpreterWorker final : public WorkerDriver {
  public:
    explicit InterpreterWorker(std::shared_ptr<PoolShared> shared);
    ~InterpreterWorker() override;

    bool start() override;
    bool attach() override;
    void run(Task& task) override;
    void between() override {}
    bool must_detach() override;
    void detach() override;
    void stop() override;

  private:
    void set_gone(bool gone);
    bool is_unwanted() const;
    void spread() const;
    bool wait_until_opened() const;
    bool begin();
    bool lease(std::string* error);
    bool enter();
    PyObject* shipped(const Shipment& code);
    PyObject* call(FutureObject* future);
    void break_pool_with(std::string error);
    void break_pool_with_raised();
    void give_back();

    const std::shared_ptr<PoolShared> shared_;
    const std::shared_ptr<WorkerSlot> slot_;
};

/// True on a worker thread of another interpreter.
bool current_isolated_worker() noexcept;
/// True if a wait of the isolated call that this thread runs is to end by CallCancelled, because the call was asked to
/// stop and has not been told so yet. Attached.
bool take_stop_request();

/// `submit` of a pool of interpreters.
PyObject* submit_isolated(PoolObject* pool, PyObject* const* args, Py_ssize_t count, PyObject* names);

/// Registers what Python needs of all this. False with an error set.
bool register_interpreter(PyObject* module);

}  // namespace pyferris::python
