// SafeQueue: a linearizable FIFO of Python objects that can be closed. The names of queue.Queue and of the library.
//
// One short mutex guards the items and the lists of waiters. Under it no Python code runs and no reference is dropped.
// A waiter that is woken looks again: whoever was running may have been faster, and then it waits once more.
#include <deque>
#include <mutex>

#include "module_state.hpp"
#include "py_args.hpp"
#include "py_wait.hpp"
#include "pyferris/wait_queue.hpp"
#include "structmember.h"

namespace pyferris::python {

namespace {

struct Queue {
    std::mutex mutex;             // guards all below
    std::deque<PyObject*> items;  // strong
    WaitQueue getters;
    WaitQueue putters;
    WaitQueue joiners;
    std::size_t most = 0;        // 0: any number
    std::size_t unfinished = 0;  // put and not yet `task_done`
    bool closed = false;

    bool is_full() const { return most != 0 && items.size() >= most; }
};

struct QueueObject {
    PyObject_HEAD
    PyObject* weakrefs;
    Queue* queue;
};

Queue& queue_of(PyObject* object) { return *reinterpret_cast<QueueObject*>(object)->queue; }

void wake_one(WaitQueue& waiters) {
    if (WaitQueue::Node* node = waiters.take_one()) node->parker.unpark();
}

void wake_all(WaitQueue& waiters) {
    while (WaitQueue::Node* node = waiters.take_one()) node->parker.unpark();
}

int traverse(PyObject* object, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(object));
    Queue& queue = queue_of(object);
    const std::lock_guard lock(queue.mutex);
    for (PyObject* item : queue.items) Py_VISIT(item);
    return 0;
}

int clear(PyObject* object) {
    std::deque<PyObject*> items;
    {
        Queue& queue = queue_of(object);
        const std::lock_guard lock(queue.mutex);
        items.swap(queue.items);
    }
    for (PyObject* item : items) Py_DECREF(item);
    return 0;
}

void dealloc(PyObject* object) {
    PyTypeObject* type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    auto* self = reinterpret_cast<QueueObject*>(object);
    if (self->weakrefs != nullptr) PyObject_ClearWeakRefs(object);
    if (self->queue != nullptr) {
        clear(object);
        delete self->queue;
    }
    type->tp_free(object);
    Py_DECREF(type);
}

PyObject* make(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    static const char* names[] = {"maxsize", "initial", nullptr};
    Py_ssize_t most = 0;
    PyObject* initial = nullptr;
    if (PyArg_ParseTupleAndKeywords(args, kwargs, "|nO:SafeQueue", const_cast<char**>(names), &most, &initial) == 0) {
        return nullptr;
    }
    PyRef items = PyRef::steal(initial == nullptr ? PyTuple_New(0) : PySequence_Tuple(initial));
    if (!items) return nullptr;
    const auto count = static_cast<std::size_t>(PyTuple_GET_SIZE(items.get()));
    if (most > 0 && count > static_cast<std::size_t>(most)) {
        PyErr_Format(PyExc_ValueError, "%zu initial items do not fit in a SafeQueue of maxsize %zd", count, most);
        return nullptr;
    }
    auto* self = reinterpret_cast<QueueObject*>(type->tp_alloc(type, 0));
    if (self == nullptr) return nullptr;
    self->queue = new Queue();
    self->queue->most = most > 0 ? static_cast<std::size_t>(most) : 0;
    self->queue->unfinished = count;
    for (std::size_t i = 0; i < count; ++i) {
        self->queue->items.push_back(Py_NewRef(PyTuple_GET_ITEM(items.get(), static_cast<Py_ssize_t>(i))));
    }
    return reinterpret_cast<PyObject*>(self);
}

// Sleeps in `waiters`, where `node` is already. 1: look again; 0: the time ran out; -1: error set.
int wait_in(Queue& queue, WaitQueue& waiters, WaitQueue::Node& node, Deadline deadline) {
    const WaitResult result = wait_attached(node.parker, deadline);
    if (result == WaitResult::woken) return 1;
    bool removed = false;
    {
        const std::lock_guard lock(queue.mutex);
        removed = waiters.remove(node);
    }
    if (!removed) {
        consume_token(node.parker);
        if (result == WaitResult::timed_out) return 1;  // the change it was woken for may be there for it
        const std::lock_guard lock(queue.mutex);
        wake_one(waiters);
    }
    return result == WaitResult::timed_out ? 0 : -1;
}

PyObject* raise(PyObject* type, const char* message) {
    PyErr_SetString(type, message);
    return nullptr;
}

// Takes the next item, a new reference; null with an error set.
PyObject* get(Queue& queue, Deadline deadline) {
    {
        const std::lock_guard lock(queue.mutex);
        if (!queue.items.empty()) {
            PyObject* item = queue.items.front();
            queue.items.pop_front();
            wake_one(queue.putters);
            return item;
        }
    }
    const ParkerLease lease;
    for (int woken = 1;;) {
        WaitQueue::Node node(*lease);
        {
            const std::lock_guard lock(queue.mutex);
            if (!queue.items.empty()) {
                PyObject* item = queue.items.front();
                queue.items.pop_front();
                wake_one(queue.putters);
                return item;
            }
            if (queue.closed) break;
            if (woken != 0 && deadline > 0) queue.getters.add(node);
        }
        if (woken == 0 || deadline == 0) return raise(module_state().queue_empty, "the queue has no item in time");
        woken = wait_in(queue, queue.getters, node, deadline);
        if (woken < 0) return nullptr;
    }
    return raise(module_state().shut_down, "the queue is closed and empty");
}

// Appends `item`. False with an error set.
bool put(Queue& queue, PyObject* item, Deadline deadline) {
    {
        const std::lock_guard lock(queue.mutex);
        if (!queue.closed && !queue.is_full()) {
            queue.items.push_back(Py_NewRef(item));
            ++queue.unfinished;
            wake_one(queue.getters);
            return true;
        }
    }
    const ParkerLease lease;
    for (int woken = 1;;) {
        WaitQueue::Node node(*lease);
        {
            const std::lock_guard lock(queue.mutex);
            if (queue.closed) break;
            if (!queue.is_full()) {
                queue.items.push_back(Py_NewRef(item));
                ++queue.unfinished;
                wake_one(queue.getters);
                return true;
            }
            if (woken != 0 && deadline > 0) queue.putters.add(node);
        }
        if (woken == 0 || deadline == 0) {
            PyErr_Format(module_state().queue_full, "the queue had its maxsize of %zu items all the time", queue.most);
            return false;
        }
        woken = wait_in(queue, queue.putters, node, deadline);
        if (woken < 0) return false;
    }
    raise(module_state().shut_down, "the queue is closed: nothing can be put");
    return false;
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
    if (count == 0 && names == nullptr) return get(queue_of(object), kNoDeadline);
    PyObject* values[2] = {nullptr, nullptr};
    static constexpr const char* kNames[] = {"block", "timeout"};
    if (!parse_several(args, count, names, "pop", kNames, 2, values)) return nullptr;
    Deadline deadline = 0;
    if (!read_waiting(values[0], values[1], &deadline)) return nullptr;
    return get(queue_of(object), deadline);
}

PyObject* push_method(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    if (count == 1 && names == nullptr) {
        if (!put(queue_of(object), args[0], kNoDeadline)) return nullptr;
        Py_RETURN_NONE;
    }
    PyObject* values[3] = {nullptr, nullptr, nullptr};
    static constexpr const char* kNames[] = {"item", "block", "timeout"};
    if (!parse_several(args, count, names, "push", kNames, 3, values)) return nullptr;
    if (values[0] == nullptr) return raise(PyExc_TypeError, "push() misses its argument 'item'");
    Deadline deadline = 0;
    if (!read_waiting(values[1], values[2], &deadline) || !put(queue_of(object), values[0], deadline)) return nullptr;
    Py_RETURN_NONE;
}

PyObject* put_nowait(PyObject* object, PyObject* item) {
    if (!put(queue_of(object), item, 0)) return nullptr;
    Py_RETURN_NONE;
}

PyObject* get_nowait(PyObject* object, PyObject* /*unused*/) { return get(queue_of(object), 0); }

PyObject* qsize(PyObject* object, PyObject* /*unused*/) {
    Queue& queue = queue_of(object);
    const std::lock_guard lock(queue.mutex);
    return PyLong_FromSize_t(queue.items.size());
}

Py_ssize_t length(PyObject* object) {
    Queue& queue = queue_of(object);
    const std::lock_guard lock(queue.mutex);
    return static_cast<Py_ssize_t>(queue.items.size());
}

int truth(PyObject* /*object*/) { return 1; }  // a queue is true, as queue.Queue is, though it has a length

PyObject* empty(PyObject* object, PyObject* /*unused*/) { return PyBool_FromLong(length(object) == 0); }

PyObject* full(PyObject* object, PyObject* /*unused*/) {
    Queue& queue = queue_of(object);
    const std::lock_guard lock(queue.mutex);
    return PyBool_FromLong(queue.is_full());
}

PyObject* task_done(PyObject* object, PyObject* /*unused*/) {
    Queue& queue = queue_of(object);
    {
        const std::lock_guard lock(queue.mutex);
        if (queue.unfinished != 0) {
            if (--queue.unfinished == 0) wake_all(queue.joiners);
            Py_RETURN_NONE;
        }
    }
    return raise(PyExc_ValueError, "task_done() called too many times: no item that was put is unfinished");
}

PyObject* join(PyObject* object, PyObject* /*unused*/) {
    Queue& queue = queue_of(object);
    const ParkerLease lease;
    for (;;) {
        WaitQueue::Node node(*lease);
        {
            const std::lock_guard lock(queue.mutex);
            if (queue.unfinished == 0) break;
            queue.joiners.add(node);
        }
        if (wait_in(queue, queue.joiners, node, kNoDeadline) < 0) return nullptr;
    }
    Py_RETURN_NONE;
}

void close_queue(Queue& queue, bool immediate) {
    std::deque<PyObject*> dropped;
    {
        const std::lock_guard lock(queue.mutex);
        queue.closed = true;
        if (immediate) {
            dropped.swap(queue.items);
            queue.unfinished -= dropped.size() < queue.unfinished ? dropped.size() : queue.unfinished;
            if (queue.unfinished == 0) wake_all(queue.joiners);
        }
        wake_all(queue.getters);
        wake_all(queue.putters);
    }
    for (PyObject* item : dropped) Py_DECREF(item);
}

PyObject* close_method(PyObject* object, PyObject* /*unused*/) {
    close_queue(queue_of(object), false);
    Py_RETURN_NONE;
}

PyObject* shutdown(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    PyObject* immediate = Py_False;
    if (!parse_optional(args, count, names, "shutdown", "immediate", &immediate)) return nullptr;
    const int now = PyObject_IsTrue(immediate);
    if (now < 0) return nullptr;
    close_queue(queue_of(object), now == 1);
    Py_RETURN_NONE;
}

PyObject* to_list(PyObject* object, PyObject* /*unused*/) {
    Queue& queue = queue_of(object);
    std::deque<PyObject*> items;
    {
        const std::lock_guard lock(queue.mutex);
        items = queue.items;
        for (PyObject* item : items) Py_INCREF(item);
    }
    PyObject* list = PyList_New(static_cast<Py_ssize_t>(items.size()));
    Py_ssize_t i = 0;
    for (PyObject* item : items) {
        if (list != nullptr) {
            PyList_SET_ITEM(list, i++, item);
        } else {
            Py_DECREF(item);
        }
    }
    return list;
}

PyObject* iterate(PyObject* object) { return Py_NewRef(object); }

// Ends where the queue is closed and drained.
PyObject* next(PyObject* object) {
    PyObject* item = get(queue_of(object), kNoDeadline);
    if (item == nullptr && PyErr_ExceptionMatches(module_state().shut_down) != 0) PyErr_Clear();
    return item;
}

PyObject* get_maxsize(PyObject* object, void* /*unused*/) { return PyLong_FromSize_t(queue_of(object).most); }

PyObject* repr(PyObject* object) {
    Queue& queue = queue_of(object);
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
             "ended by Ctrl-C.\n\n>>> queue = SafeQueue(initial=[1, 2])\n>>> queue.close()\n>>> list(queue)\n[1, 2]");
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

bool register_queue(PyObject* module) { return add_type(module, &spec) != nullptr; }

}  // namespace pyferris::python
