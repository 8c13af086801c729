#include "pool_object.hpp"

#include <algorithm>

#include "isolated_call.hpp"
#include "map_run.hpp"
#include "py_args.hpp"
#include "py_compat.hpp"
#include "worker_slots.hpp"

namespace pyferris::python {

namespace {

struct Registry {
    std::mutex mutex;
    std::vector<std::weak_ptr<PoolShared>> pools;  // guarded by mutex
};

Registry& registry() {
    static auto* const instance = new Registry();
    return *instance;
}

// Whether this is a call of a pool's, or what has its context.
bool is_in_call() {
    if (current_worker() != nullptr || current_future() != nullptr) return true;
    PyObject* call = nullptr;
    if (PyContextVar_Get(module_state().coroutine_call, Py_None, &call) != 0) PyErr_Clear();
    const PyRef keep = PyRef::steal(call);
    return call != nullptr && call != Py_None;
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
    const Exit exit = module_state().exit;
    if (shared->threads != nullptr && (exit == Exit::drained || (exit == Exit::draining && !is_in_call()))) {
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
    if (current_worker() == nullptr) return false;
    PyRef pool;
    PYFERRIS_BEGIN_CRITICAL_SECTION(as_object(future));
    pool = PyRef::share(reinterpret_cast<PyObject*>(future->call.pool));
    PYFERRIS_END_CRITICAL_SECTION();
    if (!pool) return false;
    PoolShared& shared = *reinterpret_cast<PoolObject*>(pool.get())->shared;
    if (shared.threads == nullptr || !shared.threads->is_current() || !shared.threads->remove(future->task))
        return false;
    current_worker()->run(future->task);
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
