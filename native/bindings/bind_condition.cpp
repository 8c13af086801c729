// The waiters of a SafeCondition: who waits, in order, and how they are woken. The lock is the condition's own affair:
// what lets go of it and takes it again is called by `wait`, between entering the list and leaving it.
//
// One short mutex guards the list. No Python code runs under it.
#include <mutex>

#include "module_state.hpp"
#include "py_args.hpp"
#include "py_compat.hpp"
#include "py_wait.hpp"
#include "pyferris/wait_queue.hpp"
#include "structmember.h"
#include "type_support.hpp"

namespace pyferris::python {

namespace {

struct Waiters {
    std::mutex mutex;  // guards all below
    WaitQueue queue;
    Py_ssize_t count = 0;

    void add(WaitQueue::Node& node) {
        const std::lock_guard lock(mutex);
        queue.add(node);
        ++count;
    }
    bool remove(WaitQueue::Node& node) {
        const std::lock_guard lock(mutex);
        if (!queue.remove(node)) return false;
        --count;
        return true;
    }
    void wake(Py_ssize_t most) {
        const std::lock_guard lock(mutex);
        for (; most > 0; --most) {
            WaitQueue::Node* node = queue.take_one();
            if (node == nullptr) return;
            --count;
            node->parker.unpark();
        }
    }
};

struct ConditionState final : SharedState {
    ConditionState() noexcept : SharedState(SharedKind::condition, true) {}

    Waiters first;
    Waiters* current = &first;  // another one in a forked child, which leaves the first behind
};

struct ConditionObject {
    PyObject_HEAD
    PyObject* weakrefs;
    std::shared_ptr<ConditionState> state;
};

ConditionObject* as_condition(PyObject* object) { return reinterpret_cast<ConditionObject*>(object); }
Waiters& waiters_of(PyObject* object) { return *as_condition(object)->state->current; }

PyObject* make_on(PyTypeObject* type, std::shared_ptr<ConditionState> state) {
    PyObject* object = type->tp_alloc(type, 0);
    if (object != nullptr) new (&as_condition(object)->state) std::shared_ptr<ConditionState>(std::move(state));
    return object;
}

PyObject* make(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs != nullptr && PyDict_GET_SIZE(kwargs) != 0)) {
        return PyErr_Format(PyExc_TypeError, "%.100s() takes no arguments", type->tp_name);
    }
    try {
        return make_on(type, std::make_shared<ConditionState>());
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
}

void dealloc(PyObject* object) {
    PyTypeObject* type = Py_TYPE(object);
    if (as_condition(object)->weakrefs != nullptr) PyObject_ClearWeakRefs(object);
    as_condition(object)->state.~shared_ptr();
    type->tp_free(object);
    Py_DECREF(type);
}

// Waits in the list while `release` has let go of the lock. What it returned is in `*saved`; null: it raised, and
// nothing was let go. After an error of a signal handler the error is set.
WaitResult wait_released(Waiters& waiters, PyObject* release, Deadline deadline, PyRef* saved) {
    const ParkerLease lease;
    WaitQueue::Node node(*lease);
    waiters.add(node);  // before the lock is free: who notifies holds it
    *saved = PyRef::steal(PyObject_CallNoArgs(release));
    WaitResult result = WaitResult::error;
    if (*saved) result = deadline <= now_ns() ? WaitResult::timed_out : wait_attached(*lease, deadline);
    if (result == WaitResult::woken || waiters.remove(node)) return result;
    consume_token(*lease);
    if (result == WaitResult::timed_out) return WaitResult::woken;
    waiters.wake(1);  // this one raises: the notification is another's
    return result;
}

PyObject* wait(PyObject* object, PyObject* const* args, Py_ssize_t count) {
    if (count != 3) return PyErr_Format(PyExc_TypeError, "wait() takes 3 arguments (%zd given)", count);
    Deadline deadline = 0;
    if (!parse_timeout(args[2], "timeout", &deadline)) return nullptr;
    PyRef saved;
    const WaitResult result = wait_released(waiters_of(object), args[0], deadline, &saved);
    if (!saved) return nullptr;
    PyRef raised = PyRef::steal(result == WaitResult::error ? take_raised() : nullptr);
    const PyRef restored = PyRef::steal(PyObject_CallOneArg(args[1], saved.get()));
    if (!restored) return nullptr;
    if (raised) {
        raise_taken(raised.release());
        return nullptr;
    }
    return PyBool_FromLong(result == WaitResult::woken);
}

PyObject* notify(PyObject* object, PyObject* number) {
    const Py_ssize_t most = PyNumber_AsSsize_t(number, nullptr);  // saturates
    if (most == -1 && PyErr_Occurred() != nullptr) return nullptr;
    waiters_of(object).wake(most);
    Py_RETURN_NONE;
}

Py_ssize_t length(PyObject* object) {
    Waiters& waiters = waiters_of(object);
    const std::lock_guard lock(waiters.mutex);
    return waiters.count;
}

PyObject* clear(PyObject* object, PyObject* /*unused*/) {
    as_condition(object)->state->current = new Waiters();
    Py_RETURN_NONE;
}

PyObject* reduce(PyObject* self, PyObject* /*unused*/) { return reduce_to_handle(self, as_condition(self)->state); }

PyMethodDef methods[] = {
    {"wait", as_method(wait), METH_FASTCALL,
     "wait($self, release, restore, timeout, /)\n--\n\n"
     "Wait to be notified, with the lock let go by release() and taken again by restore(what it returned)."},
    {"notify", notify, METH_O, "notify($self, n, /)\n--\n\nWake those n that have waited longest."},
    {"clear", clear, METH_NOARGS, "clear($self, /)\n--\n\nForget all waiters: their threads are not in this process."},
    {"__reduce__", reduce, METH_NOARGS, nullptr},
    {"__copy__", refuse_copy, METH_NOARGS, nullptr},
    {"__deepcopy__", refuse_copy, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ConditionObject, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyDoc_STRVAR(doc, "The waiters of a SafeCondition; its length is their number.");

PyType_Slot slots[] = {
    {Py_tp_new, as_slot(make)},
    {Py_tp_dealloc, as_slot(dealloc)},
    {Py_tp_methods, static_cast<void*>(methods)},
    {Py_tp_members, static_cast<void*>(members)},
    {Py_sq_length, as_slot(length)},
    {Py_tp_doc, const_cast<char*>(doc)},
    {0, nullptr},
};

PyType_Spec spec = {"pyferris._native.ConditionCore", sizeof(ConditionObject), 0, Py_TPFLAGS_DEFAULT, slots};

}  // namespace

PyObject* attach_condition(PyTypeObject* type, std::shared_ptr<SharedState> state) {
    return make_on(type, std::static_pointer_cast<ConditionState>(std::move(state)));
}

bool register_condition(PyObject* module) { return add_shared_type(module, &spec, SharedKind::condition); }

}  // namespace pyferris::python
