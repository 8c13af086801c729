// The injected waiter of Python threads: detaches, parks on a lock of CPython's that signals interrupt, attaches.
//
// Every blocking call of the package ends here, so that Ctrl-C is prompt in all of them.
#pragma once

#include <functional>

#include "py_ref.hpp"
#include "pyferris/parker.hpp"

namespace pyferris::python {

/// Parks on `PyThread_acquire_lock_timed` with interruption. The thread must be detached while it parks.
class PyParker final : public Parker {
  public:
    PyParker();
    ~PyParker() override;
    ParkResult park(Deadline deadline) override;
    void unpark() noexcept override;
    /// Whether `park` looks for the token for a moment before it sleeps. The owner's thread.
    void look_first(bool looks) noexcept { looks_ = looks; }

  private:
    PyThread_type_lock lock_;
    bool looks_ = true;
};

/// A parker for one wait of the calling thread: the thread's own, or, where that is in use (a signal handler that
/// waits inside a wait), a fresh one. When the lease ends no token may be left or owed.
class ParkerLease {
  public:
    ParkerLease();
    ~ParkerLease();
    ParkerLease(const ParkerLease&) = delete;
    ParkerLease& operator=(const ParkerLease&) = delete;
    PyParker& operator*() const noexcept { return *parker_; }

  private:
    PyParker* parker_;
    bool own_;  // made for this lease
};

/// What a wait of an attached thread ended with; `error` means that a signal handler raised (the error is set).
enum class WaitResult : std::uint8_t { woken, timed_out, error };

/// Detaches, parks until woken or `deadline`, attaches. Runs signal handlers when interrupted, then goes on waiting.
/// The caller is attached and holds no native lock. After `timed_out` and `error` the caller takes itself off the list
/// it waits in; if that fails, the token is owed: `consume_token`.
WaitResult wait_attached(Parker& parker, Deadline deadline);

/// The same, but asks now and then, detached, whether to wait on: where not, as if the time were over.
WaitResult wait_attached_while(Parker& parker, Deadline deadline, const std::function<bool()>& waits_on);

/// How often a thread has let go of the GIL to wait in `wait_attached`. Any thread.
std::uint64_t gil_releases() noexcept;

/// Takes a token that is certain to come very soon. Attached before and after.
void consume_token(Parker& parker);

/// `timeout` as the standard library reads it: None waits for ever, negative is zero, seconds as int or float.
/// False with TypeError/ValueError/OverflowError set. `name` is the parameter's name for the message.
bool parse_timeout(PyObject* timeout, const char* name, Deadline* deadline);

}  // namespace pyferris::python
