// What concerns the pools of the whole process: its exit, and forks.
#include <algorithm>
#include <vector>

#include "map_run.hpp"
#include "notifier.hpp"
#include "py_args.hpp"
#include "py_compat.hpp"
#include "worker_slots.hpp"

namespace pyferris::python {

namespace {

constexpr std::uint64_t kLastWordsNs = 2'000'000'000;  // for calls in worker processes, where the exit was interrupted

using Pools = std::vector<std::shared_ptr<PoolShared>>;

// True if one was open.
bool close_at_exit(const Pools& pools) {
    bool open = false;
    for (const auto& shared : pools) {
        open = mark_closed(*shared, kAtExit) || open;
        if (shared->threads == nullptr) continue;
        if (shared->daemon) discard_queued(*shared, nullptr);
        shared->threads->close();
    }
    return open;
}

// The pools of this interpreter whose workers are its threads, or other interpreters.
Pools pools_here(bool isolated) {
    Pools pools = all_pools();
    std::erase_if(pools, [isolated](const auto& each) {
        return each->interpreter != PyInterpreterState_Get() || (each->isolated != nullptr) != isolated;
    });
    return pools;
}

// Closes them and waits for what is queued in them, except in daemon pools. False with an error set.
bool drain(bool isolated) {
    for (bool first = true;; first = false) {  // a call may make a pool while others are waited for
        const Pools pools = pools_here(isolated);
        if (!close_at_exit(pools) && !first) return true;
        for (const auto& shared : pools) {
            if (!shared->daemon && join_pool(*shared, kNoDeadline) < 0) return false;
        }
    }
}

PyObject* end_of_pools() {
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) Py_RETURN_TRUE;
    stop_reactor();
    return PyBool_FromLong(end_isolation() ? 1 : 0);
}

// Ends every pool of this interpreter. False if a call in another interpreter could not be stopped.
PyObject* drain_pools(PyObject* /*module*/, PyObject* /*unused*/) {
    module_state().exit = Exit::draining;
    // Threads may hand calls on to the other interpreters: maps do.
    const bool drained = drain(false) && drain(true);
    module_state().exit = Exit::drained;
    if (!drained) return nullptr;
    for (const auto& shared : pools_here(true)) {
        if (shared->daemon) stop_running(*shared);
    }
    return end_of_pools();
}

// The same where the wait was interrupted: nobody waits for calls of this interpreter, others are stopped.
PyObject* abandon_pools(PyObject* /*module*/, PyObject* /*unused*/) {
    module_state().exit = Exit::drained;
    for (const bool isolated : {false, true}) {
        const Pools pools = pools_here(isolated);
        close_at_exit(pools);
        for (const auto& shared : pools) {
            if (shared->threads != nullptr) discard_queued(*shared, nullptr);
            stop_running(*shared);
        }
    }
    for (const auto& shared : pools_here(false)) {  // what runs in another process is stopped soon, or its process is
        if (shared->delegated && join_pool(*shared, deadline_after(kLastWordsNs)) < 0) PyErr_Clear();
    }
    return end_of_pools();
}

PyObject* before_fork(PyObject* /*module*/, PyObject* /*unused*/) {
    before_fork_isolated();
    Py_RETURN_NONE;
}

PyObject* after_fork_in_parent(PyObject* /*module*/, PyObject* /*unused*/) {
    after_fork_in_parent_isolated();
    Py_RETURN_NONE;
}

// What workers that do not exist in the child were running fails with `error`; a call that forked goes on here.
void lose_running(PoolShared& shared, PyObject* error) {
    const PyWorker* here = current_worker();
    std::vector<PyRef> lost;
    std::int64_t go_on = 0;
    for (const PyWorker* worker : shared.workers) {
        if (worker == here) go_on = static_cast<std::int64_t>(worker->running().size());
        if (worker == here) continue;
        for (FutureObject* future : worker->running()) lost.push_back(PyRef::share(as_object(future)));
    }
    const auto maps = shared.maps;
    for (const auto& map : maps) map->break_off_after_fork(error);
    for (const PyRef& future : lost) {
        fail_call(as_future(future.get()), error);
        as_future(future.get())->state.mark_retrieved();  // it is the parent's to report
    }
    std::erase_if(shared.workers, [here](const PyWorker* worker) { return worker != here; });
    shared.active.store(go_on);
}

PyObject* after_fork_in_child(PyObject* /*module*/, PyObject* /*unused*/) {
    PyErr_SetString(module_state().broken_pool, "this was pending when the process forked: only the parent runs it");
    const PyRef error = PyRef::steal(take_raised());
    after_fork_in_child_isolated();
    std::vector<Task*> queued;
    ThreadPool::after_fork_in_child([&](Task& task) { queued.push_back(&task); });
    abandon_bridges_after_fork();
    for (Task* each : queued) {
        auto& task = static_cast<PyTask&>(*each);
        if (task.kind == PyTask::Kind::call) {
            future_of(static_cast<CallTask&>(task))->state.mark_retrieved();  // it is the parent's to report
        }
        discard(task, error.get());
    }
    for (const auto& shared : all_pools()) lose_running(*shared, error.get());
    Py_RETURN_NONE;
}

PyObject* force_reactor_function(PyObject* /*module*/, PyObject* on) {
    force_reactor(PyObject_IsTrue(on) == 1);
    Py_RETURN_NONE;
}

PyObject* is_any_worker(PyObject* /*module*/, PyObject* /*unused*/) {
    return PyBool_FromLong(current_worker() != nullptr);
}

PyMethodDef functions[] = {
    {"is_worker", is_any_worker, METH_NOARGS, nullptr},
    {"drain_pools", drain_pools, METH_NOARGS, nullptr},
    {"abandon_pools", abandon_pools, METH_NOARGS, nullptr},
    {"before_fork", before_fork, METH_NOARGS, nullptr},
    {"after_fork_in_parent", after_fork_in_parent, METH_NOARGS, nullptr},
    {"after_fork_in_child", after_fork_in_child, METH_NOARGS, nullptr},
    {"force_reactor", force_reactor_function, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

bool register_process(PyObject* module) { return PyModule_AddFunctions(module, functions) == 0; }

}  // namespace pyferris::python
