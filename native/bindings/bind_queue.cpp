// SafeQueue: the Python type over queue_core.hpp. The names of queue.Queue and of the library.
#include "module_state.hpp"
#include "py_args.hpp"
#include "py_compat.hpp"
#include "queue_core.hpp"
#include "structmember.h"
#include "type_support.hpp"

namespace pyferris::python {

namespace {

struct QueueObject {
    PyObject_HEAD
    PyObject* weakrefs;
    std::shared_ptr<QueueCore> core;
};

QueueObject* as_queue(PyObject* object) { return reinterpret_cast<QueueObject*>(object); }
QueueCore& queue_of(PyObject* object) { return *as_queue(object)->core; }

int traverse(PyObject* object, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(object));
    QueueCore& queue = queue_of(object);
    if (queue.is_shared()) return 0;
    const std::lock_guard lock(queue.mutex);
    for (const Cell item : queue.items) Py_VISIT(item.object());
    return 0;
}

int clear(PyObject* object) {
    queue_of(object).clear();
    return 0;
}

void dealloc(PyObject* object) {
    PyTypeObject* type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (as_queue(object)->weakrefs != nullptr) PyObject_ClearWeakRefs(object);
    clear(object);
    as_queue(object)->core.~shared_ptr();
    type->tp_free(object);
    Py_DECREF(type);
}

PyObject* make_on(PyTypeObject* type, std::shared_ptr<QueueCore> core) {
    PyObject* object = type->tp_alloc(type, 0);
    if (object == nullptr) {
        core->clear();
        return nullptr;
    }
    new (&as_queue(object)->core) std::shared_ptr<QueueCore>(std::move(core));
    return object;
}

PyObject* make(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    static const char* names[] = {"maxsize", "initial", nullptr};
    PyObject *maxsize = nullptr, *initial = nullptr;
    if (PyArg_ParseTupleAndKeywords(args, kwargs, "|OO:SafeQueue", const_cast<char**>(names), &maxsize, &initial) ==
        0) {
        return nullptr;
    }
    if (maxsize != nullptr && PyIndex_Check(maxsize) == 0) {
        return PyErr_Format(PyExc_TypeError, "maxsize must be an int, 0 for any number of items, not %R", maxsize);
    }
    const Py_ssize_t most = maxsize == nullptr ? 0 : PyNumber_AsSsize_t(maxsize, PyExc_OverflowError);
    if (most == -1 && PyErr_Occurred() != nullptr) return nullptr;
    PyRef items = PyRef::steal(initial == nullptr ? PyTuple_New(0) : PySequence_Tuple(initial));
    if (!items) return nullptr;
    const auto count = static_cast<std::size_t>(PyTuple_GET_SIZE(items.get()));
    if (most > 0 && count > static_cast<std::size_t>(most)) {
        PyErr_Format(PyExc_ValueError, "%zu initial items do not fit in a SafeQueue of maxsize %zd", count, most);
        return nullptr;
    }
    auto core = std::make_shared<QueueCore>(most > 0 ? static_cast<std::size_t>(most) : 0);
    core->unfinished = count;
    for (std::size_t i = 0; i < count; ++i) {
        core->items.emplace_back(Py_NewRef(PyTuple_GET_ITEM(items.get(), static_cast<Py_ssize_t>(i))));
    }
    return make_on(type, std::move(core));
}

PyObject* raise(PyObject* type, const char* message) {
    PyErr_SetString(type, message);
    return nullptr;
}

// `block` and `timeout` as queue.Queue reads them; `*deadline` is 0 where it must not block.
bool read_waiting(PyObject* block, PyObject* timeout, Deadline* deadline) {
    const int blocking = block == nullptr ? 1 : PyObject_IsTrue(block);
    if (blocking < 0) return false;
    *deadline = 0;
    if (blocking == 0) return true;
    if (timeout != nullptr && timeout != Py_None) {
        const double seconds = PyFloat_AsDouble(timeout);
        if (seconds < 0 && PyErr_Occurred() == nullptr) {
            PyErr_Format(PyExc_ValueError, "'timeout' must be a non-negative number, not %R", timeout);
            return false;
        }
        PyErr_Clear();  // parse_timeout says it better
    }
    return parse_timeout(timeout, "timeout", deadline);
}

PyObject* pop_method(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    if (count == 0 && names == nullptr) return queue_of(object).get(kNoDeadline);
    PyObject* values[2] = {nullptr, nullptr};
    static constexpr const char* kNames[] = {"block", "timeout"};
    if (!parse_several(args, count, names, "pop", kNames, 2, values)) return nullptr;
    Deadline deadline = 0;
    if (!read_waiting(values[0], values[1], &deadline)) return nullptr;
    return queue_of(object).get(deadline);
}

PyObject* push_method(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    if (count == 1 && names == nullptr) {
        if (!queue_of(object).put(args[0], kNoDeadline)) return nullptr;
        Py_RETURN_NONE;
    }
    PyObject* values[3] = {nullptr, nullptr, nullptr};
    static constexpr const char* kNames[] = {"item", "block", "timeout"};
    if (!parse_several(args, count, names, "push", kNames, 3, values)) return nullptr;
    if (values[0] == nullptr) return raise(PyExc_TypeError, "push() misses its argument 'item'");
    Deadline deadline = 0;
    if (!read_waiting(values[1], values[2], &deadline) || !queue_of(object).put(values[0], deadline)) return nullptr;
    Py_RETURN_NONE;
}

PyObject* put_nowait(PyObject* object, PyObject* item) {
    if (!queue_of(object).put(item, 0)) return nullptr;
    Py_RETURN_NONE;
}

PyObject* get_nowait(PyObject* object, PyObject* /*unused*/) { return queue_of(object).get(0); }

PyObject* qsize(PyObject* object, PyObject* /*unused*/) { return PyLong_FromSize_t(queue_of(object).size()); }

Py_ssize_t length(PyObject* object) { return static_cast<Py_ssize_t>(queue_of(object).size()); }

int truth(PyObject* /*object*/) { return 1; }  // a queue is true, as queue.Queue is, though it has a length

PyObject* empty(PyObject* object, PyObject* /*unused*/) { return PyBool_FromLong(length(object) == 0); }

PyObject* full(PyObject* object, PyObject* /*unused*/) {
    QueueCore& queue = queue_of(object);
    const std::lock_guard lock(queue.mutex);
    return PyBool_FromLong(queue.is_full() ? 1 : 0);
}

PyObject* task_done(PyObject* object, PyObject* /*unused*/) {
    if (!queue_of(object).task_done()) return nullptr;
    Py_RETURN_NONE;
}

PyObject* join(PyObject* object, PyObject* /*unused*/) {
    if (!queue_of(object).join()) return nullptr;
    Py_RETURN_NONE;
}

PyObject* close_method(PyObject* object, PyObject* /*unused*/) {
    queue_of(object).close(false);
    Py_RETURN_NONE;
}

PyObject* shutdown(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    PyObject* immediate = Py_False;
    if (!parse_optional(args, count, names, "shutdown", "immediate", &immediate)) return nullptr;
    const int now = PyObject_IsTrue(immediate);
    if (now < 0) return nullptr;
    queue_of(object).close(now == 1);
    Py_RETURN_NONE;
}

PyObject* to_list(PyObject* object, PyObject* /*unused*/) { return queue_of(object).to_list().release(); }

PyObject* iterate(PyObject* object) { return Py_NewRef(object); }

// Ends where the queue is closed and drained.
PyObject* next(PyObject* object) {
    PyObject* item = queue_of(object).get(kNoDeadline);
    if (item != nullptr) return item;
    PyObject* error = take_raised();
    const PyRef ended = queue_error(QueueError::shut_down);
    if (ended && PyErr_GivenExceptionMatches(error, ended.get()) != 0) {
        Py_DECREF(error);
    } else {
        raise_taken(error);
    }
    return nullptr;
}

PyObject* get_maxsize(PyObject* object, void* /*unused*/) { return PyLong_FromSize_t(queue_of(object).most); }

PyObject* reduce(PyObject* self, PyObject* /*unused*/) { return reduce_to_handle(self, as_queue(self)->core); }

PyObject* repr(PyObject* object) {
    QueueCore& queue = queue_of(object);
    std::size_t size = 0;
    bool closed = false;
    {
        const std::lock_guard lock(queue.mutex);
        size = queue.items.size();
        closed = queue.closed;
    }
    return PyUnicode_FromFormat("<SafeQueue items=%zu%s at %p>", size, closed ? " closed" : "", object);
}

PyDoc_STRVAR(doc,
             "A first-in-first-out queue for threads that can be closed.\n\nmaxsize: items it holds at most, 0 for any "
             "number; initial: items to begin with. All methods may be called from any thread; those that wait are "
             "ended by Ctrl-C.\n\nPickled, it is a handle: the same queue in other interpreters of the process. Its "
             "items are pickled themselves then, for good.\n\n>>> queue = SafeQueue(initial=[1, 2])\n>>> "
             "queue.close()\n>>> list(queue)\n[1, 2]");
PyDoc_STRVAR(
    push_doc,
    "push($self, item, block=True, timeout=None)\n--\n\nAppend item; wait for a place for timeout seconds at most. "
    "queue.Full if there was none, ShutDown if the queue is closed.");
PyDoc_STRVAR(
    pop_doc,
    "pop($self, block=True, timeout=None)\n--\n\nTake the oldest item; wait for one for timeout seconds at most. "
    "queue.Empty if none came, ShutDown if the queue is closed and drained.");

PyMethodDef methods[] = {
    {"push", as_method(push_method), METH_FASTCALL | METH_KEYWORDS, push_doc},
    {"put", as_method(push_method), METH_FASTCALL | METH_KEYWORDS, push_doc},
    {"pop", as_method(pop_method), METH_FASTCALL | METH_KEYWORDS, pop_doc},
    {"get", as_method(pop_method), METH_FASTCALL | METH_KEYWORDS, pop_doc},
    {"put_nowait", put_nowait, METH_O, "Append item, or raise queue.Full at once."},
    {"get_nowait", get_nowait, METH_NOARGS, "Take the oldest item, or raise queue.Empty at once."},
    {"qsize", qsize, METH_NOARGS, "Return how many items there are."},
    {"empty", empty, METH_NOARGS, "Return True if there is no item."},
    {"full", full, METH_NOARGS, "Return True if there are maxsize items."},
    {"task_done", task_done, METH_NOARGS, "Say that an item that was taken is done with. ValueError if none is."},
    {"join", join, METH_NOARGS, "Wait until every item that was put is done with."},
    {"close", close_method, METH_NOARGS, "Let nothing more in; what is inside can still be taken."},
    {"shutdown", as_method(shutdown), METH_FASTCALL | METH_KEYWORDS,
     "shutdown($self, immediate=False)\n--\n\nAs close(); with immediate, drop what is inside."},
    {"to_list", to_list, METH_NOARGS, "Return the items, oldest first; they stay."},
    {"__reduce__", reduce, METH_NOARGS, "A handle, for interpreters of this process."},
    {"__copy__", refuse_copy, METH_NOARGS, nullptr},
    {"__deepcopy__", refuse_copy, METH_O, nullptr},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef properties[] = {
    {"maxsize", get_maxsize, nullptr, "How many items it holds at most; 0 for any number.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(QueueObject, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(make)},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {Py_tp_repr, reinterpret_cast<void*>(repr)},
    {Py_tp_iter, reinterpret_cast<void*>(iterate)},
    {Py_tp_iternext, reinterpret_cast<void*>(next)},
    {Py_sq_length, reinterpret_cast<void*>(length)},
    {Py_nb_bool, reinterpret_cast<void*>(truth)},
    {Py_tp_methods, static_cast<void*>(methods)},
    {Py_tp_getset, static_cast<void*>(properties)},
    {Py_tp_members, static_cast<void*>(members)},
    {Py_tp_doc, const_cast<char*>(doc)},
    {0, nullptr},
};

PyType_Spec spec = {"pyferris._native.SafeQueue", sizeof(QueueObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
                    slots};

}  // namespace

PyObject* attach_queue(PyTypeObject* type, std::shared_ptr<SharedState> state) {
    return make_on(type, std::static_pointer_cast<QueueCore>(std::move(state)));
}

bool register_queue(PyObject* module) { return add_shared_type(module, &spec, SharedKind::queue); }

}  // namespace pyferris::python
