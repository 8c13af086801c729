#include "lock_support.hpp"

#include <cmath>

#include "py_args.hpp"
#include "py_compat.hpp"

namespace pyferris::python {

bool parse_acquire(PyObject* const* args, Py_ssize_t count, PyObject* names, Deadline* deadline) {
    *deadline = kNoDeadline;
    if (count == 0 && names == nullptr) return true;
    static constexpr const char* kNames[] = {"blocking", "timeout"};
    PyObject* values[2] = {nullptr, nullptr};
    if (!parse_several(args, count, names, "acquire", kNames, 2, values)) return false;
    PyObject* blocking = values[0];
    PyObject* timeout = values[1];
    const int block = blocking == nullptr ? 1 : PyObject_IsTrue(blocking);
    if (block < 0) return false;
    double seconds = -1;
    if (timeout != nullptr) {
        seconds = PyFloat_AsDouble(timeout);
        if (seconds == -1.0 && PyErr_Occurred() != nullptr) return false;
    }
    if (block == 0) {
        if (seconds != -1) {
            PyErr_SetString(PyExc_ValueError, "can't specify a timeout for a non-blocking call");
            return false;
        }
        *deadline = 0;
        return true;
    }
    if (seconds == -1) return true;
    if (seconds < 0 && std::isfinite(seconds)) {
        PyErr_Format(PyExc_ValueError, "timeout value must be a non-negative number, or -1, not %R", timeout);
        return false;
    }
    if (std::isinf(seconds) || seconds > std::floor(static_cast<double>(PY_TIMEOUT_MAX) / 1e6)) {
        PyErr_Format(PyExc_OverflowError, "timeout value is too large: %R s; threading.TIMEOUT_MAX is the most",
                     timeout);
        return false;
    }
    return parse_timeout(timeout, "timeout", deadline);
}

int acquire(Mutex& mutex, Deadline deadline) {
    if (mutex.try_lock()) return 1;
    if (deadline == 0 || deadline <= now_ns()) return 0;
    const ParkerLease lease;
    for (;;) {
        WaitQueue::Node node(*lease);
        if (mutex.lock_or_wait(node)) return 1;
        const WaitResult result = wait_attached(*lease, deadline);
        if (result == WaitResult::woken) continue;
        if (!mutex.leave(node)) {
            consume_token(*lease);
            if (result == WaitResult::timed_out && mutex.try_lock()) return 1;
            mutex.pass_on();
        }
        return result == WaitResult::timed_out ? 0 : -1;
    }
}

bool acquire_in_the_end(Mutex& mutex) {
    PyRef interrupted;
    while (acquire(mutex, kNoDeadline) < 0) interrupted = PyRef::steal(take_raised());
    if (!interrupted) return true;
    raise_taken(interrupted.release());
    return false;
}

}  // namespace pyferris::python
