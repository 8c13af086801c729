// A lock whose waiters bring their own Parker, so that a waiting Python thread can be interrupted.
//
//   free --try_lock--> held --unlock--> free
//   held --a waiter comes--> contended --unlock--> free, and one waiter is woken to try again
//
// A released lock is free for anybody: whoever is running takes it at once (barging), and a woken waiter that finds it
// taken waits again. `contended_` is set by every waiter before it sleeps and by every waiter that gets the lock, so an
// unlock that could strand a waiter always sees it.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "pyferris/wait_queue.hpp"

namespace pyferris {

class Mutex {
  public:
    Mutex() = default;
    Mutex(const Mutex&) = delete;
    Mutex& operator=(const Mutex&) = delete;

    /// Any thread. True if the lock was free and is the caller's now.
    bool try_lock() noexcept {
        std::uint32_t expected = kFree;
        return state_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire, std::memory_order_relaxed);
    }
    bool is_locked() const noexcept { return state_.load(std::memory_order_acquire) != kFree; }

    /// Takes the lock (true), or puts `node` among the waiters (false): then park, and call this again when woken.
    bool lock_or_wait(WaitQueue::Node& node) {
        const std::lock_guard guard(guard_);
        if (state_.exchange(kContended, std::memory_order_acquire) == kFree) return true;
        waiters_.add(node);
        return false;
    }
    /// The waiter gives up. False: it was woken already; once it has taken its token it must `pass_on`.
    bool leave(WaitQueue::Node& node) {
        const std::lock_guard guard(guard_);
        return waiters_.remove(node);
    }
    /// Wakes another waiter in place of one that was woken and gave up.
    void pass_on() {
        const std::lock_guard guard(guard_);
        if (WaitQueue::Node* node = waiters_.take_one()) node->parker.unpark();
    }
    /// False if it was not locked. Any thread.
    bool unlock() {
        const std::uint32_t before = state_.exchange(kFree, std::memory_order_release);
        if (before == kContended) pass_on();
        return before != kFree;
    }

  private:
    static constexpr std::uint32_t kFree = 0;
    static constexpr std::uint32_t kHeld = 1;
    static constexpr std::uint32_t kContended = 2;

    std::atomic<std::uint32_t> state_{kFree};
    std::mutex guard_;
    WaitQueue waiters_;  // guarded by guard_
};

}  // namespace pyferris
