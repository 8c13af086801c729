// What SafeLock and SafeRLock share: reading `acquire`'s arguments and waiting for a Mutex.
#pragma once

#include "py_wait.hpp"
#include "pyferris/mutex.hpp"

namespace pyferris::python {

/// `acquire(blocking=True, timeout=-1)`, with threading.Lock's errors. `*deadline` is 0 where it must not block. False
/// with an error set.
bool parse_acquire(PyObject* const* args, Py_ssize_t count, PyObject* names, Deadline* deadline);

/// 1: taken; 0: not, and the time is over; -1: error set. Attached; any thread.
int acquire(Mutex& mutex, Deadline deadline);

}  // namespace pyferris::python
