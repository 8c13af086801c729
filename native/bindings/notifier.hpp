// The one thread of the main interpreter that does, for threads which have no GIL of it, what needs that GIL: callbacks
// and conditions of futures that an isolated worker completed, what such a worker printed or logged, references that it
// is done with.
//
// Started with the first job; ended by `stop`, attached, where the pools are drained. Jobs run in order, attached, no
// lock held.
#pragma once

#include <functional>

#include "future_object.hpp"

namespace pyferris::python {

namespace notifier {

/// Has `job` run on the notifier's thread. Any thread, never blocks. Dropped once the notifier was stopped.
void post(std::function<void()> job);
/// A call that is over, and whose queue's reference is to be dropped: soon, by any attached thread or the notifier.
/// Any thread, never blocks; the caller must not touch the future any more.
void let_go(FutureObject* future);
/// Drops what was let go of. Attached to the main interpreter; cheap where there is nothing.
void drop_finished();

/// Before a first `post`, attached: the interpreter that it works for is the caller's.
void prepare();
/// Attached to the main interpreter: runs what was posted, ends the thread.
void stop();
/// In a forked child, attached: its thread is the parent's, and a new one starts with the next job.
void after_fork_in_child();

}  // namespace notifier

}  // namespace pyferris::python
