// Mutexes that a forked child must find free.
//
// They are taken inside fork() itself, when all of Python's own preparations are over: a thread that held them any
// earlier could lose the GIL to another, which would then wait for such a mutex with the GIL in its hands.
#pragma once

namespace pyferris {

class ForkGuard {
  public:
    using Step = void (*)();

    /// From now on `lock` is called just before a fork, and `unlock` just after it, in the parent and in the child.
    /// Both only take and release mutexes, under which nobody waits. Any thread; what was added first is locked first.
    static void add(Step lock, Step unlock);
};

}  // namespace pyferris
