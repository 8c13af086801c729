#include "pyferris/blocked_wait.hpp"

#include <mutex>
#include <vector>

namespace pyferris {

struct BlockedWait::Threads {
    std::mutex mutex;
    std::vector<Thread*> all;  // guarded by mutex
};

// Never destroyed: threads may end after statics are gone.
BlockedWait::Threads& BlockedWait::threads() {
    static auto* const known = new Threads();
    return *known;
}

struct BlockedWait::Thread {
    BlockedWait* first = nullptr;
    bool& over;

    explicit Thread(bool& flag) : over(flag) {
        const std::lock_guard lock(threads().mutex);
        threads().all.push_back(this);
    }
    Thread(const Thread&) = delete;
    Thread& operator=(const Thread&) = delete;
    ~Thread() {
        over = true;
        const std::lock_guard lock(threads().mutex);
        std::erase(threads().all, this);
    }
};

BlockedWait::Thread* BlockedWait::this_thread() {
    static thread_local bool over = false;
    if (over) return nullptr;
    static thread_local Thread thread(over);
    return &thread;
}

BlockedWait::BlockedWait() : thread_(this_thread()) {
    if (thread_ == nullptr) return;
    next_ = thread_->first;
    if (next_ != nullptr) next_->prev_ = this;
    thread_->first = this;
}

BlockedWait::~BlockedWait() {
    if (thread_ == nullptr) return;
    (prev_ != nullptr ? prev_->next_ : thread_->first) = next_;
    if (next_ != nullptr) next_->prev_ = prev_;
}

void BlockedWait::lock_all() { threads().mutex.lock(); }

void BlockedWait::unlock_all() { threads().mutex.unlock(); }

void BlockedWait::forget_lost_threads() {
    Thread* const here = this_thread();
    const std::lock_guard lock(threads().mutex);
    for (const Thread* thread : threads().all) {
        if (thread == here) continue;
        for (BlockedWait* wait = thread->first; wait != nullptr; wait = wait->next_) wait->forget();
    }
    threads().all.clear();
    if (here != nullptr) threads().all.push_back(here);
}

}  // namespace pyferris
