#include "pool_object.hpp"

#include <algorithm>

#include "context_scope.hpp"
#include "isolated_call.hpp"
#include "map_run.hpp"
#include "py_args.hpp"
#include "py_compat.hpp"
#include "pyferris/spin.hpp"
#include "thread_state.hpp"
#include "worker_slots.hpp"

namespace pyferris::python {

namespace {

thread_local PyWorker* this_worker = nullptr;

constexpr std::uint32_t kLookAfter = 64;           // calls between two looks at the clock
constexpr std::uint64_t kHoldOffNs = 3'000;        // an event loop's way from a submit to its next wait
constexpr std::uint64_t kFirstHoldOffNs = 50'000;  // the same of who makes a pool for one call; as long as a wake-up
constexpr std::uint64_t kLeastPatienceNs = 1'000'000;

// How long a worker may hold the GIL, in ns: a while longer than the switch interval, so that a thread that waits for
// it has given up waiting and asked for it by then. To such a one CPython hands it over. One that is just woken as the
// GIL is let go finds that it has been taken again, and waits anew: at intervals just as long, again and again.
// Attached.
std::uint64_t find_longest_hold() {
    constexpr std::uint64_t usual = 5'000'000;
    const SavedError saved;
    PyObject* function = PySys_GetObject("getswitchinterval");  // borrowed
    const PyRef seconds = PyRef::steal(function != nullptr ? PyObject_CallNoArgs(function) : nullptr);
    const double found = seconds ? PyFloat_AsDouble(seconds.get()) : -1.0;
    if (PyErr_Occurred() != nullptr) PyErr_Clear();
    const std::uint64_t interval = found < 0 ? usual : static_cast<std::uint64_t>(std::min(found, 3600.0) * 1e9);
    return interval + std::max(kLeastPatienceNs, interval / 4);
}

struct Registry {
    std::mutex mutex;
    std::vector<std::weak_ptr<PoolShared>> pools;  // guarded by mutex
};

Registry& registry() {
    static auto* const instance = new Registry();
    return *instance;
}

}  // namespace

std::vector<std::shared_ptr<PoolShared>> all_pools() {
    std::vector<std::shared_ptr<PoolShared>> pools;
    Registry& all = registry();
    const std::lock_guard lock(all.mutex);
    for (const auto& weak : all.pools) {
        if (auto pool = weak.lock()) pools.push_back(std::move(pool));
    }
    return pools;
}

bool adopt(PyObject* object, const std::shared_ptr<PoolShared>& shared) {
    PoolObject* self = reinterpret_cast<PoolObject*>(object);
    if (self->shared != nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "this pool was made already: __init__ must not be called again");
        return false;
    }
    self->shared = shared;
    if (module_state().drained && shared->threads != nullptr) {
        mark_closed(*shared, kAtExit);
        shared->threads->close();
    }
    Registry& all = registry();
    const std::lock_guard lock(all.mutex);
    std::erase_if(all.pools, [](const auto& weak) { return weak.expired(); });
    all.pools.emplace_back(shared);
    return true;
}

bool mark_closed(PoolShared& shared, const std::string& by) {
    {
        const std::lock_guard lock(shared.mutex);
        if (shared.closed_by.empty()) shared.closed_by = by;
    }
    return !shared.closed.exchange(true, std::memory_order_acq_rel);
}

// 1: all workers are gone; 0: the time ran out; -1: error set.
int join_pool(PoolShared& shared, Deadline deadline) {
    if (shared.threads == nullptr) return 1;
    const ParkerLease lease;
    WaitQueue::Node node(*lease);
    WaitResult result = WaitResult::woken;
    if (shared.threads->add_joiner(node)) {
        result = wait_attached(*lease, deadline);
        if (result != WaitResult::woken && !shared.threads->remove_joiner(node)) {
            consume_token(*lease);
            if (result == WaitResult::timed_out) result = WaitResult::woken;
        }
    }
    if (result == WaitResult::error) return -1;
    if (result == WaitResult::timed_out) return 0;
    PyThreadState* state = PyEval_SaveThread();
    shared.threads->reap();
    PyEval_RestoreThread(state);
    return 1;
}

PyWorker* current_worker() noexcept { return this_worker; }

WakeBatch* current_worker_batch() noexcept { return this_worker == nullptr ? nullptr : &this_worker->batch(); }

PyWorker::PyWorker(std::shared_ptr<PoolShared> shared, std::size_t index, PyObject* initializer, PyObject* initargs)
    : shared_(std::move(shared)),
      index_(index),
      released_(gil_releases()),
      initializer_(initializer),
      initargs_(initargs) {}

// What Python gave was dropped in `stop`, attached.
PyWorker::~PyWorker() = default;

// Whoever submitted the task holds the GIL still, and is mostly about to wait, on this call or in its event loop. A
// thread that asks for a GIL that is held sleeps, and is woken through the kernel; one that comes a moment later finds
// it free.
static void hold_off(std::uint64_t released, std::uint64_t longest_ns) {
#ifndef Py_GIL_DISABLED
    spin_until([released] { return gil_releases() != released; }, longest_ns);
#else
    static_cast<void>(released);
    static_cast<void>(longest_ns);
#endif
}

bool PyWorker::start() {
    this_worker = this;
    state_ = new_thread_state(shared_->interpreter);
    hold_off(released_, kFirstHoldOffNs);
    PyEval_RestoreThread(state_);
    keep_spare_context();
    {
        const std::lock_guard lock(shared_->mutex);
        shared_->workers.push_back(this);
    }
    PyObject* name = make_text(shared_->prefix + "_" + std::to_string(index_));  // "N" takes it over, also null
    PyObject* thread =
        PyObject_CallFunction(module_state().worker_started, "NO", name, shared_->daemon ? Py_True : Py_False);
    if (thread == nullptr) PyErr_WriteUnraisable(nullptr);
    {
        const std::lock_guard lock(shared_->mutex);
        thread_ = thread;
    }
    const bool initialized = initialize();
    state_ = PyEval_SaveThread();
    if (!initialized) stop();
    return initialized;
}

bool PyWorker::initialize() {
    PyObject* initializer = std::exchange(initializer_, nullptr);
    PyObject* initargs = std::exchange(initargs_, nullptr);
    PyObject* result = initializer == nullptr ? Py_NewRef(Py_None) : PyObject_CallObject(initializer, initargs);
    if (result == nullptr) {
        PyObject* error = take_raised();
        break_pool(*shared_, error);
        Py_DECREF(error);
    }
    Py_XDECREF(initializer);
    Py_XDECREF(initargs);
    Py_XDECREF(result);
    return result != nullptr;
}

bool PyWorker::attach() {
    hold_off(gil_releases(), kHoldOffNs);
    PyEval_RestoreThread(state_);
    attached_at_ = now_ns();
    return true;
}

void PyWorker::run(Task& task) {
    auto& py_task = static_cast<PyTask&>(task);
    if (py_task.kind == PyTask::Kind::map) {
        since_look_ += kLookAfter;
        MapRun::run(static_cast<MapTask&>(py_task), *this);
    } else {
        ++since_look_;
        run_call(static_cast<CallTask&>(py_task));
    }
}

void PyWorker::run_call(CallTask& task) {
    FutureObject* future = future_of(task);
    if (future->state.claim()) {
        begin_call(future);
        run_claimed(future);
        end_call();
        shared_->active.fetch_sub(1, std::memory_order_relaxed);
    }
    Py_DECREF(as_object(future));
}

// Others look at what runs with the mutex held; where there is a GIL, that keeps them away already.
void PyWorker::begin_call(FutureObject* future) {
#ifdef Py_GIL_DISABLED
    const std::lock_guard lock(shared_->mutex);
#endif
    running_.push_back(future);
}

void PyWorker::end_call() {
#ifdef Py_GIL_DISABLED
    const std::lock_guard lock(shared_->mutex);
#endif
    running_.pop_back();
}

// Native functions never ask whether another thread waits for the GIL: after as long as Python's own code would have
// kept it, it is offered.
bool PyWorker::has_held_long() {
    if (since_look_ < kLookAfter) return false;
    since_look_ = 0;
    if (now_ns() - attached_at_ <= longest_hold_) return false;
    longest_hold_ = find_longest_hold();
    return true;
}

void PyWorker::wake_loops(bool attached) {
    for (std::size_t i = 0; i < owed_.size(); ++i) {
        if (owed_[i]->queue.wake()) continue;
        // Its loop has gone: what was meant for it is dropped, which takes an attached thread.
        if (!attached) PyEval_RestoreThread(state_);
        owed_[i]->queue.drop_all();
        if (!attached) state_ = PyEval_SaveThread();
    }
    owed_.clear();
}

void PyWorker::between() {
    if (batch_.empty() && !has_held_long()) {
        wake_loops(true);
        return;
    }
    detach();
    static_cast<void>(attach());
}

void PyWorker::detach() {
    state_ = PyEval_SaveThread();
    batch_.flush();
    if (!owed_.empty()) wake_loops(false);
}

// Who waits for its last task takes longer to wake up than this thread needs the GIL yet.
void PyWorker::leave() {
    batch_.flush();
    wake_loops(true);
    state_ = PyThreadState_Get();
    end();
}

void PyWorker::stop() {
    PyEval_RestoreThread(state_);
    end();
}

// Attached; lets go of the interpreter for good.
void PyWorker::end() {
    PyObject* thread = nullptr;
    {
        const std::lock_guard lock(shared_->mutex);
        std::erase(shared_->workers, this);
        thread = std::exchange(thread_, nullptr);
    }
    if (thread != nullptr) {
        PyObject* stopped = PyObject_CallOneArg(module_state().worker_stopped, thread);
        if (stopped == nullptr) PyErr_WriteUnraisable(thread);
        Py_XDECREF(stopped);
        Py_DECREF(thread);
    }
    this_worker = nullptr;
    drop_spare_context();
    PyThreadState_Clear(state_);
    PyThreadState_DeleteCurrent();
}

void withdraw(PoolObject& pool, FutureObject* future) {
    if (pool.shared->threads != nullptr && pool.shared->threads->remove(future->task)) {
        drop_call(future);
        count_call(*pool.shared, future, -1);
        Py_DECREF(as_object(future));
        return;
    }
    // A worker has it in hand and will find it cancelled.
    drop_call(future);
    count_call(*pool.shared, future, -1);
}

bool help_pool(FutureObject* future) {
    if (this_worker == nullptr) return false;
    PyRef pool;
    PYFERRIS_BEGIN_CRITICAL_SECTION(as_object(future));
    pool = PyRef::share(reinterpret_cast<PyObject*>(future->call.pool));
    PYFERRIS_END_CRITICAL_SECTION();
    if (!pool) return false;
    PoolShared& shared = *reinterpret_cast<PoolObject*>(pool.get())->shared;
    if (shared.threads == nullptr || !shared.threads->is_current() || !shared.threads->remove(future->task))
        return false;
    this_worker->run(future->task);
    return future->state.is_final();
}

void fail_call(FutureObject* future, PyObject* error) {
    drop_call(future);
    set_exception(future, Py_NewRef(error));
}

void discard(PyTask& task, PyObject* error) {
    if (task.kind == PyTask::Kind::map) {
        MapRun::release(static_cast<MapTask&>(task));
        return;
    }
    FutureObject* future = future_of(static_cast<CallTask&>(task));
    const PyRef pool = PyRef::share(reinterpret_cast<PyObject*>(future->call.pool));
    const bool pending = error != nullptr ? !future->state.is_final() : cancel_pending(future, true);
    if (pending) {
        if (error != nullptr) {
            fail_call(future, error);
        } else {
            drop_call(future);
        }
        count_call(*reinterpret_cast<PoolObject*>(pool.get())->shared, future, -1);
    }
    Py_DECREF(as_object(future));
}

void discard_queued(PoolShared& shared, PyObject* error) {
    const std::vector<Task*> tasks = shared.threads->take_all();
    std::vector<std::shared_ptr<MapRun>> maps;
    {
        const std::lock_guard lock(shared.mutex);
        maps = shared.maps;
    }
    // Also those whose tasks all run: items of theirs are queued all the same.
    for (const auto& map : maps) {
        if (error != nullptr) {
            map->break_off(error);
        } else {
            map->stop(false);
        }
    }
    for (Task* task : tasks) discard(static_cast<PyTask&>(*task), error);
}

void stop_running(PoolShared& shared) {
    if (shared.isolated != nullptr) interrupt_all(shared);
    const std::lock_guard lock(shared.mutex);
    for (const PyWorker* worker : shared.workers) {
        for (FutureObject* future : worker->running()) future->state.request_stop();
    }
    for (const auto& map : shared.maps) map->future()->state.request_stop();
}

void break_pool(PoolShared& shared, PyObject* error) {
    {
        const std::lock_guard lock(shared.mutex);
        shared.closed_by = "its initializer failed";
    }
    shared.closed.store(true);
    shared.broken.store(true);
    const PyRef reported = PyRef::steal(PyObject_CallOneArg(module_state().report_initializer, error));
    if (!reported) PyErr_WriteUnraisable(nullptr);
    shared.threads->close();
    PyErr_SetString(module_state().broken_pool, "the initializer of a worker failed; the pool cannot be used any more");
    const PyRef broken = PyRef::steal(take_raised());
    PyException_SetCause(broken.get(), Py_NewRef(error));
    discard_queued(shared, broken.get());
}

void raise_not_made() {
    PyErr_SetString(PyExc_RuntimeError, "this pool was not made completely: call super().__init__() first");
}

PyObject* refuse_submit(PoolShared& shared, ThreadPool::SubmitResult why) {
    if (why == ThreadPool::SubmitResult::no_thread) {
        PyErr_Format(PyExc_RuntimeError, "can't start new thread for %s; nothing was submitted", shared.prefix.c_str());
        return nullptr;
    }
    std::string by;
    {
        const std::lock_guard lock(shared.mutex);
        by = shared.closed_by;
    }
    const bool broken = shared.broken.load();
    PyErr_Format(broken ? module_state().broken_pool : module_state().pool_closed, "cannot submit to this pool: %s%s",
                 by.empty() ? "it was closed" : by.c_str(), by == kAtExit ? "" : "; make a new SafeThreadPool");
    return nullptr;
}

}  // namespace pyferris::python
