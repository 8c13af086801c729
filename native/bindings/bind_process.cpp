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

// Closes these pools and waits for what is queued in them, except in daemon pools. False with an error set.
bool drain(const std::vector<std::shared_ptr<PoolShared>>& pools) {
    for (const auto& shared : pools) {
        {
            const std::lock_guard lock(shared->mutex);
            if (shared->closed_by.empty()) shared->closed_by = "the interpreter is shutting down";
        }
        shared->closed.store(true, std::memory_order_release);
        if (shared->threads == nullptr) continue;
        if (shared->daemon) discard_queued(*shared, nullptr);
        shared->threads->close();
    }
    return std::all_of(pools.begin(), pools.end(),
                       [](const auto& shared) { return shared->daemon || join_pool(*shared, kNoDeadline) >= 0; });
}

// Ends every pool of this interpreter. False if a call in another interpreter could not be stopped.
PyObject* drain_pools(PyObject* /*module*/, PyObject* /*unused*/) {
    std::vector<std::shared_ptr<PoolShared>> threads;
    std::vector<std::shared_ptr<PoolShared>> isolated;
    for (auto& each : all_pools()) {
        if (each->interpreter != PyInterpreterState_Get()) continue;
        (each->isolated == nullptr ? threads : isolated).push_back(std::move(each));
    }
    // Threads may hand calls on to the other interpreters: maps do.
    if (!drain(threads) || !drain(isolated)) return nullptr;
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) Py_RETURN_TRUE;
    stop_reactor();
    return PyBool_FromLong(end_isolation(isolated) ? 1 : 0);
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
    {"before_fork", before_fork, METH_NOARGS, nullptr},
    {"after_fork_in_parent", after_fork_in_parent, METH_NOARGS, nullptr},
    {"after_fork_in_child", after_fork_in_child, METH_NOARGS, nullptr},
    {"force_reactor", force_reactor_function, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

bool register_process(PyObject* module) { return PyModule_AddFunctions(module, functions) == 0; }

}  // namespace pyferris::python
