// The Python object behind SafeThreadPool, and its workers.
//
//   PoolObject --shared_ptr--> PoolShared <--shared_ptr-- PyWorker (one a thread)
//
// The workers do not refer to the PoolObject, so a pool that its user dropped is collected: its deallocation closes the
// core, and the workers go once the queue is empty. A queued call refers to the PoolObject and keeps it until it ran.
//
// A worker has one Python thread state for as long as it lives. It pops while detached, attaches, runs, detaches. Lock
// order: none is ever held while attaching.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "future_object.hpp"
#include "loop_bridge.hpp"
#include "pyferris/thread_pool.hpp"

namespace pyferris::python {

struct IsolatedPool;
class MapRun;
class PyWorker;

/// What a pool and its workers share.
struct PoolShared {
    // Calls queued or running; of isolated pools, together with those that their workers have finished since. On a
    // cache line of its own, as it changes with each call.
    alignas(64) std::atomic<std::int64_t> active{0};
    alignas(64) std::shared_ptr<ThreadPool> threads;  // null for an inline pool
    std::string prefix;
    bool daemon = false;
    bool delegated = false;  // `submit` is for the Python class to carry out: `_submit_delegated`
    PyInterpreterState* interpreter = nullptr;
    std::atomic<bool> closed{false};         // no more submits
    std::atomic<bool> broken{false};         // an initializer failed
    std::shared_ptr<IsolatedPool> isolated;  // what workers of other interpreters share; null: threads of this one

    std::mutex mutex;                           // guards all below; never held while attaching or dropping
    std::vector<PyWorker*> workers;             // started and not gone
    std::vector<std::shared_ptr<MapRun>> maps;  // that are not over
    std::string closed_by;                      // who closed it, for the message of a late submit
};

struct PoolObject {
    PyObject_HEAD
    PyObject* weakrefs;
    std::shared_ptr<PoolShared> shared;
    PyObject* initializer;  // or null
    PyObject* initargs;     // a tuple
};

/// A worker of Python calls. Its methods run on its own thread.
class PyWorker final : public WorkerDriver {
  public:
    PyWorker(std::shared_ptr<PoolShared> shared, std::size_t index, PyObject* initializer, PyObject* initargs);
    ~PyWorker() override;

    bool start() override;
    bool attach() override;
    void run(Task& task) override;
    void between() override;
    void detach() override;
    void leave() override;
    void stop() override;

    /// The calls that it runs, each inside the one before; not those of maps. Read with the pool's mutex held,
    /// attached.
    const std::vector<FutureObject*>& running() const noexcept { return running_; }
    PyObject* thread() const noexcept { return thread_; }
    WakeBatch& batch() noexcept { return batch_; }
    /// While it delivers an outcome of its own: wake-ups can wait for the GIL to be free.
    bool delivering() const noexcept { return batch_.is_current(); }
    /// Wakes the loop when this worker next lets go of the GIL, or before it runs anything else.
    void owe(std::shared_ptr<LoopBridge> bridge) { owed_.push_back(std::move(bridge)); }

  private:
    bool initialize();
    void end();
    void run_call(CallTask& task);
    void begin_call(FutureObject* future);
    void end_call();
    void wake_loops(bool attached);
    bool has_held_long();

    const std::shared_ptr<PoolShared> shared_;
    const std::size_t index_;
    const std::uint64_t released_;  // `gil_releases` of when it was asked for
    PyObject* initializer_;         // strong until `start` has called it; no PyRef: see thread_pool.cpp on destructors
    PyObject* initargs_;
    PyThreadState* state_ = nullptr;
    PyObject* thread_ = nullptr;  // the threading.Thread that stands for it
    std::vector<FutureObject*> running_;
    std::uint32_t since_look_ = 0;    // work done since the last look at the clock
    std::uint64_t attached_at_ = 0;   // ns
    std::uint64_t longest_hold_ = 0;  // ns; found out when it is over
    WakeBatch batch_;
    std::vector<std::shared_ptr<LoopBridge>> owed_;  // loops that wait for a wake-up
};

/// The worker that this thread is, or null.
PyWorker* current_worker() noexcept;

/// The batch of the worker that this thread is, null on other threads.
WakeBatch* current_worker_batch() noexcept;

/// Gives the pool object what it shares with its workers, once. False with an error set.
bool adopt(PyObject* pool, const std::shared_ptr<PoolShared>& shared);

/// The pool takes no more calls; the first reason is kept. True if it was open. Any thread.
bool mark_closed(PoolShared& shared, const std::string& by);

/// The pools of all interpreters that are not gone. Any thread.
std::vector<std::shared_ptr<PoolShared>> all_pools();
/// Waits until all workers of a closed pool are gone. 1; 0: the time ran out; -1: error set.
int join_pool(PoolShared& shared, Deadline deadline);

/// Takes a cancelled call out of the queue and drops what it holds. Attached.
void withdraw(PoolObject& pool, FutureObject* future);
/// This thread runs the event loop of the pool's coroutines from now on.
void become_loop_of(const PoolShared* shared) noexcept;
/// True on that thread: its coroutines may be what a worker waits for, so its calls are wanted.
bool is_loop_of(const PoolShared& shared) noexcept;
/// On a worker of the future's pool: runs it here if it is still queued. True if it is final then.
bool help_pool(FutureObject* future);
/// Everything queued will never run: it is cancelled, or fails with `error` where that is not null. Attached.
void discard_queued(PoolShared& shared, PyObject* error);
/// One task that is in no queue any more and will never run. The queue's reference to it is given back.
void discard(PyTask& task, PyObject* error);
/// A queued or running call that will never end fails with `error`.
void fail_call(FutureObject* future, PyObject* error);
/// Asks the running calls and maps of a pool to stop; those in other interpreters are interrupted. Attached.
void stop_running(PoolShared& shared);
/// An initializer failed with `error`: reports it, closes the pool and fails what is queued. Attached.
void break_pool(PoolShared& shared, PyObject* error);
/// Raises that a subclass has not called `__init__`.
void raise_not_made();
/// Who closed a pool that was open when the interpreter ended, or is made afterwards.
inline constexpr const char* kAtExit = "the interpreter is shutting down";
/// Raises why a task was not queued. Always null.
PyObject* refuse_submit(PoolShared& shared, ThreadPool::SubmitResult why);

}  // namespace pyferris::python
