// PoolCore: the Python face of PoolObject, base of the public SafeThreadPool.
#include <algorithm>

#include "context_scope.hpp"
#include "interpreter_worker.hpp"
#include "map_run.hpp"
#include "py_args.hpp"
#include "py_compat.hpp"
#include "structmember.h"

namespace pyferris::python {

namespace {

PoolObject* as_pool(PyObject* object) { return reinterpret_cast<PoolObject*>(object); }

struct Registry {
    std::mutex mutex;
    std::vector<std::weak_ptr<PoolShared>> pools;  // guarded by mutex
};

Registry& registry() {
    static auto* const instance = new Registry();
    return *instance;
}

std::vector<std::shared_ptr<PoolShared>> all_pools() {
    std::vector<std::shared_ptr<PoolShared>> pools;
    Registry& all = registry();
    const std::lock_guard lock(all.mutex);
    for (const auto& weak : all.pools) {
        if (auto pool = weak.lock()) pools.push_back(std::move(pool));
    }
    return pools;
}

int traverse(PyObject* object, visitproc visit, void* arg) {
    PoolObject* self = as_pool(object);
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->initializer);
    Py_VISIT(self->initargs);
    return 0;
}

int clear(PyObject* object) {
    PoolObject* self = as_pool(object);
    Py_CLEAR(self->initializer);
    Py_CLEAR(self->initargs);
    return 0;
}

void dealloc(PyObject* object) {
    PoolObject* self = as_pool(object);
    PyTypeObject* type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (self->weakrefs != nullptr) PyObject_ClearWeakRefs(object);
    clear(object);
    // The workers finish what is queued, then go; nobody waits for them here.
    if (self->shared != nullptr && self->shared->threads != nullptr) self->shared->threads->close();
    self->shared.~shared_ptr();
    type->tp_free(object);
    Py_DECREF(type);
}

PyObject* make(PyTypeObject* type, PyObject* /*args*/, PyObject* /*kwargs*/) {
    PoolObject* self = as_pool(type->tp_alloc(type, 0));
    if (self != nullptr) new (&self->shared) std::shared_ptr<PoolShared>();
    return reinterpret_cast<PyObject*>(self);
}

}  // namespace

bool adopt(PyObject* object, const std::shared_ptr<PoolShared>& shared) {
    PoolObject* self = as_pool(object);
    if (self->shared != nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "this pool was made already: __init__ must not be called again");
        return false;
    }
    self->shared = shared;
    if (module_state().drained && shared->threads != nullptr) {
        shared->closed_by = kAtExit;
        shared->closed.store(true, std::memory_order_release);
        shared->threads->close();
    }
    Registry& all = registry();
    const std::lock_guard lock(all.mutex);
    std::erase_if(all.pools, [](const auto& weak) { return weak.expired(); });
    all.pools.emplace_back(shared);
    return true;
}

namespace {

// `_open(max_workers, prefix, initializer, initargs, inline, daemon, stack_size)`: the arguments are checked by the
// public class.
PyObject* open(PyObject* object, PyObject* args) {
    PoolObject* self = as_pool(object);
    Py_ssize_t workers = 0;
    Py_ssize_t stack_size = 0;
    PyObject* prefix = nullptr;
    PyObject* initializer = nullptr;
    PyObject* initargs = nullptr;
    int is_inline = 0;
    int daemon = 0;
    if (PyArg_ParseTuple(args, "nUOO!ppn", &workers, &prefix, &initializer, &PyTuple_Type, &initargs, &is_inline,
                         &daemon, &stack_size) == 0) {
        return nullptr;
    }
    auto shared = std::make_shared<PoolShared>();
    if (!read_text(prefix, &shared->prefix)) return nullptr;
    shared->daemon = daemon != 0;
    shared->interpreter = PyInterpreterState_Get();
    if (initializer != Py_None) Py_XSETREF(self->initializer, Py_NewRef(initializer));
    Py_XSETREF(self->initargs, Py_NewRef(initargs));
    if (is_inline == 0) {
        // The factory runs in `submit`, which holds the PoolObject: `self` is alive then.
        shared->threads = ThreadPool::make(
            static_cast<std::size_t>(workers),
            [self, weak = std::weak_ptr<PoolShared>(shared)](std::size_t index) -> std::unique_ptr<WorkerDriver> {
                return std::make_unique<PyWorker>(weak.lock(), index, Py_XNewRef(self->initializer),
                                                  Py_XNewRef(self->initargs));
            },
            static_cast<std::size_t>(stack_size));
    }
    if (!adopt(object, shared)) return nullptr;
    Py_RETURN_NONE;
}

// As `inspect.iscoroutinefunction`, at the cost of a look at the code's flags for plain functions.
bool is_coroutine_function(PyObject* function) {
    if (PyMethod_Check(function)) function = PyMethod_GET_FUNCTION(function);
    if (PyCFunction_Check(function) || PyType_Check(function)) return false;
    if (PyFunction_Check(function)) {
        const auto* code = reinterpret_cast<PyCodeObject*>(PyFunction_GET_CODE(function));
        if ((code->co_flags & (CO_COROUTINE | CO_ITERABLE_COROUTINE)) != 0) return true;
        PyObject* dict = reinterpret_cast<PyFunctionObject*>(function)->func_dict;
        if (dict == nullptr || PyDict_GET_SIZE(dict) == 0) return false;
    }
    PyObject* answer = PyObject_CallOneArg(module_state().is_coroutine_function, function);
    if (answer == nullptr) PyErr_Clear();
    const bool yes = answer == Py_True;
    Py_XDECREF(answer);
    return yes;
}

bool fill_call(FutureObject* future, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    future->call.function = Py_NewRef(args[0]);
    if (count == 2 && names == nullptr) {
        future->single = true;
        future->call.args = Py_NewRef(args[1]);
        return capture_context(&future->call.context);
    }
    PyObject* tuple = PyTuple_New(count - 1);
    if (tuple == nullptr) return false;
    for (Py_ssize_t i = 1; i < count; ++i) PyTuple_SET_ITEM(tuple, i - 1, Py_NewRef(args[i]));
    future->call.args = tuple;
    if (names != nullptr) {
        future->call.kwargs = PyDict_New();
        if (future->call.kwargs == nullptr) return false;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); ++i) {
            if (PyDict_SetItem(future->call.kwargs, PyTuple_GET_ITEM(names, i), args[count + i]) != 0) return false;
        }
    }
    return capture_context(&future->call.context);
}

PyObject* submit(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    PoolObject* self = as_pool(object);
    if (count < 1) {
        PyErr_SetString(PyExc_TypeError, "submit() needs the function to call as its first argument");
        return nullptr;
    }
    if (self->shared == nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "this pool was not made completely: call super().__init__() first");
        return nullptr;
    }
    if (names != nullptr && PyTuple_GET_SIZE(names) == 0) names = nullptr;
    PoolShared& shared = *self->shared;
    if (is_coroutine_function(args[0])) {
        if (shared.closed.load(std::memory_order_acquire))
            return refuse_submit(shared, ThreadPool::SubmitResult::closed);
        const PyRef method = PyRef::steal(PyObject_GetAttrString(object, "_submit_coroutine"));
        return method ? PyObject_Vectorcall(method.get(), args, static_cast<std::size_t>(count), names) : nullptr;
    }
    if (shared.isolated != nullptr) return submit_isolated(self, args, count, names);
    FutureObject* future = new_future();
    if (future == nullptr) return nullptr;
    future->state.mark_as_call();
    // While it is queued or runs the pool keeps it: no garbage. It is tracked when it ends, if it must be.
    PyObject_GC_UnTrack(as_object(future));
    if (!fill_call(future, args, count, names)) {
        Py_DECREF(as_object(future));
        return nullptr;
    }
    if (shared.threads == nullptr) {  // inline
        if (shared.closed.load(std::memory_order_acquire)) {
            Py_DECREF(as_object(future));
            return refuse_submit(shared, ThreadPool::SubmitResult::closed);
        }
        future->state.claim();
        run_claimed(future);
        return as_object(future);
    }
    future->call.pool = as_pool(Py_NewRef(object));
    Py_INCREF(as_object(future));  // the queue's
    shared.active.fetch_add(1, std::memory_order_relaxed);
    const ThreadPool::SubmitResult submitted = shared.threads->submit(future->task);
    if (submitted == ThreadPool::SubmitResult::queued) return as_object(future);
    shared.active.fetch_sub(1, std::memory_order_relaxed);
    drop_call(future);
    Py_DECREF(as_object(future));
    Py_DECREF(as_object(future));
    return refuse_submit(shared, submitted);
}

// `_close(by)`: no more submits. The first reason is kept.
PyObject* close(PyObject* object, PyObject* by) {
    PoolShared& shared = *as_pool(object)->shared;
    std::string text;
    if (!read_text(by, &text)) return nullptr;
    {
        const std::lock_guard lock(shared.mutex);
        if (shared.closed_by.empty()) shared.closed_by = text;
    }
    shared.closed.store(true, std::memory_order_release);
    if (shared.threads != nullptr) shared.threads->close();
    Py_RETURN_NONE;
}

PyObject* cancel_queued(PyObject* object, PyObject* /*unused*/) {
    const std::shared_ptr<PoolShared> shared = as_pool(object)->shared;
    if (shared->threads != nullptr) discard_queued(*shared, nullptr);
    Py_RETURN_NONE;
}

PyObject* stop_running(PyObject* object, PyObject* /*unused*/) {
    const std::shared_ptr<PoolShared> shared = as_pool(object)->shared;
    if (shared->isolated != nullptr) interrupt_all(*shared);
    const std::lock_guard lock(shared->mutex);
    for (const PyWorker* worker : shared->workers) {
        for (FutureObject* future : worker->running()) future->state.request_stop();
    }
    for (const auto& map : shared->maps) map->future()->state.request_stop();
    Py_RETURN_NONE;
}

// 1: all workers are gone; 0: the time ran out; -1: error set.
int join(PoolShared& shared, Deadline deadline) {
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

PyObject* join_method(PyObject* object, PyObject* timeout) {
    Deadline deadline = kNoDeadline;
    if (!parse_timeout(timeout, "timeout", &deadline)) return nullptr;
    const std::shared_ptr<PoolShared> shared = as_pool(object)->shared;
    const int joined = join(*shared, deadline);
    return joined < 0 ? nullptr : PyBool_FromLong(joined);
}

PyObject* is_worker(PyObject* object, PyObject* /*unused*/) {
    const PoolShared& shared = *as_pool(object)->shared;
    return PyBool_FromLong(shared.threads != nullptr && shared.threads->is_current());
}

PyObject* get_active(PyObject* object, void* /*unused*/) {
    return PyLong_FromLongLong(as_pool(object)->shared->active.load(std::memory_order_relaxed));
}

PyObject* get_queued(PyObject* object, void* /*unused*/) {
    const PoolShared& shared = *as_pool(object)->shared;
    return PyLong_FromSize_t(shared.threads == nullptr ? 0 : shared.threads->queued());
}

PyObject* get_closed(PyObject* object, void* /*unused*/) {
    const auto& shared = as_pool(object)->shared;
    return PyBool_FromLong(shared != nullptr && shared->closed.load(std::memory_order_acquire));
}

PyObject* get_threads(PyObject* object, void* /*unused*/) {
    PyRef threads = PyRef::steal(PySet_New(nullptr));
    if (!threads) return nullptr;
    std::vector<PyObject*> alive;
    {
        PoolShared& shared = *as_pool(object)->shared;
        const std::lock_guard lock(shared.mutex);
        for (PyWorker* worker : shared.workers) {
            if (worker->thread() != nullptr) alive.push_back(Py_NewRef(worker->thread()));
        }
    }
    bool failed = false;
    for (PyObject* thread : alive) {
        failed = failed || PySet_Add(threads.get(), thread) != 0;
        Py_DECREF(thread);
    }
    return failed ? nullptr : threads.release();
}

PyMethodDef methods[] = {
    {"submit", as_method(submit), METH_FASTCALL | METH_KEYWORDS, nullptr},
    {"_open", open, METH_VARARGS, nullptr},
    {"_close", close, METH_O, nullptr},
    {"_cancel_queued", cancel_queued, METH_NOARGS, nullptr},
    {"_stop_running", stop_running, METH_NOARGS, nullptr},
    {"_join", join_method, METH_O, nullptr},
    {"_is_worker", is_worker, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef properties[] = {
    {"_active", get_active, nullptr, nullptr, nullptr}, {"_queued", get_queued, nullptr, nullptr, nullptr},
    {"_closed", get_closed, nullptr, nullptr, nullptr}, {"_threads", get_threads, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(PoolObject, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(make)},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {Py_tp_methods, static_cast<void*>(methods)},
    {Py_tp_getset, static_cast<void*>(properties)},
    {Py_tp_members, static_cast<void*>(members)},
    {Py_tp_doc, const_cast<char*>("The native part of SafeThreadPool.")},
    {0, nullptr},
};

PyType_Spec spec = {"pyferris._native.PoolCore", sizeof(PoolObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

// --- the whole process: exit and fork

// Ends every pool of this interpreter: waits for what is queued, except in daemon pools. False if an isolated call of
// one could not be stopped.
PyObject* drain_pools(PyObject* /*module*/, PyObject* /*unused*/) {
    std::vector<std::shared_ptr<PoolShared>> pools;
    bool interrupted = false;
    for (bool first = true; !interrupted; first = false) {  // a call may make a pool while others are waited for
        pools = all_pools();
        std::erase_if(pools, [](const auto& each) { return each->interpreter != PyInterpreterState_Get(); });
        if (!close_at_exit(pools) && !first) break;
        for (const auto& shared : pools) {
            interrupted = interrupted || (!shared->daemon && join(*shared, kNoDeadline) < 0);
        }
    }
    module_state().drained = true;
    if (interrupted) return nullptr;
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) Py_RETURN_TRUE;
    stop_reactor();
    return PyBool_FromLong(end_isolation(pools) ? 1 : 0);
}

PyObject* before_fork(PyObject* /*module*/, PyObject* /*unused*/) {
    before_fork_isolated();
    ThreadPool::before_fork();
    Py_RETURN_NONE;
}

PyObject* after_fork_in_parent(PyObject* /*module*/, PyObject* /*unused*/) {
    ThreadPool::after_fork_in_parent();
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

bool register_thread_pool(PyObject* module) {
    return add_type(module, &spec) != nullptr && PyModule_AddFunctions(module, functions) == 0;
}

}  // namespace pyferris::python
