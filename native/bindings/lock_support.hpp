// What SafeLock and SafeRLock share: reading `acquire`'s arguments and waiting for a Mutex.
#pragma once

#include "py_wait.hpp"
#include "pyferris/mutex.hpp"
#include "shared_state.hpp"

namespace pyferris::python {

/// A mutex that objects of several interpreters stand on.
template <SharedKind Kind>
struct LockStateOf : SharedState {
    LockStateOf() noexcept : SharedState(Kind, true) {}

    Mutex& mutex() noexcept { return *current_; }
    /// In a forked child: a free mutex. The old one may be in any state, and is left behind.
    void renew() { current_ = new Mutex(); }

  private:
    Mutex first_;
    Mutex* current_ = &first_;
};

struct LockState final : LockStateOf<SharedKind::lock> {};

/// `acquire(blocking=True, timeout=-1)`, with threading.Lock's errors. `*deadline` is 0 where it must not block. False
/// with an error set.
bool parse_acquire(PyObject* const* args, Py_ssize_t count, PyObject* names, Deadline* deadline);

/// 1: taken; 0: not, and the time is over; -1: error set. Attached; any thread.
int acquire(Mutex& mutex, Deadline deadline);

/// Takes it, whatever signal handlers raise meanwhile: then false, with the last of their errors set. Attached.
bool acquire_in_the_end(Mutex& mutex);

}  // namespace pyferris::python
