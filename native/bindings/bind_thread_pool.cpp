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

// What the pool shares with its workers; null with an error set where `__init__` was not called.
std::shared_ptr<PoolShared> shared_of(PyObject* object) {
    if (as_pool(object)->shared == nullptr) raise_not_made();
    return as_pool(object)->shared;
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

// What cannot be called. Always null.
PyObject* refuse_function(PyObject* value) {
    if (PyCoro_CheckExact(value) != 0) {
        return PyErr_Format(PyExc_TypeError,
                            "submit() needs a callable as its first argument, not the coroutine %R: give the coroutine "
                            "function and its arguments, as in submit(fn, *args)",
                            value);
    }
    return PyErr_Format(PyExc_TypeError, "submit() needs a callable as its first argument, not %.200s: %.200R",
                        Py_TYPE(value)->tp_name, value);
}

// Queues a call for a thread of this pool.
PyObject* submit_here(PoolObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    PoolShared& shared = *self->shared;
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
    future->call.pool = as_pool(Py_NewRef(reinterpret_cast<PyObject*>(self)));
    if (is_loop_of(shared)) future->task.mark_wanted();
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

PyObject* submit(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    PoolObject* self = as_pool(object);
    if (count < 1) {
        PyErr_SetString(PyExc_TypeError, "submit() needs the function to call as its first argument");
        return nullptr;
    }
    if (self->shared == nullptr) {
        raise_not_made();
        return nullptr;
    }
    if (PyCallable_Check(args[0]) == 0) return refuse_function(args[0]);
    if (names != nullptr && PyTuple_GET_SIZE(names) == 0) names = nullptr;
    PoolShared& shared = *self->shared;
    if (is_coroutine_function(args[0])) {
        if (shared.closed.load(std::memory_order_acquire))
            return refuse_submit(shared, ThreadPool::SubmitResult::closed);
        const PyRef method = PyRef::steal(PyObject_GetAttrString(object, "_submit_coroutine"));
        return method ? PyObject_Vectorcall(method.get(), args, static_cast<std::size_t>(count), names) : nullptr;
    }
    if (shared.isolated != nullptr) return submit_isolated(self, args, count, names);
    if (shared.delegated) {
        const PyRef method = PyRef::steal(PyObject_GetAttrString(object, "_submit_delegated"));
        return method ? PyObject_Vectorcall(method.get(), args, static_cast<std::size_t>(count), names) : nullptr;
    }
    return submit_here(self, args, count, names);
}

// `_submit_thread(fn, *args)`: the call runs on a thread of this pool, also where `submit` is delegated.
PyObject* submit_thread(PyObject* object, PyObject* const* args, Py_ssize_t count) {
    return submit_here(as_pool(object), args, count, nullptr);
}

// `_delegate()`: from now on `submit` calls `_submit_delegated`. Called once, before the pool is used.
PyObject* delegate(PyObject* object, PyObject* /*unused*/) {
    as_pool(object)->shared->delegated = true;
    Py_RETURN_NONE;
}

// `_refuse(by)`: no more submits, but for what the pool's own maps hand on. The first reason is kept.
PyObject* refuse(PyObject* object, PyObject* by) {
    const std::shared_ptr<PoolShared> shared = shared_of(object);
    if (shared == nullptr) return nullptr;
    std::string text;
    if (!read_text(by, &text)) return nullptr;
    mark_closed(*shared, text);
    Py_RETURN_NONE;
}

// `_close(by)`: the same without exception; the workers go when nothing is queued.
PyObject* close(PyObject* object, PyObject* by) {
    PyObject* refused = refuse(object, by);
    if (refused == nullptr) return nullptr;
    Py_DECREF(refused);
    const std::shared_ptr<PoolShared> shared = shared_of(object);
    if (shared->threads != nullptr) shared->threads->close();
    Py_RETURN_NONE;
}

// `_linger(seconds)`: a worker goes that has found nothing queued for so long. One starts now, if there is none, while
// the caller makes what it is to run.
PyObject* linger(PyObject* object, PyObject* number) {
    const double seconds = PyFloat_AsDouble(number);
    const std::shared_ptr<PoolShared> shared = PyErr_Occurred() == nullptr ? shared_of(object) : nullptr;
    if (shared == nullptr) return nullptr;
    if (shared->threads != nullptr) {
        shared->threads->linger(static_cast<std::uint64_t>(seconds * 1e9));
        shared->threads->start_workers(1);  // where that fails, the next submit tries, too
    }
    Py_RETURN_NONE;
}

PyObject* cancel_queued(PyObject* object, PyObject* /*unused*/) {
    const std::shared_ptr<PoolShared> shared = shared_of(object);
    if (shared == nullptr) return nullptr;
    if (shared->threads != nullptr) discard_queued(*shared, nullptr);
    Py_RETURN_NONE;
}

PyObject* stop_running_method(PyObject* object, PyObject* /*unused*/) {
    const std::shared_ptr<PoolShared> shared = shared_of(object);
    if (shared == nullptr) return nullptr;
    stop_running(*shared);
    Py_RETURN_NONE;
}

PyObject* join_method(PyObject* object, PyObject* timeout) {
    Deadline deadline = kNoDeadline;
    if (!parse_timeout(timeout, "timeout", &deadline)) return nullptr;
    const std::shared_ptr<PoolShared> shared = shared_of(object);
    if (shared == nullptr) return nullptr;
    const int joined = join_pool(*shared, deadline);
    return joined < 0 ? nullptr : PyBool_FromLong(joined);
}

PyObject* become_loop(PyObject* object, PyObject* /*unused*/) {
    const std::shared_ptr<PoolShared> shared = shared_of(object);
    if (shared == nullptr) return nullptr;
    become_loop_of(shared.get());
    Py_RETURN_NONE;
}

PyObject* is_worker(PyObject* object, PyObject* /*unused*/) {
    const std::shared_ptr<PoolShared> shared = shared_of(object);
    if (shared == nullptr) return nullptr;
    return PyBool_FromLong(shared->threads != nullptr && shared->threads->is_current());
}

PyObject* get_active(PyObject* object, void* /*unused*/) {
    const std::shared_ptr<PoolShared> shared = shared_of(object);
    if (shared == nullptr) return nullptr;
    // First what is finished: a call is counted in before it can be.
    const std::int64_t finished = shared->isolated == nullptr ? 0 : count_finished(*shared->isolated);
    return PyLong_FromLongLong(shared->active.load() - finished);
}

PyObject* get_queued(PyObject* object, void* /*unused*/) {
    const std::shared_ptr<PoolShared> shared = shared_of(object);
    if (shared == nullptr) return nullptr;
    return PyLong_FromSize_t(shared->threads == nullptr ? 0 : shared->threads->queued());
}

PyObject* get_computed(PyObject* object, void* /*unused*/) {
    const std::shared_ptr<PoolShared> shared = shared_of(object);
    if (shared == nullptr) return nullptr;
    return PyFloat_FromDouble(shared->threads == nullptr ? 0.0
                                                         : static_cast<double>(shared->threads->computed_ns()) / 1e9);
}

PyObject* get_closed(PyObject* object, void* /*unused*/) {
    const auto& shared = as_pool(object)->shared;
    return PyBool_FromLong(shared != nullptr && shared->closed.load(std::memory_order_acquire));
}

PyObject* get_threads(PyObject* object, void* /*unused*/) {
    const std::shared_ptr<PoolShared> shared = shared_of(object);
    PyRef threads = PyRef::steal(shared == nullptr ? nullptr : PySet_New(nullptr));
    if (!threads) return nullptr;
    std::vector<PyObject*> alive;
    {
        const std::lock_guard lock(shared->mutex);
        for (PyWorker* worker : shared->workers) {
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
    {"submit", as_method(submit), METH_FASTCALL | METH_KEYWORDS,
     "submit($self, fn, /, *args, **kwargs)\n--\n\n"
     "Queue fn(*args, **kwargs) for a worker; return its SafeFuture at once.\n\n"
     "Calls start first in, first out, each in a copy of the caller's contextvars. A coroutine function, or an object\n"
     "with an async __call__, runs as a task on the pool's own event loop.\n\n"
     "Raises PoolClosed after shutdown, TypeError for what cannot be called, BrokenPool after an initializer has\n"
     "failed. Any thread."},
    {"_open", open, METH_VARARGS, nullptr},
    {"_delegate", delegate, METH_NOARGS, nullptr},
    {"_submit_thread", as_method(submit_thread), METH_FASTCALL, nullptr},
    {"_close", close, METH_O, nullptr},
    {"_refuse", refuse, METH_O, nullptr},
    {"_linger", linger, METH_O, nullptr},
    {"_cancel_queued", cancel_queued, METH_NOARGS, nullptr},
    {"_stop_running", stop_running_method, METH_NOARGS, nullptr},
    {"_join", join_method, METH_O, nullptr},
    {"_become_loop", become_loop, METH_NOARGS, nullptr},
    {"_is_worker", is_worker, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef properties[] = {
    {"_active", get_active, nullptr, nullptr, nullptr},     {"_queued", get_queued, nullptr, nullptr, nullptr},
    {"_closed", get_closed, nullptr, nullptr, nullptr},     {"_threads", get_threads, nullptr, nullptr, nullptr},
    {"_computed", get_computed, nullptr, nullptr, nullptr}, {nullptr, nullptr, nullptr, nullptr, nullptr},
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

}  // namespace

bool register_thread_pool(PyObject* module) {
    module_state().pool_core = add_type(module, &spec);
    return module_state().pool_core != nullptr;
}

}  // namespace pyferris::python
