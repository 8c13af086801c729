// Threads that compute, on cores of their own.
//
// Linux chooses a core for a thread when it starts, while who starts it still runs, and kernels that know of no caches
// in common leave it there when it wakes up. So two threads can share a core beside an idle one until the load is
// balanced: 30 ms were seen, which is more than an interpreter takes to begin. The second of two does not even run then
// before the first one's time slice is over, so it takes a third to part them.
#pragma once

#include <thread>
#include <vector>

namespace pyferris {

/// Where a thread was seen.
struct Seen {
    long thread;
    int core;
};

/// The calling thread, and its core; that is -1 where it cannot be told.
Seen see_this_thread() noexcept;

/// Has the calling thread go on on a core where none of `others` was seen, if one of them runs on its core now, and if
/// it may use another. Returns the core that it is on then, or -1. A thread that was moved keeps to the cores that it
/// might use then. Linux only; elsewhere it does nothing.
int leave_to_others(const std::vector<Seen>& others) noexcept;

/// A thread that is not joined yet.
struct Runner {
    std::thread::native_handle_type thread;
    long number;  // native; 0: it has not begun
    bool may_be_moved;
};

/// Moves each of these that may be, and that runs or is about to on a core of another, to one where none of them runs,
/// if it may use one. It keeps to the cores that it may use now, but not for a moment in between: so only one that runs
/// no code that could see that, or start threads, may be moved. Linux only; elsewhere it does nothing.
void spread(const std::vector<Runner>& runners) noexcept;

}  // namespace pyferris
