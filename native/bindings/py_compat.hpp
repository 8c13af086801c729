// What differs between the versions of CPython that are supported, under one name each.
#pragma once

#include "py_ref.hpp"

namespace pyferris::python {

/// The raised exception, taken; null if none. As PyErr_GetRaisedException, which is new in 3.12.
inline PyObject* take_raised() {
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == nullptr) return nullptr;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != nullptr) PyException_SetTraceback(value, traceback);
    Py_XDECREF(traceback);
    Py_DECREF(type);
    return value;
#endif
}

/// Raises `exception`, whose reference it takes.
inline void raise_taken(PyObject* exception) {
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(exception);
#else
    PyErr_Restore(Py_NewRef(reinterpret_cast<PyObject*>(Py_TYPE(exception))), exception,
                  PyException_GetTraceback(exception));
#endif
}

/// The error to raise for a call that raised StopIteration, where that would be taken for an end: a RuntimeError with
/// it as its cause. Takes `error` over; a new reference.
inline PyObject* wrap_stop_iteration(PyObject* error, const char* text) {
    PyErr_SetString(PyExc_RuntimeError, text);
    PyObject* wrapped = take_raised();
    PyException_SetCause(wrapped, Py_NewRef(error));
    PyException_SetContext(wrapped, error);
    return wrapped;
}

/// Keeps an error that is set while other code runs that may clear it; puts it back at the end.
class SavedError {
  public:
    SavedError() : exception_(take_raised()) {}
    SavedError(const SavedError&) = delete;
    SavedError& operator=(const SavedError&) = delete;
    ~SavedError() {
        if (exception_ != nullptr && may_drop()) raise_taken(exception_);
    }

  private:
    PyObject* exception_;
};

// `kOneIsAttached`: no two threads of an interpreter are attached at a time. The macros guard the fields of one object
// where that is not so.
#ifdef Py_GIL_DISABLED
inline constexpr bool kOneIsAttached = false;
#define PYFERRIS_BEGIN_CRITICAL_SECTION(object) Py_BEGIN_CRITICAL_SECTION(object)
#define PYFERRIS_END_CRITICAL_SECTION() Py_END_CRITICAL_SECTION()
#else
inline constexpr bool kOneIsAttached = true;
#define PYFERRIS_BEGIN_CRITICAL_SECTION(object) {
#define PYFERRIS_END_CRITICAL_SECTION() }
#endif

/// `kCanPeek`: whether a thread can see, without its interpreter, if another one has it at this moment.
#if PY_VERSION_HEX >= 0x030C0000 && !defined(Py_GIL_DISABLED)
inline constexpr bool kCanPeek = true;
inline bool is_attached(PyThreadState* thread) noexcept {
    const volatile PyThreadState* seen = thread;
#if PY_VERSION_HEX >= 0x030D0000
    return seen->state == 1;
#else
    return seen->_status.active != 0;
#endif
}
#else
inline constexpr bool kCanPeek = false;
inline bool is_attached(PyThreadState* /*thread*/) noexcept { return false; }
#endif

}  // namespace pyferris::python
