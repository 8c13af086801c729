// What `await future` waits on: one object a suspended await, iterator and awaited thing at once.
//
//   fresh --send, future final--------------------------> over (returns or raises the outcome)
//     `--send--> waiting --delivered on the loop's thread--> resumed --send--> over
//                   `------cancel (by the task)-----------> cancelled --throw--> over
//
// asyncio's tasks take any object with `_asyncio_future_blocking`, `get_loop`, `add_done_callback`, `cancel` and
// `result`; being that object ourselves saves a future, its callback list and a trip through `call_soon`.
//
// The future's list holds a strong reference while the awaiter waits, which is handed to the loop's queue when the
// future completes; the awaiter holds the future. All fields but the list node belong to the loop's thread.
#include "future_object.hpp"
#include "loop_bridge.hpp"
#include "py_compat.hpp"
#include "structmember.h"

namespace pyferris::python {

namespace {

struct AwaiterObject;

class AwaiterNode final : public Continuation {
  public:
    explicit AwaiterNode(AwaiterObject* owner) : Continuation(Kind::waiter), owner_(owner) {}
    void notify() override;
    AwaiterObject* owner() const noexcept { return owner_; }

  private:
    AwaiterObject* const owner_;
};

enum class Stage : std::uint8_t { fresh, waiting, resumed, cancelled, over };

struct AwaiterObject {
    PyObject_HEAD
    FutureObject* future;
    PyObject* loop;
    PyObject* callback;  // the task's wake-up, or a list of several
    PyObject* context;
    PyObject* cancel_message;
    std::shared_ptr<LoopBridge> bridge;
    AwaiterNode node;
    Stage stage;
    char blocking;  // asyncio's protocol: set when yielded, cleared by the task that took it
};

AwaiterObject* as_awaiter(PyObject* object) { return reinterpret_cast<AwaiterObject*>(object); }

// The completing thread, attached. The list's reference goes to the loop.
void AwaiterNode::notify() { deliver(owner_->bridge, reinterpret_cast<PyObject*>(owner_)); }

int traverse(PyObject* object, visitproc visit, void* arg) {
    AwaiterObject* self = as_awaiter(object);
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(reinterpret_cast<PyObject*>(self->future));
    Py_VISIT(self->loop);
    Py_VISIT(self->callback);
    Py_VISIT(self->context);
    Py_VISIT(self->cancel_message);
    return 0;
}

int clear(PyObject* object) {
    AwaiterObject* self = as_awaiter(object);
    Py_CLEAR(self->callback);
    Py_CLEAR(self->context);
    Py_CLEAR(self->cancel_message);
    Py_CLEAR(self->loop);
    return 0;
}

void dealloc(PyObject* object) {
    AwaiterObject* self = as_awaiter(object);
    PyTypeObject* type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    clear(object);
    Py_CLEAR(self->future);
    self->bridge.~shared_ptr();
    self->node.~AwaiterNode();
    type->tp_free(object);
    Py_DECREF(type);
}

// Takes the awaiter off the future's list, where it may be no more.
void leave(AwaiterObject* self) {
    if (self->future->state.remove(self->node)) Py_DECREF(reinterpret_cast<PyObject*>(self));
}

// Puts the awaiter on its future's list. 1: waiting; 0: the future is final; -1: error set.
int enlist(AwaiterObject* self) {
    const AsyncioNames* asyncio = need_asyncio();
    PyObject* loop = asyncio == nullptr ? nullptr : PyObject_CallNoArgs(asyncio->get_running_loop);
    if (loop == nullptr) return -1;
    Py_XSETREF(self->loop, loop);
    self->bridge = bridge_of(loop);
    if (self->bridge == nullptr) return -1;
    Py_INCREF(reinterpret_cast<PyObject*>(self));
    self->stage = Stage::waiting;
    self->blocking = 1;
    if (self->future->state.add(self->node) == FutureState::AddResult::added) return 1;
    Py_DECREF(reinterpret_cast<PyObject*>(self));
    return 0;
}

PySendResult send(PyObject* object, PyObject* /*value*/, PyObject** result) {
    AwaiterObject* self = as_awaiter(object);
    *result = nullptr;
    if (self->stage == Stage::over) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse an awaiter that has finished; await the future again");
        return PYGEN_ERROR;
    }
    if (!self->future->state.is_final()) {
        if (self->stage != Stage::fresh) {
            PyErr_SetString(PyExc_RuntimeError,
                            "a SafeFuture was resumed before it finished: await it in an asyncio task");
            return PYGEN_ERROR;
        }
        const int enlisted = enlist(self);
        if (enlisted < 0) return PYGEN_ERROR;
        if (enlisted > 0) {
            *result = Py_NewRef(object);
            return PYGEN_NEXT;
        }
    }
    self->stage = Stage::over;
    *result = outcome(self->future, true);
    return *result != nullptr ? PYGEN_RETURN : PYGEN_ERROR;
}

PyObject* iternext(PyObject* object) {
    PyObject* result = nullptr;
    switch (send(object, Py_None, &result)) {
        case PYGEN_NEXT: return result;
        case PYGEN_RETURN: {
            // A tuple or exception as StopIteration's value needs the long way.
            const PyRef value = PyRef::steal(result);
            const PyRef stop = PyRef::steal(PyObject_CallOneArg(PyExc_StopIteration, value.get()));
            if (stop) PyErr_SetObject(PyExc_StopIteration, stop.get());
            return nullptr;
        }
        default: return nullptr;
    }
}

PyObject* method_send(PyObject* object, PyObject* /*value*/) { return iternext(object); }

// `throw(exception)` or `throw(type, value, traceback)`: the task was cancelled, or somebody throws by hand.
PyObject* method_throw(PyObject* object, PyObject* const* args, Py_ssize_t count) {
    AwaiterObject* self = as_awaiter(object);
    if (count < 1 || count > 3) {
        PyErr_Format(PyExc_TypeError, "throw() takes 1 to 3 arguments, not %zd", count);
        return nullptr;
    }
    PyObject* type = args[0];
    PyObject* value = count > 1 && args[1] != Py_None ? args[1] : nullptr;
    PyObject* traceback = count > 2 && args[2] != Py_None ? args[2] : nullptr;
    PyRef exception;
    if (PyExceptionInstance_Check(type)) {
        exception = PyRef::share(type);
    } else if (PyExceptionClass_Check(type)) {
        if (value != nullptr && PyExceptionInstance_Check(value)) {
            exception = PyRef::share(value);
        } else {
            exception = PyRef::steal(value != nullptr ? PyObject_CallOneArg(type, value) : PyObject_CallNoArgs(type));
        }
        if (!exception) return nullptr;
    } else {
        PyErr_Format(PyExc_TypeError, "throw() takes an exception, not %.200s", Py_TYPE(type)->tp_name);
        return nullptr;
    }
    if (traceback != nullptr) PyException_SetTraceback(exception.get(), traceback);
    const bool was_waiting = self->stage == Stage::waiting || self->stage == Stage::cancelled;
    self->stage = Stage::over;
    if (was_waiting) {
        leave(self);
        const AsyncioNames* asyncio = need_asyncio();
        if (asyncio == nullptr) return nullptr;
        if (PyErr_GivenExceptionMatches(exception.get(), asyncio->cancelled_error) != 0) {
            cancel_if_abandoned(self->future);
        }
    }
    raise_taken(exception.release());
    return nullptr;
}

PyObject* method_close(PyObject* object, PyObject* /*unused*/) {
    AwaiterObject* self = as_awaiter(object);
    if (self->stage == Stage::waiting || self->stage == Stage::cancelled) leave(self);
    self->stage = Stage::over;
    Py_RETURN_NONE;
}

// Calls `callback(awaiter)` soon, in its context.
bool schedule(AwaiterObject* self, PyObject* callback, PyObject* context) {
    const PyRef call_soon = PyRef::steal(PyObject_GetAttrString(self->loop, "call_soon"));
    if (!call_soon) return false;
    PyObject* stack[] = {nullptr, callback, reinterpret_cast<PyObject*>(self), context};
    const PyRef names = PyRef::steal(context != nullptr ? Py_BuildValue("(s)", "context") : nullptr);
    if (context != nullptr && !names) return false;
    const PyRef handle =
        PyRef::steal(PyObject_Vectorcall(call_soon.get(), stack + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, names.get()));
    return static_cast<bool>(handle);
}

PyObject* add_done_callback(PyObject* object, PyObject* args, PyObject* kwargs) {
    AwaiterObject* self = as_awaiter(object);
    static const char* names[] = {"fn", "context", nullptr};
    PyObject* callback = nullptr;
    PyObject* context = nullptr;
    if (PyArg_ParseTupleAndKeywords(args, kwargs, "O|$O:add_done_callback", const_cast<char**>(names), &callback,
                                    &context) == 0) {
        return nullptr;
    }
    if (context == Py_None) context = nullptr;
    if (self->stage != Stage::waiting) {
        if (!schedule(self, callback, context)) return nullptr;
        Py_RETURN_NONE;
    }
    if (self->callback != nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "this awaiter belongs to a task already; await the future once more");
        return nullptr;
    }
    self->callback = Py_NewRef(callback);
    self->context = Py_XNewRef(context);
    Py_RETURN_NONE;
}

PyObject* remove_done_callback(PyObject* object, PyObject* callback) {
    AwaiterObject* self = as_awaiter(object);
    const int same = self->callback == nullptr ? 0 : PyObject_RichCompareBool(self->callback, callback, Py_EQ);
    if (same < 0) return nullptr;
    if (same == 0) return PyLong_FromLong(0);
    Py_CLEAR(self->callback);
    Py_CLEAR(self->context);
    return PyLong_FromLong(1);
}

// The task that awaits is cancelled: this awaiter ends; the future and other awaiters are not touched here.
PyObject* cancel_awaiter(PyObject* object, PyObject* args, PyObject* kwargs) {
    AwaiterObject* self = as_awaiter(object);
    static const char* names[] = {"msg", nullptr};
    PyObject* message = nullptr;
    if (PyArg_ParseTupleAndKeywords(args, kwargs, "|O:cancel", const_cast<char**>(names), &message) == 0) {
        return nullptr;
    }
    if (self->stage != Stage::waiting) Py_RETURN_FALSE;
    const PyRef keep = PyRef::share(object);
    self->stage = Stage::cancelled;
    Py_XSETREF(self->cancel_message, Py_XNewRef(message));
    leave(self);
    const PyRef callback = PyRef::steal(std::exchange(self->callback, nullptr));
    const PyRef context = PyRef::steal(std::exchange(self->context, nullptr));
    if (callback && !schedule(self, callback.get(), context.get())) return nullptr;
    Py_RETURN_TRUE;
}

// What the task asks when it is woken. Nothing to raise but its own cancellation: the outcome comes from `send`.
PyObject* awaiter_result(PyObject* object, PyObject* /*unused*/) {
    AwaiterObject* self = as_awaiter(object);
    if (self->stage != Stage::cancelled) Py_RETURN_NONE;
    const AsyncioNames* asyncio = need_asyncio();
    if (asyncio == nullptr) return nullptr;
    PyObject* type = asyncio->cancelled_error;
    if (self->cancel_message == nullptr || self->cancel_message == Py_None) {
        PyErr_SetNone(type);
    } else {
        PyErr_SetObject(type, self->cancel_message);
    }
    return nullptr;
}

PyObject* is_done(PyObject* object, PyObject* /*unused*/) {
    return PyBool_FromLong(as_awaiter(object)->stage > Stage::waiting);
}

PyObject* is_cancelled(PyObject* object, PyObject* /*unused*/) {
    return PyBool_FromLong(as_awaiter(object)->stage == Stage::cancelled);
}

PyObject* get_loop(PyObject* object, PyObject* /*unused*/) {
    PyObject* loop = as_awaiter(object)->loop;
    return Py_NewRef(loop != nullptr ? loop : Py_None);
}

PyObject* iterate(PyObject* object) { return Py_NewRef(object); }

PyObject* repr(PyObject* object) {
    return PyUnicode_FromFormat("<await %R>", reinterpret_cast<PyObject*>(as_awaiter(object)->future));
}

PyMethodDef methods[] = {
    {"send", method_send, METH_O, nullptr},
    {"throw", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(method_throw)), METH_FASTCALL, nullptr},
    {"close", method_close, METH_NOARGS, nullptr},
    {"add_done_callback", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(add_done_callback)),
     METH_VARARGS | METH_KEYWORDS, nullptr},
    {"remove_done_callback", remove_done_callback, METH_O, nullptr},
    {"cancel", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(cancel_awaiter)),
     METH_VARARGS | METH_KEYWORDS, nullptr},
    {"result", awaiter_result, METH_NOARGS, nullptr},
    {"done", is_done, METH_NOARGS, nullptr},
    {"cancelled", is_cancelled, METH_NOARGS, nullptr},
    {"get_loop", get_loop, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef members[] = {
    {"_asyncio_future_blocking", T_BOOL, offsetof(AwaiterObject, blocking), 0, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {Py_tp_repr, reinterpret_cast<void*>(repr)},
    {Py_tp_iter, reinterpret_cast<void*>(iterate)},
    {Py_tp_iternext, reinterpret_cast<void*>(iternext)},
    {Py_am_await, reinterpret_cast<void*>(iterate)},
    {Py_am_send, reinterpret_cast<void*>(send)},
    {Py_tp_methods, static_cast<void*>(methods)},
    {Py_tp_members, static_cast<void*>(members)},
    {Py_tp_doc, const_cast<char*>("A suspended await of a SafeFuture; made by `await`, never by hand.")},
    {0, nullptr},
};

PyType_Spec spec = {"pyferris._native.Awaiter", sizeof(AwaiterObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

// Calls `callable(argument)` in `context`, or in the current one where that is null. False: an error that ends the
// drain is set; other errors go to the loop's exception handler.
bool call_in(PyObject* context, PyObject* callable, PyObject* argument, PyObject* loop) {
    if (context != nullptr && PyContext_Enter(context) != 0) return false;
    const PyRef result = PyRef::steal(PyObject_CallOneArg(callable, argument));
    if (context != nullptr) {
        const SavedError saved;
        PyContext_Exit(context);
    }
    if (result) return true;
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) != 0 || PyErr_ExceptionMatches(PyExc_SystemExit) != 0) {
        return false;
    }
    const PyRef exception = PyRef::steal(take_raised());
    const PyRef report = PyRef::steal(Py_BuildValue("{s:s,s:O,s:O}", "message", "exception in a callback of a future",
                                                    "exception", exception.get(), "future", argument));
    const PyRef reported =
        PyRef::steal(report ? PyObject_CallMethod(loop, "call_exception_handler", "O", report.get()) : nullptr);
    if (!reported) PyErr_WriteUnraisable(callable);
    return true;
}

}  // namespace

PyObject* make_awaiter(FutureObject* future) {
    PyTypeObject* type = module_state().awaiter;
    AwaiterObject* self = PyObject_GC_New(AwaiterObject, type);
    if (self == nullptr) return nullptr;
    self->future = as_future(Py_NewRef(as_object(future)));
    self->loop = self->callback = self->context = self->cancel_message = nullptr;
    new (&self->bridge) std::shared_ptr<LoopBridge>();
    new (&self->node) AwaiterNode(self);
    self->stage = Stage::fresh;
    self->blocking = 0;
    PyObject_GC_Track(reinterpret_cast<PyObject*>(self));
    return reinterpret_cast<PyObject*>(self);
}

PyObject* awaiter_in(const Continuation& waiter) {
    // Waiters are blocked threads or awaiters; only the latter refer to Python objects.
    const auto* node = dynamic_cast<const AwaiterNode*>(&waiter);
    return node == nullptr ? nullptr : reinterpret_cast<PyObject*>(node->owner());
}

bool resume_awaiter(PyObject* item) {
    const PyRef owned = PyRef::steal(item);
    if (PyTuple_CheckExact(item)) {  // (loop, callback, future, context): a callback that belongs on the loop
        PyObject* context = PyTuple_GET_ITEM(item, 3);
        return call_in(context == Py_None ? nullptr : context, PyTuple_GET_ITEM(item, 1), PyTuple_GET_ITEM(item, 2),
                       PyTuple_GET_ITEM(item, 0));
    }
    AwaiterObject* self = as_awaiter(item);
    if (self->stage != Stage::waiting) return true;  // cancelled, or thrown at, while it was on its way
    self->stage = Stage::resumed;
    const PyRef callback = PyRef::steal(std::exchange(self->callback, nullptr));
    const PyRef context = PyRef::steal(std::exchange(self->context, nullptr));
    if (!callback) return true;
    return call_in(context.get(), callback.get(), item, self->loop);
}

bool register_awaiter(PyObject* module) {
    module_state().awaiter = add_type(module, &spec);
    return module_state().awaiter != nullptr;
}

}  // namespace pyferris::python
