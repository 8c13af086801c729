// PyRef: one strong reference to a Python object, owned.
//
// It is moved, never copied by accident (`share` says so), and must be dropped by an attached thread, after native
// locks are released: the last drop may run any user code.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <utility>

namespace pyferris::python {

/// True once the interpreter has begun to end: no thread may count on attaching any more.
inline bool is_finalizing() {
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsFinalizing() != 0;
#else
    return _Py_IsFinalizing() != 0;
#endif
}

/// The thread state that the calling thread is attached with; null if it is not attached. Also right while the
/// interpreter ends, and after it has ended, where `PyGILState_Check` says yes to everybody.
inline PyThreadState* attached_state() {
#if PY_VERSION_HEX >= 0x030D0000
    return PyThreadState_GetUnchecked();
#elif PY_VERSION_HEX >= 0x030C0000
    return _PyThreadState_UncheckedGet();
#else
    PyThreadState* holder = _PyThreadState_UncheckedGet();  // whoever has the GIL
    return holder != nullptr && holder == PyGILState_GetThisThreadState() ? holder : nullptr;
#endif
}

/// False on a thread that the ending interpreter stops: it is unwound while not attached, and must drop nothing.
inline bool may_drop() { return !is_finalizing() || attached_state() != nullptr; }

class PyRef {
  public:
    PyRef() noexcept = default;
    PyRef(PyRef&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
    PyRef& operator=(PyRef&& other) noexcept {
        PyObject* old = std::exchange(object_, std::exchange(other.object_, nullptr));
        Py_XDECREF(old);
        return *this;
    }
    PyRef(const PyRef&) = delete;
    PyRef& operator=(const PyRef&) = delete;
    ~PyRef() {
        if (object_ != nullptr && may_drop()) Py_DECREF(object_);
    }

    /// Takes over a new reference (null: the error is set by whoever returned it).
    static PyRef steal(PyObject* object) noexcept { return PyRef(object); }
    /// Adds a reference to a borrowed one.
    static PyRef share(PyObject* object) noexcept { return PyRef(Py_XNewRef(object)); }

    PyObject* get() const noexcept { return object_; }
    PyObject* release() noexcept { return std::exchange(object_, nullptr); }
    explicit operator bool() const noexcept { return object_ != nullptr; }

  private:
    explicit PyRef(PyObject* object) noexcept : object_(object) {}
    PyObject* object_ = nullptr;
};

}  // namespace pyferris::python
