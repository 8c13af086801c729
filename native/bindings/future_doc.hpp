// The docstrings of SafeFuture's methods, with their signatures for `help` and `inspect`.
#pragma once

namespace pyferris::python::doc {

inline constexpr const char* kCancel =
    "cancel($self, /)\n--\n\n"
    "Cancel a call that is queued, or a bare promise; ask a running call to stop.\n\n"
    "Returns True if the future is cancelled, now or before; False if it runs (the call sees the request by\n"
    "check_cancelled(), cancel_requested() and sleep()) or has finished. Any thread.";
inline constexpr const char* kCancelled =
    "cancelled($self, /)\n--\n\n"
    "Return True if the future has ended cancelled. Any thread.";
inline constexpr const char* kRunning =
    "running($self, /)\n--\n\n"
    "Return True while the call runs. Any thread.";
inline constexpr const char* kDone =
    "done($self, /)\n--\n\n"
    "Return True if the future has a result or an exception, or is cancelled. Any thread.";
inline constexpr const char* kResult =
    "result($self, /, timeout=None)\n--\n\n"
    "Wait for the call; return what it returned, or raise what it raised.\n\n"
    "timeout: seconds to wait at most; None waits for ever.\n\n"
    "Raises TimeoutError when the time is over, concurrent.futures.CancelledError if the future was cancelled, and\n"
    "RuntimeError where the wait could never end: inside the call itself, or in a coroutine for another one of the\n"
    "same pool. Any thread; on a worker of the same pool a queued call is run there.";
inline constexpr const char* kException =
    "exception($self, /, timeout=None)\n--\n\n"
    "Wait for the call; return what it raised, or None if it returned.\n\n"
    "timeout and errors: as for result(), concurrent.futures.CancelledError too. Any thread.";
inline constexpr const char* kAddDoneCallback =
    "add_done_callback($self, /, fn)\n--\n\n"
    "Have fn(future) called once the future is done or cancelled; at once if it is.\n\n"
    "fn is called by the thread that completes the future, in the order of adding. What it raises is logged, through\n"
    "the logger 'pyferris'. Any thread.";
inline constexpr const char* kRemoveDoneCallback =
    "remove_done_callback($self, /, fn)\n--\n\n"
    "Take fn off the callbacks; return how often it was there. Any thread.";
inline constexpr const char* kSetRunningOrNotifyCancel =
    "set_running_or_notify_cancel($self, /)\n--\n\n"
    "Of a promise: mark it as running and return True, or return False if it was cancelled.\n\n"
    "Raises RuntimeError if it runs or has ended already. Any thread.";
inline constexpr const char* kSetResult =
    "set_result($self, /, result)\n--\n\n"
    "Of a promise: complete it with that result.\n\n"
    "Raises concurrent.futures.InvalidStateError if it has ended already. Any thread.";
inline constexpr const char* kSetException =
    "set_exception($self, /, exception)\n--\n\n"
    "Of a promise: complete it with that exception, an instance or a class.\n\n"
    "Raises TypeError for what is no exception, concurrent.futures.InvalidStateError if it has ended already. Any\n"
    "thread.";
inline constexpr const char* kDetach =
    "detach($self, /)\n--\n\n"
    "Return the future; from now on a task that is cancelled while it awaits the future does not cancel the call.\n\n"
    "Any thread.";
inline constexpr const char* kMarkRetrieved =
    "mark_retrieved($self, /)\n--\n\n"
    "Say that the outcome was looked at, so that a failure is not logged. Any thread.";

}  // namespace pyferris::python::doc
