// SafeLock: threading.Lock's contract over the core's Mutex.
#include "lock_support.hpp"
#include "module_state.hpp"
#include "py_args.hpp"
#include "structmember.h"

namespace pyferris::python {

namespace {

struct LockObject {
    PyObject_HEAD
    PyObject* weakrefs;
    Mutex* mutex;  // apart, so that a forked child can leave a mutex of unknown state behind
};

LockObject* as_lock(PyObject* object) { return reinterpret_cast<LockObject*>(object); }

PyObject* make(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs != nullptr && PyDict_GET_SIZE(kwargs) != 0)) {
        PyErr_Format(PyExc_TypeError, "%.100s() takes no arguments", type->tp_name);
        return nullptr;
    }
    PyObject* object = type->tp_alloc(type, 0);
    if (object != nullptr) as_lock(object)->mutex = new Mutex();
    return object;
}

void dealloc(PyObject* object) {
    PyTypeObject* type = Py_TYPE(object);
    if (as_lock(object)->weakrefs != nullptr) PyObject_ClearWeakRefs(object);
    delete as_lock(object)->mutex;
    type->tp_free(object);
    Py_DECREF(type);
}

PyObject* acquire_method(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    Deadline deadline = 0;
    if (!parse_acquire(args, count, names, &deadline)) return nullptr;
    const int taken = acquire(*as_lock(object)->mutex, deadline);
    return taken < 0 ? nullptr : PyBool_FromLong(taken);
}

PyObject* enter(PyObject* object, PyObject* /*unused*/) {
    if (acquire(*as_lock(object)->mutex, kNoDeadline) < 0) return nullptr;
    Py_RETURN_TRUE;
}

PyObject* release(PyObject* object, PyObject* /*unused*/) {
    if (!as_lock(object)->mutex->unlock()) {
        PyErr_SetString(PyExc_RuntimeError, "release unlocked lock: acquire() it first");
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* leave(PyObject* object, PyObject* const* /*args*/, Py_ssize_t /*count*/) { return release(object, nullptr); }

PyObject* locked(PyObject* object, PyObject* /*unused*/) {
    return PyBool_FromLong(as_lock(object)->mutex->is_locked());
}

PyObject* reinit(PyObject* object, PyObject* /*unused*/) {
    as_lock(object)->mutex = new Mutex();  // the old one may be in any state, and is left
    Py_RETURN_NONE;
}

PyObject* repr(PyObject* object) {
    return PyUnicode_FromFormat("<%s pyferris.SafeLock object at %p>",
                                as_lock(object)->mutex->is_locked() ? "locked" : "unlocked", object);
}

PyDoc_STRVAR(doc,
             "A lock, as threading.Lock; any thread may release it.\n\n"
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

bool register_lock(PyObject* module) { return add_type(module, &spec) != nullptr; }

}  // namespace pyferris::python
