// SafeRLock: threading.RLock's contract over the core's Mutex.
//
// `owner` is written by the thread that holds the mutex, and equals a thread's own ident only if that thread wrote it:
// so each thread can ask "is it mine?" without a lock. `depth` is the owner's alone.
#include <atomic>

#include "lock_support.hpp"
#include "module_state.hpp"
#include "py_args.hpp"
#include "py_compat.hpp"
#include "structmember.h"

namespace pyferris::python {

namespace {

struct RLockObject {
    PyObject_HEAD
    PyObject* weakrefs;
    std::atomic<unsigned long> owner;  // 0: nobody
    unsigned long depth;
    Mutex* mutex;  // apart, so that a forked child can leave a mutex of unknown state behind
};

RLockObject* as_rlock(PyObject* object) { return reinterpret_cast<RLockObject*>(object); }

PyObject* make(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs != nullptr && PyDict_GET_SIZE(kwargs) != 0)) {
        PyErr_Format(PyExc_TypeError, "%.100s() takes no arguments", type->tp_name);
        return nullptr;
    }
    PyObject* object = type->tp_alloc(type, 0);
    if (object != nullptr) as_rlock(object)->mutex = new Mutex();
    return object;
}

void dealloc(PyObject* object) {
    PyTypeObject* type = Py_TYPE(object);
    if (as_rlock(object)->weakrefs != nullptr) PyObject_ClearWeakRefs(object);
    delete as_rlock(object)->mutex;
    type->tp_free(object);
    Py_DECREF(type);
}

bool is_mine(const RLockObject* self) {
    return self->owner.load(std::memory_order_relaxed) == PyThread_get_thread_ident();
}

// 1, 0 or -1 as `acquire`.
int take(RLockObject* self, Deadline deadline) {
    if (is_mine(self)) {
        ++self->depth;
        return 1;
    }
    const int taken = acquire(*self->mutex, deadline);
    if (taken == 1) {
        self->depth = 1;
        self->owner.store(PyThread_get_thread_ident(), std::memory_order_relaxed);
    }
    return taken;
}

PyObject* acquire_method(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    Deadline deadline = 0;
    if (!parse_acquire(args, count, names, &deadline)) return nullptr;
    const int taken = take(as_rlock(object), deadline);
    return taken < 0 ? nullptr : PyBool_FromLong(taken);
}

PyObject* enter(PyObject* object, PyObject* /*unused*/) {
    if (take(as_rlock(object), kNoDeadline) < 0) return nullptr;
    Py_RETURN_TRUE;
}

PyObject* release(PyObject* object, PyObject* /*unused*/) {
    RLockObject* self = as_rlock(object);
    if (!is_mine(self)) {
        PyErr_SetString(PyExc_RuntimeError, "cannot release un-acquired lock: only the thread that holds it may");
        return nullptr;
    }
    if (--self->depth == 0) {
        self->owner.store(0, std::memory_order_relaxed);
        self->mutex->unlock();
    }
    Py_RETURN_NONE;
}

PyObject* leave(PyObject* object, PyObject* const* /*args*/, Py_ssize_t /*count*/) { return release(object, nullptr); }

PyObject* locked(PyObject* object, PyObject* /*unused*/) {
    return PyBool_FromLong(as_rlock(object)->mutex->is_locked());
}

PyObject* is_owned(PyObject* object, PyObject* /*unused*/) { return PyBool_FromLong(is_mine(as_rlock(object))); }

PyObject* recursion_count(PyObject* object, PyObject* /*unused*/) {
    const RLockObject* self = as_rlock(object);
    return PyLong_FromUnsignedLong(is_mine(self) ? self->depth : 0);
}

// For conditions: lets go wholly, and takes again as deep as before.
PyObject* release_save(PyObject* object, PyObject* /*unused*/) {
    RLockObject* self = as_rlock(object);
    if (!is_mine(self)) {
        PyErr_SetString(PyExc_RuntimeError, "cannot release un-acquired lock: only the thread that holds it may");
        return nullptr;
    }
    PyObject* saved = Py_BuildValue("kk", self->depth, self->owner.load(std::memory_order_relaxed));
    if (saved == nullptr) return nullptr;
    self->depth = 0;
    self->owner.store(0, std::memory_order_relaxed);
    self->mutex->unlock();
    return saved;
}

PyObject* acquire_restore(PyObject* object, PyObject* saved) {
    RLockObject* self = as_rlock(object);
    unsigned long depth = 0;
    unsigned long owner = 0;
    if (!PyArg_Parse(saved, "(kk):_acquire_restore", &depth, &owner)) return nullptr;
    PyObject* interrupted = nullptr;
    int taken = -1;
    while ((taken = acquire(*self->mutex, kNoDeadline)) < 0) {  // must be held again: a signal's error waits
        Py_XSETREF(interrupted, take_raised());
    }
    self->depth = depth;
    self->owner.store(owner, std::memory_order_relaxed);
    if (interrupted != nullptr) {
        raise_taken(interrupted);
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* reinit(PyObject* object, PyObject* /*unused*/) {
    RLockObject* self = as_rlock(object);
    self->mutex = new Mutex();  // the old one may be in any state, and is left
    self->depth = 0;
    self->owner.store(0, std::memory_order_relaxed);
    Py_RETURN_NONE;
}

PyObject* repr(PyObject* object) {
    const RLockObject* self = as_rlock(object);
    return PyUnicode_FromFormat("<%s pyferris.SafeRLock object owner=%lu count=%lu at %p>",
                                self->mutex->is_locked() ? "locked" : "unlocked",
                                self->owner.load(std::memory_order_relaxed), is_mine(self) ? self->depth : 0UL, object);
}

PyDoc_STRVAR(doc,
             "A lock that its holder may take again, as threading.RLock.\n\n"
             ">>> lock = SafeRLock()\n>>> with lock:\n...     lock.locked()\nTrue");
PyDoc_STRVAR(
    acquire_doc,
    "acquire($self, blocking=True, timeout=-1)\n--\n\nTake the lock; return True, or False if it is not free in "
    "time.\n\ntimeout: seconds, -1 for ever. ValueError or OverflowError for others. Any thread.");
PyDoc_STRVAR(release_doc,
             "release($self, /)\n--\n\nGive the lock back once. RuntimeError if this thread does not hold it.");
PyDoc_STRVAR(locked_doc, "locked($self, /)\n--\n\nReturn True if somebody holds the lock. Any thread.");

PyMethodDef methods[] = {
    {"acquire", as_method(acquire_method), METH_FASTCALL | METH_KEYWORDS, acquire_doc},
    {"release", release, METH_NOARGS, release_doc},
    {"locked", locked, METH_NOARGS, locked_doc},
    {"__enter__", enter, METH_NOARGS, nullptr},
    {"__exit__", as_method(leave), METH_FASTCALL, nullptr},
    {"_is_owned", is_owned, METH_NOARGS, nullptr},
    {"_recursion_count", recursion_count, METH_NOARGS, nullptr},
    {"_release_save", release_save, METH_NOARGS, nullptr},
    {"_acquire_restore", acquire_restore, METH_O, nullptr},
    {"_at_fork_reinit", reinit, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(RLockObject, weakrefs), READONLY, nullptr},
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

PyType_Spec spec = {"pyferris._native.SafeRLock", sizeof(RLockObject), 0, Py_TPFLAGS_DEFAULT, slots};

}  // namespace

bool register_rlock(PyObject* module) { return add_type(module, &spec) != nullptr; }

}  // namespace pyferris::python
