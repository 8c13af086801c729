// SafeRLock: threading.RLock's contract over the core's Mutex.
//
// `owner` is written by the thread that holds the mutex, and equals a thread's own ident only if that thread wrote it:
// so each thread can ask "is it mine?" without a lock. `depth` is the owner's alone. Threads of all interpreters have
// idents of their own.
#include <atomic>

#include "lock_support.hpp"
#include "module_state.hpp"
#include "py_args.hpp"
#include "structmember.h"
#include "type_support.hpp"

namespace pyferris::python {

namespace {

struct RLockState final : LockStateOf<SharedKind::rlock> {
    std::atomic<unsigned long> owner{0};  // 0: nobody
    unsigned long depth = 0;
};

struct RLockObject {
    PyObject_HEAD
    PyObject* weakrefs;
    std::shared_ptr<RLockState> state;
};

RLockObject* as_rlock(PyObject* object) { return reinterpret_cast<RLockObject*>(object); }
RLockState* state_of(PyObject* object) { return as_rlock(object)->state.get(); }

PyObject* make_on(PyTypeObject* type, std::shared_ptr<RLockState> state) {
    PyObject* object = type->tp_alloc(type, 0);
    if (object != nullptr) new (&as_rlock(object)->state) std::shared_ptr<RLockState>(std::move(state));
    return object;
}

PyObject* make(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs != nullptr && PyDict_GET_SIZE(kwargs) != 0)) {
        PyErr_Format(PyExc_TypeError, "%.100s() takes no arguments", type->tp_name);
        return nullptr;
    }
    try {
        return make_on(type, std::make_shared<RLockState>());
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
}

void dealloc(PyObject* object) {
    PyTypeObject* type = Py_TYPE(object);
    if (as_rlock(object)->weakrefs != nullptr) PyObject_ClearWeakRefs(object);
    as_rlock(object)->state.~shared_ptr();
    type->tp_free(object);
    Py_DECREF(type);
}

bool is_mine(const RLockState* self) {
    return self->owner.load(std::memory_order_relaxed) == PyThread_get_thread_ident();
}

// 1, 0 or -1 as `acquire`.
int take(RLockState* self, Deadline deadline) {
    if (is_mine(self)) {
        ++self->depth;
        return 1;
    }
    const int taken = acquire(self->mutex(), deadline);
    if (taken == 1) {
        self->depth = 1;
        self->owner.store(PyThread_get_thread_ident(), std::memory_order_relaxed);
    }
    return taken;
}

PyObject* acquire_method(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    Deadline deadline = 0;
    if (!parse_acquire(args, count, names, &deadline)) return nullptr;
    const int taken = take(state_of(object), deadline);
    return taken < 0 ? nullptr : PyBool_FromLong(taken);
}

PyObject* enter(PyObject* object, PyObject* /*unused*/) {
    if (take(state_of(object), kNoDeadline) < 0) return nullptr;
    Py_RETURN_TRUE;
}

PyObject* release(PyObject* object, PyObject* /*unused*/) {
    RLockState* self = state_of(object);
    if (!is_mine(self)) {
        PyErr_SetString(PyExc_RuntimeError, "cannot release un-acquired lock: only the thread that holds it may");
        return nullptr;
    }
    if (--self->depth == 0) {
        self->owner.store(0, std::memory_order_relaxed);
        self->mutex().unlock();
    }
    Py_RETURN_NONE;
}

PyObject* leave(PyObject* object, PyObject* const* /*args*/, Py_ssize_t /*count*/) { return release(object, nullptr); }

PyObject* locked(PyObject* object, PyObject* /*unused*/) {
    return PyBool_FromLong(state_of(object)->mutex().is_locked());
}

PyObject* is_owned(PyObject* object, PyObject* /*unused*/) { return PyBool_FromLong(is_mine(state_of(object))); }

PyObject* recursion_count(PyObject* object, PyObject* /*unused*/) {
    const RLockState* self = state_of(object);
    return PyLong_FromUnsignedLong(is_mine(self) ? self->depth : 0);
}

// For conditions: lets go wholly, and takes again as deep as before.
PyObject* release_save(PyObject* object, PyObject* /*unused*/) {
    RLockState* self = state_of(object);
    if (!is_mine(self)) {
        PyErr_SetString(PyExc_RuntimeError, "cannot release un-acquired lock: only the thread that holds it may");
        return nullptr;
    }
    PyObject* saved = Py_BuildValue("kk", self->depth, self->owner.load(std::memory_order_relaxed));
    if (saved == nullptr) return nullptr;
    self->depth = 0;
    self->owner.store(0, std::memory_order_relaxed);
    self->mutex().unlock();
    return saved;
}

PyObject* acquire_restore(PyObject* object, PyObject* saved) {
    RLockState* self = state_of(object);
    unsigned long depth = 0;
    unsigned long owner = 0;
    if (!PyArg_Parse(saved, "(kk):_acquire_restore", &depth, &owner)) return nullptr;
    const bool undisturbed = acquire_in_the_end(self->mutex());  // a signal's error waits
    self->depth = depth;
    self->owner.store(owner, std::memory_order_relaxed);
    if (!undisturbed) return nullptr;
    Py_RETURN_NONE;
}

PyObject* reinit(PyObject* object, PyObject* /*unused*/) {
    RLockState* self = state_of(object);
    self->renew();
    self->depth = 0;
    self->owner.store(0, std::memory_order_relaxed);
    Py_RETURN_NONE;
}

PyObject* reduce(PyObject* self, PyObject* /*unused*/) { return reduce_to_handle(self, as_rlock(self)->state); }

PyObject* repr(PyObject* object) {
    RLockState* self = state_of(object);
    return PyUnicode_FromFormat("<%s pyferris.SafeRLock object owner=%lu count=%lu at %p>",
                                self->mutex().is_locked() ? "locked" : "unlocked",
                                self->owner.load(std::memory_order_relaxed), is_mine(self) ? self->depth : 0UL, object);
}

PyDoc_STRVAR(
    doc,
    "A lock that its holder may take again, as threading.RLock. Pickled, it is a handle: the same lock in other\n"
    "interpreters of the process.\n\n"
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
    {"__reduce__", reduce, METH_NOARGS, nullptr},
    {"__copy__", refuse_copy, METH_NOARGS, nullptr},
    {"__deepcopy__", refuse_copy, METH_O, nullptr},
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

PyObject* attach_rlock(PyTypeObject* type, std::shared_ptr<SharedState> state) {
    return make_on(type, std::static_pointer_cast<RLockState>(std::move(state)));
}

bool register_rlock(PyObject* module) { return add_shared_type(module, &spec, SharedKind::rlock); }

}  // namespace pyferris::python
