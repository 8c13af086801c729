// SafeLock: threading.Lock's contract over the core's Mutex.
#include "lock_support.hpp"
#include "module_state.hpp"
#include "py_args.hpp"
#include "structmember.h"
#include "type_support.hpp"

namespace pyferris::python {

namespace {

struct LockObject {
    PyObject_HEAD
    PyObject* weakrefs;
    std::shared_ptr<LockState> state;
};

LockObject* as_lock(PyObject* object) { return reinterpret_cast<LockObject*>(object); }
Mutex& mutex_of(PyObject* object) { return as_lock(object)->state->mutex(); }

PyObject* make_on(PyTypeObject* type, std::shared_ptr<LockState> state) {
    PyObject* object = type->tp_alloc(type, 0);
    if (object != nullptr) new (&as_lock(object)->state) std::shared_ptr<LockState>(std::move(state));
    return object;
}

PyObject* make(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs != nullptr && PyDict_GET_SIZE(kwargs) != 0)) {
        PyErr_Format(PyExc_TypeError, "%.100s() takes no arguments", type->tp_name);
        return nullptr;
    }
    try {
        return make_on(type, std::make_shared<LockState>());
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
}

void dealloc(PyObject* object) {
    PyTypeObject* type = Py_TYPE(object);
    if (as_lock(object)->weakrefs != nullptr) PyObject_ClearWeakRefs(object);
    as_lock(object)->state.~shared_ptr();
    type->tp_free(object);
    Py_DECREF(type);
}

PyObject* acquire_method(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    Deadline deadline = 0;
    if (!parse_acquire(args, count, names, &deadline)) return nullptr;
    const int taken = acquire(mutex_of(object), deadline);
    return taken < 0 ? nullptr : PyBool_FromLong(taken);
}

PyObject* enter(PyObject* object, PyObject* /*unused*/) {
    if (acquire(mutex_of(object), kNoDeadline) < 0) return nullptr;
    Py_RETURN_TRUE;
}

PyObject* release(PyObject* object, PyObject* /*unused*/) {
    if (!mutex_of(object).unlock()) {
        PyErr_SetString(PyExc_RuntimeError, "release unlocked lock: acquire() it first");
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* leave(PyObject* object, PyObject* const* /*args*/, Py_ssize_t /*count*/) { return release(object, nullptr); }

PyObject* locked(PyObject* object, PyObject* /*unused*/) { return PyBool_FromLong(mutex_of(object).is_locked()); }

// For conditions: whoever takes it again must hold it in the end, so a signal's error waits.
PyObject* release_save(PyObject* object, PyObject* /*unused*/) { return release(object, nullptr); }

PyObject* acquire_restore(PyObject* object, PyObject* /*saved*/) {
    return acquire_in_the_end(mutex_of(object)) ? Py_NewRef(Py_None) : nullptr;
}

PyObject* reinit(PyObject* object, PyObject* /*unused*/) {
    as_lock(object)->state->renew();
    Py_RETURN_NONE;
}

PyObject* reduce(PyObject* self, PyObject* /*unused*/) { return reduce_to_handle(self, as_lock(self)->state); }

PyObject* repr(PyObject* object) {
    return PyUnicode_FromFormat("<%s pyferris.SafeLock object at %p>",
                                mutex_of(object).is_locked() ? "locked" : "unlocked", object);
}

PyDoc_STRVAR(doc,
             "A lock, as threading.Lock; any thread may release it. Pickled, it is a handle: the same lock in other\n"
             "interpreters of the process.\n\n"
             ">>> lock = SafeLock()\n>>> with lock:\n...     lock.locked()\nTrue");
PyDoc_STRVAR(
    acquire_doc,
    "acquire($self, blocking=True, timeout=-1)\n--\n\nTake the lock; return True, or False if it is not free in "
    "time.\n\ntimeout: seconds, -1 for ever. ValueError or OverflowError for others. Any thread.");
PyDoc_STRVAR(release_doc, "release($self, /)\n--\n\nGive the lock back. RuntimeError if it is not held. Any thread.");
PyDoc_STRVAR(locked_doc, "locked($self, /)\n--\n\nReturn True if somebody holds the lock. Any thread.");

PyMethodDef methods[] = {
    {"acquire", as_method(acquire_method), METH_FASTCALL | METH_KEYWORDS, acquire_doc},
    {"release", release, METH_NOARGS, release_doc},
    {"locked", locked, METH_NOARGS, locked_doc},
    {"__enter__", enter, METH_NOARGS, nullptr},
    {"__exit__", as_method(leave), METH_FASTCALL, nullptr},
    {"_is_owned", locked, METH_NOARGS, nullptr},
    {"_release_save", release_save, METH_NOARGS, nullptr},
    {"_acquire_restore", acquire_restore, METH_O, nullptr},
    {"__reduce__", reduce, METH_NOARGS, nullptr},
    {"__copy__", refuse_copy, METH_NOARGS, nullptr},
    {"__deepcopy__", refuse_copy, METH_O, nullptr},
    {"_at_fork_reinit", reinit, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(LockObject, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(make)},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_repr, reinterpret_cast<void*>(repr)},
    {Py_tp_methods, static_cast<void*>(methods)},
    {Py_tp_members, static_cast<void*>(members)},
    {Py_tp_doc, const_cast<char*>(doc)},
    {0, nullptr},
};

PyType_Spec spec = {"pyferris._native.SafeLock", sizeof(LockObject), 0, Py_TPFLAGS_DEFAULT, slots};

}  // namespace

PyObject* attach_lock(PyTypeObject* type, std::shared_ptr<SharedState> state) {
    return make_on(type, std::static_pointer_cast<LockState>(std::move(state)));
}

bool register_lock(PyObject* module) { return add_shared_type(module, &spec, SharedKind::lock); }

}  // namespace pyferris::python
