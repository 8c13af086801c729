// FutureCore: the Python face of FutureObject, base of the public SafeFuture. The contract is that of
// concurrent.futures.Future, whose attributes (`_state`, `_condition`, `_waiters`) other code of the standard library
// reads.
#include "future_doc.hpp"
#include "isolated_call.hpp"
#include "pool_object.hpp"
#include "py_args.hpp"
#include "py_compat.hpp"
#include "structmember.h"

namespace pyferris::python {

namespace {

int traverse(PyObject* object, visitproc visit, void* arg) {
    FutureObject* self = as_future(object);
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->call.function);
    Py_VISIT(self->call.args);
    Py_VISIT(self->call.kwargs);
    Py_VISIT(self->call.context);
    Py_VISIT(reinterpret_cast<PyObject*>(self->call.pool));
    Py_VISIT(self->value);
    Py_VISIT(self->traceback);
    if (const Observers* observers = self->observers.load(std::memory_order_acquire)) {
        Py_VISIT(observers->condition);
        Py_VISIT(observers->waiters);
        Py_VISIT(observers->cancel_hook);
    }
    return traverse_continuations(self, visit, arg);
}

// Cycles go through callbacks, awaiters, arguments and the value; the condition object refers to nothing of ours.
int clear(PyObject* object) {
    FutureObject* self = as_future(object);
    clear_callbacks(self);
    drop_call(self);
    if (self->state.is_final()) {
        Py_CLEAR(self->traceback);
        PyObject* value = self->value;
        self->value = Py_NewRef(Py_None);
        Py_XDECREF(value);
    }
    if (Observers* observers = self->observers.load(std::memory_order_acquire)) {
        Py_CLEAR(observers->waiters);
        Py_CLEAR(observers->cancel_hook);
    }
    return 0;
}

// A failure that nobody ever looked at is said once.
void report_unretrieved(FutureObject* self) {
    if (!self->state.has_failed() || self->state.is_retrieved() || !self->state.is_final() || is_finalizing()) return;
    const SavedError saved;
    materialize(self);
    if (!PyExceptionInstance_Check(self->value)) return;
    const PyRef reported = PyRef::steal(PyObject_CallOneArg(module_state().report_unretrieved, self->value));
    if (!reported) PyErr_WriteUnraisable(nullptr);
}

// Called once, before the collector takes anything of a cycle apart. What is told of the failure may keep it.
void finalize(PyObject* object) { report_unretrieved(as_future(object)); }

void dealloc(PyObject* object) {
    FutureObject* self = as_future(object);
    PyTypeObject* type = Py_TYPE(object);
    // A class made in Python has called it already, before it came here.
    if (type->tp_dealloc == dealloc && PyObject_CallFinalizerFromDealloc(object) != 0) return;
    PyObject_GC_UnTrack(object);
    clear(object);
    Py_CLEAR(self->value);
    Py_CLEAR(self->traceback);
    if (Observers* observers = self->observers.load(std::memory_order_acquire)) {
        Py_XDECREF(observers->condition);
        delete observers;
    }
    if (self->isolated != nullptr) {
        Py_XDECREF(self->isolated->output);
        delete self->isolated;
    }
    self->state.~FutureState();
    type->tp_free(object);
    Py_DECREF(type);
}

// concurrent.futures.Future's __init__ must not run: it would make a condition for each future.
int initialize(PyObject* /*self*/, PyObject* /*args*/, PyObject* /*kwargs*/) { return 0; }

PyObject* make(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    const bool given =
        (args != nullptr && PyTuple_GET_SIZE(args) != 0) || (kwargs != nullptr && PyDict_GET_SIZE(kwargs) != 0);
    if (given && type->tp_init == initialize) {  // else they are for a subclass's own __init__
        PyErr_Format(PyExc_TypeError, "%.100s() takes no arguments", type->tp_name);
        return nullptr;
    }
    FutureObject* self = as_future(type->tp_alloc(type, 0));
    if (self == nullptr) return nullptr;
    new (&self->state) FutureState();
    new (&self->task) CallTask();
    new (&self->call) Call();
    new (&self->observers) std::atomic<Observers*>(nullptr);
    return as_object(self);
}

PyObject* cancel_method(PyObject* object, PyObject* /*unused*/) {
    const int cancelled = cancel(as_future(object));
    return cancelled < 0 ? nullptr : PyBool_FromLong(cancelled);
}

PyObject* cancelled(PyObject* object, PyObject* /*unused*/) {
    return PyBool_FromLong(as_future(object)->state.is_cancelled());
}

PyObject* running(PyObject* object, PyObject* /*unused*/) {
    const FutureState::Phase phase = as_future(object)->state.phase();
    return PyBool_FromLong(phase == FutureState::Phase::running || phase == FutureState::Phase::completing);
}

PyObject* done(PyObject* object, PyObject* /*unused*/) { return PyBool_FromLong(as_future(object)->state.is_final()); }

// The common part of `result` and `exception`: waits. 1 when final; else the error is set.
bool wait_with_timeout(FutureObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names, const char* name) {
    PyObject* timeout = Py_None;
    if (!parse_optional(args, count, names, name, "timeout", &timeout)) return false;
    self->state.mark_retrieved();
    if (self->state.is_final()) return true;
    Deadline deadline = kNoDeadline;
    if (!parse_timeout(timeout, "timeout", &deadline)) return false;
    switch (wait_final(self, deadline)) {
        case 1: return true;
        case 0:
            PyErr_Format(module_state().timeout_error, "%R was not finished within %S s", as_object(self), timeout);
            return false;
        default: return false;
    }
}

PyObject* result(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    FutureObject* self = as_future(object);
    if (!wait_with_timeout(self, args, count, names, "result")) return nullptr;
    return outcome(self, false);
}

PyObject* exception(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    FutureObject* self = as_future(object);
    if (!wait_with_timeout(self, args, count, names, "exception")) return nullptr;
    if (self->state.is_cancelled()) return outcome(self, false);
    materialize(self);
    if (!self->state.has_failed()) Py_RETURN_NONE;
    PyException_SetTraceback(self->value, self->traceback != nullptr ? self->traceback : Py_None);
    return Py_NewRef(self->value);
}

PyObject* add_done_callback(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    PyObject* function = nullptr;
    if (!parse_required(args, count, names, "add_done_callback", "fn", &function)) return nullptr;
    if (!add_callback(as_future(object), function)) return nullptr;
    Py_RETURN_NONE;
}

PyObject* remove_done_callback(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    PyObject* function = nullptr;
    if (!parse_required(args, count, names, "remove_done_callback", "fn", &function)) return nullptr;
    const Py_ssize_t removed = remove_callbacks(as_future(object), function);
    return removed < 0 ? nullptr : PyLong_FromSsize_t(removed);
}

PyObject* set_running_or_notify_cancel(PyObject* object, PyObject* /*unused*/) {
    FutureObject* self = as_future(object);
    if (self->state.claim()) Py_RETURN_TRUE;
    if (self->state.is_cancelled()) {
        if (!tell_cancelled(self)) {
            PyErr_Format(PyExc_RuntimeError, "%R was told of its cancellation already", object);
            return nullptr;
        }
        Py_RETURN_FALSE;
    }
    PyErr_Format(PyExc_RuntimeError, "%R cannot start running: only a pending future can", object);
    return nullptr;
}

PyObject* refuse(PyObject* object) {
    PyErr_Format(module_state().cf_invalid_state_error, "%R is final: its outcome cannot be set again", object);
    return nullptr;
}

PyObject* set_result_method(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    PyObject* value = nullptr;
    if (!parse_required(args, count, names, "set_result", "result", &value)) return nullptr;
    if (!set_result(as_future(object), Py_NewRef(value))) return refuse(object);
    Py_RETURN_NONE;
}

PyObject* set_exception_method(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    PyObject* value = nullptr;
    if (!parse_required(args, count, names, "set_exception", "exception", &value)) return nullptr;
    PyRef raised;
    if (value == Py_None) {  // the standard library takes it for "no exception": the result None
        if (!set_result(as_future(object), Py_NewRef(value))) return refuse(object);
        Py_RETURN_NONE;
    }
    if (PyExceptionClass_Check(value)) {
        raised = PyRef::steal(PyObject_CallNoArgs(value));
        if (!raised) return nullptr;
    } else {
        raised = PyRef::share(value);
    }
    if (!PyExceptionInstance_Check(raised.get())) {
        PyErr_Format(PyExc_TypeError, "set_exception() takes an exception, not %.200s: %R", Py_TYPE(value)->tp_name,
                     value);
        return nullptr;
    }
    if (!set_exception(as_future(object), raised.release())) return refuse(object);
    Py_RETURN_NONE;
}

PyObject* detach(PyObject* object, PyObject* /*unused*/) {
    as_future(object)->state.detach();
    return Py_NewRef(object);
}

PyObject* mark_retrieved(PyObject* object, PyObject* /*unused*/) {
    as_future(object)->state.mark_retrieved();
    Py_RETURN_NONE;
}

PyObject* set_cancel_hook(PyObject* object, PyObject* hook) {
    FutureObject* self = as_future(object);
    self->state.mark_as_call();
    Py_XSETREF(observers_of(self)->cancel_hook, hook == Py_None ? nullptr : Py_NewRef(hook));
    Py_RETURN_NONE;
}

// `_set_loop(thread, pool)`: a coroutine's, at once after it was made.
PyObject* set_loop(PyObject* object, PyObject* args) {
    unsigned long thread = 0;
    PyObject* pool = nullptr;
    if (PyArg_ParseTuple(args, "kO!", &thread, module_state().pool_core, &pool) == 0) return nullptr;
    Observers* observers = observers_of(as_future(object));
    observers->loop_pool = reinterpret_cast<PoolObject*>(pool)->shared;
    observers->loop_thread.store(thread, std::memory_order_relaxed);
    Py_RETURN_NONE;
}

// A cancelled outcome from outside a worker: a task or thread that stopped because it was asked to.
PyObject* set_cancelled(PyObject* object, PyObject* /*unused*/) {
    return PyBool_FromLong(end_cancelled(as_future(object)));
}

PyObject* stop_requested(PyObject* object, PyObject* /*unused*/) {
    return PyBool_FromLong(as_future(object)->state.stop_requested());
}

PyObject* await_future(PyObject* object) { return make_awaiter(as_future(object)); }

PyObject* reduce(PyObject* object, PyObject* /*unused*/) {
    PyErr_Format(PyExc_TypeError,
                 "cannot pickle %R: a future lives in one process; send its result(), or submit there instead", object);
    return nullptr;
}

// As concurrent.futures' states are called.
PyObject* get_state(PyObject* object, void* /*unused*/) {
    switch (as_future(object)->state.phase()) {
        case FutureState::Phase::pending:
        case FutureState::Phase::cancelling: return PyUnicode_InternFromString("PENDING");
        case FutureState::Phase::running:
        case FutureState::Phase::completing: return PyUnicode_InternFromString("RUNNING");
        case FutureState::Phase::done: return PyUnicode_InternFromString("FINISHED");
        case FutureState::Phase::cancelled: return PyUnicode_InternFromString("CANCELLED");
        case FutureState::Phase::notified: return PyUnicode_InternFromString("CANCELLED_AND_NOTIFIED");
    }
    Py_UNREACHABLE();
}

PyObject* get_condition(PyObject* object, void* /*unused*/) { return Py_XNewRef(condition_of(as_future(object))); }

PyObject* get_waiters(PyObject* object, void* /*unused*/) {
    as_future(object)->state.mark_retrieved();
    return Py_XNewRef(waiters_of(as_future(object)));
}

PyObject* get_value(PyObject* object, void* failed) {
    FutureObject* self = as_future(object);
    if (self->state.phase() != FutureState::Phase::done) Py_RETURN_NONE;
    materialize(self);
    if (self->state.has_failed() != (failed != nullptr)) Py_RETURN_NONE;
    self->state.mark_retrieved();
    return Py_NewRef(self->value);
}

PyObject* repr(PyObject* object) {
    FutureObject* self = as_future(object);
    const char* state = "pending";
    switch (self->state.phase()) {
        case FutureState::Phase::pending:
        case FutureState::Phase::cancelling: break;
        case FutureState::Phase::running:
        case FutureState::Phase::completing: state = "running"; break;
        case FutureState::Phase::done: state = nullptr; break;
        case FutureState::Phase::cancelled:
        case FutureState::Phase::notified: state = "cancelled"; break;
    }
    if (state != nullptr) return PyUnicode_FromFormat("<SafeFuture at %p state=%s>", object, state);
    materialize(self);
    return PyUnicode_FromFormat("<SafeFuture at %p state=finished %s %.200s>", object,
                                self->state.has_failed() ? "raised" : "returned", Py_TYPE(self->value)->tp_name);
}

PyMethodDef methods[] = {
    {"cancel", cancel_method, METH_NOARGS, doc::kCancel},
    {"cancelled", cancelled, METH_NOARGS, doc::kCancelled},
    {"running", running, METH_NOARGS, doc::kRunning},
    {"done", done, METH_NOARGS, doc::kDone},
    {"result", as_method(result), METH_FASTCALL | METH_KEYWORDS, doc::kResult},
    {"exception", as_method(exception), METH_FASTCALL | METH_KEYWORDS, doc::kException},
    {"add_done_callback", as_method(add_done_callback), METH_FASTCALL | METH_KEYWORDS, doc::kAddDoneCallback},
    {"remove_done_callback", as_method(remove_done_callback), METH_FASTCALL | METH_KEYWORDS, doc::kRemoveDoneCallback},
    {"set_running_or_notify_cancel", set_running_or_notify_cancel, METH_NOARGS, doc::kSetRunningOrNotifyCancel},
    {"set_result", as_method(set_result_method), METH_FASTCALL | METH_KEYWORDS, doc::kSetResult},
    {"set_exception", as_method(set_exception_method), METH_FASTCALL | METH_KEYWORDS, doc::kSetException},
    {"detach", detach, METH_NOARGS, doc::kDetach},
    {"mark_retrieved", mark_retrieved, METH_NOARGS, doc::kMarkRetrieved},
    {"_set_cancel_hook", set_cancel_hook, METH_O, nullptr},
    {"_set_loop", set_loop, METH_VARARGS, nullptr},
    {"_set_cancelled", set_cancelled, METH_NOARGS, nullptr},
    {"_stop_requested", stop_requested, METH_NOARGS, nullptr},
    {"__reduce__", reduce, METH_NOARGS, nullptr},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef properties[] = {
    {"_state", get_state, nullptr, nullptr, nullptr},
    {"_condition", get_condition, nullptr, nullptr, nullptr},
    {"_waiters", get_waiters, nullptr, nullptr, nullptr},
    {"_result", get_value, nullptr, nullptr, nullptr},
    {"_exception", get_value, nullptr, nullptr, const_cast<char*>("failed")},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(make)},
    {Py_tp_init, reinterpret_cast<void*>(initialize)},
    {Py_tp_finalize, reinterpret_cast<void*>(finalize)},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {Py_tp_repr, reinterpret_cast<void*>(repr)},
    {Py_am_await, reinterpret_cast<void*>(await_future)},
    {Py_tp_methods, static_cast<void*>(methods)},
    {Py_tp_getset, static_cast<void*>(properties)},
    {Py_tp_doc, const_cast<char*>("The native part of SafeFuture.")},
    {0, nullptr},
};

PyType_Spec spec = {"pyferris._native.FutureCore", sizeof(FutureObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

}  // namespace

FutureObject* new_future() {
    PyTypeObject* type = module_state().safe_future;
    return as_future(make(type, nullptr, nullptr));
}

bool register_future(PyObject* module) {
    module_state().future_core = add_type(module, &spec);
    return module_state().future_core != nullptr;
}

}  // namespace pyferris::python
