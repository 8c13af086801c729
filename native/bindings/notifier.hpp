// The one thread of the main interpreter that does, for threads which have no GIL of it, what needs that GIL: callbacks
// and conditions of futures that an isolated worker completed, what such a worker printed or logged, references that it
// is done with.
//
// Started with the first job; ended by `stop`, attached, where the pools are drained. Jobs begin in order, attached, no
// lock held. One that takes long (a callback that waits for another call) holds up none of those behind it: another
// thread takes over, and the first ends with its job.
#pragma once

#include <functional>

#include "future_object.hpp"

namespace pyferris::python {

namespace notifier {

/// Has `job` run on the notifier's thread. Any thread, never blocks. Dropped once the notifier was stopped. A job that
/// does not own what it uses, or that nothing may overtake, passes `may_block` = false.
/// False if it was stopped, or cannot be started: the job is dropped.
bool post(std::function<void()> job, bool may_block = true);
/// Returns when what was posted before has been done, but for jobs that block. Not attached to any interpreter.
void settle();
/// A call that is over, and whose queue's reference is to be dropped: soon, by any attached thread or the notifier.
/// Any thread, never blocks; the caller must not touch the future any more.
void let_go(FutureObject* future);
/// Drops what was let go of. Attached to the main interpreter; cheap where there is nothing.
void drop_finished();

/// Before a first `post`, attached: the interpreter that it works for is the caller's. False: its thread cannot be
/// started.
bool prepare();
/// Attached to the main interpreter: runs what was posted, ends the thread.
void stop();
/// True after `stop`: nothing is done any more. Any thread.
bool is_stopped();
/// In a forked child, attached: its thread is the parent's, and a new one starts with the next job.
void after_fork_in_child();

}  // namespace notifier

}  // namespace pyferris::python
