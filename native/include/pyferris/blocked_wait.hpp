// Waits of blocked threads, for fork: what stands in somebody's list of waiters while it lies on the stack of a thread.
//
// A forked child has one thread. The stacks of the others are free to be used again there, so what lies on them must
// leave every list before the child makes a thread; and a wake-up given to a thread that does not exist is lost.
//
// Each thread keeps a list of its own waits, so that beginning one takes no lock.
#pragma once

namespace pyferris {

/// Base of a waiter on the stack of its thread, which makes and destroys it.
class BlockedWait {
  public:
    BlockedWait(const BlockedWait&) = delete;
    BlockedWait& operator=(const BlockedWait&) = delete;

    // Around fork(): no thread's list begins or ends meanwhile. In the parent and the child: unlock.
    static void lock_all();
    static void unlock_all();
    /// In a forked child, before it makes a thread: takes the waits of threads that it does not have off their lists.
    static void forget_lost_threads();

  protected:
    BlockedWait();
    ~BlockedWait();

  private:
    /// Leaves the list it is in, if any. Its thread does not exist; nobody else is at that list.
    virtual void forget() noexcept = 0;

    struct Thread;  // what a thread knows of its waits
    struct Threads;

    static Threads& threads();
    static Thread* this_thread();

    BlockedWait* prev_ = nullptr;  // the waiting thread only
    BlockedWait* next_ = nullptr;
    Thread* thread_;  // null: the thread is ending
};

}  // namespace pyferris
