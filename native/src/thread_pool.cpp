#include "pyferris/thread_pool.hpp"

#include <algorithm>
#include <ctime>
#include <iterator>
#include <utility>

#include "detail/detach_thread.hpp"
#include "detail/pool_worker.hpp"
#include "detail/thread_clock.hpp"
#include "pyferris/blocked_wait.hpp"
#include "pyferris/cores.hpp"
#include "pyferris/fork_guard.hpp"
#include "pyferris/future_state.hpp"

namespace pyferris {

namespace {

struct Registry {
    std::mutex mutex;
    std::vector<ThreadPool*> pools;  // guarded by mutex
};

Registry& registry() {
    static auto* const instance = new Registry();  // never destroyed: workers may outlive static destruction
    return *instance;
}

}  // namespace

std::shared_ptr<ThreadPool> ThreadPool::make(std::size_t max_workers, DriverFactory factory, std::size_t stack_size) {
    static std::once_flag guarded;
    std::call_once(guarded, [] { ForkGuard::add(lock_for_fork, unlock_after_fork); });
    std::shared_ptr<ThreadPool> pool(new ThreadPool(max_workers, std::move(factory), stack_size));
    Registry& all = registry();
    const std::lock_guard lock(all.mutex);
    all.pools.push_back(pool.get());
    return pool;
}

ThreadPool::ThreadPool(std::size_t max_workers, DriverFactory factory, std::size_t stack_size)
    : max_workers_(max_workers), factory_(std::move(factory)), stack_size_(stack_size), spin_ns_(kSpinNs) {}

ThreadPool::~ThreadPool() {
    {
        Registry& all = registry();
        const std::lock_guard lock(all.mutex);
        std::erase(all.pools, this);
    }
    const uv_thread_t self = uv_thread_self();
    for (auto& worker : gone_) {
        if (uv_thread_equal(&worker->thread, &self) != 0) {
            detach_thread(worker->thread);  // a thread cannot join itself
        } else {
            uv_thread_join(&worker->thread);
        }
    }
}

ThreadPool::SubmitResult ThreadPool::submit(Task& task) {
    Worker* wake = nullptr;
    bool start = false;
    {
        const std::lock_guard lock(mutex_);
        if (closed_) return SubmitResult::closed;
        queue_.push_back(task);
        queued_.store(queue_.size(), std::memory_order_relaxed);
        const std::size_t coming = spinning_ + starting_ + (searching_ ? 1 : 0);
        if (coming == 0 && (!idle_.empty() || !has_room())) wake = pick_idle();
        if (wake == nullptr && has_room() && queue_.size() > coming + idle_.size()) {
            start = true;
            ++starting_;
            ++live_;
        }
    }
    if (wake != nullptr) wake->parker.unpark();
    if (!start || start_worker()) return SubmitResult::queued;
    const std::lock_guard lock(mutex_);
    if (live_ != leaving_ || !queue_.remove(task)) {  // another worker will come to it
        if (!helpers_.empty() && !searching_ && (wake = pick_idle()) != nullptr) wake->parker.unpark();
        return SubmitResult::queued;
    }
    queued_.store(queue_.size(), std::memory_order_relaxed);
    return SubmitResult::no_thread;
}

void ThreadPool::requeue(Task& task) {
    Worker* wake = nullptr;
    {
        const std::lock_guard lock(mutex_);
        queue_.push_back(task);
        queued_.store(queue_.size(), std::memory_order_relaxed);
        // The caller itself looks next; another is needed only where there is more than that one task.
        if (queue_.size() > 1 && spinning_ + starting_ == 0 && !searching_) wake = pick_idle();
    }
    if (wake != nullptr) wake->parker.unpark();
}

bool ThreadPool::remove(Task& task) {
    const std::lock_guard lock(mutex_);
    if (!queue_.remove(task)) return false;
    queued_.store(queue_.size(), std::memory_order_relaxed);
    return true;
}

Task* ThreadPool::take_one() {
    const std::lock_guard lock(mutex_);
    Task* task = queue_.pop_front();
    queued_.store(queue_.size(), std::memory_order_relaxed);
    return task;
}

// As `next`, but what it leaves behind, when what it waits for is there, must find another worker.
std::vector<Task*> ThreadPool::take_all() {
    const std::lock_guard lock(mutex_);
    std::vector<Task*> tasks;
    tasks.reserve(queue_.size());
    while (Task* task = queue_.pop_front()) tasks.push_back(task);
    queued_.store(0, std::memory_order_relaxed);
    return tasks;
}

void ThreadPool::close() {
    std::vector<Worker*> wake;
    {
        const std::lock_guard lock(mutex_);
        closed_ = true;
        wake.swap(idle_);
        // Under the mutex: a woken worker must not be gone before its parker was touched.
        for (Worker* worker : wake) worker->parker.unpark();
    }
}

bool ThreadPool::is_closed() const {
    const std::lock_guard lock(mutex_);
    return closed_.load(std::memory_order_relaxed);
}

bool ThreadPool::add_joiner(WaitQueue::Node& node) {
    const std::lock_guard lock(mutex_);
    if (live_ == 0) return false;
    joiners_.add(node);
    return true;
}

bool ThreadPool::remove_joiner(WaitQueue::Node& node) {
    const std::lock_guard lock(mutex_);
    return joiners_.remove(node);
}

void ThreadPool::linger(std::uint64_t ns) {
    const std::lock_guard lock(mutex_);
    linger_ns_ = ns;
}

void ThreadPool::reap() {
    std::vector<std::unique_ptr<Worker>> gone;
    {
        const std::lock_guard lock(mutex_);
        gone.swap(gone_);
    }
    for (auto& worker : gone) uv_thread_join(&worker->thread);
}

std::size_t ThreadPool::queued() const {
    const std::lock_guard lock(mutex_);
    return queue_.size();
}

std::size_t ThreadPool::live_workers() const {
    const std::lock_guard lock(mutex_);
    return live_;
}

std::uint64_t ThreadPool::computed_ns() const {
#ifdef __linux__
    const std::lock_guard lock(mutex_);
    std::uint64_t total = gone_ns_;
    for (const Worker* worker : workers_) {
        if (worker->made) total += pyferris::computed_ns(worker->thread);
    }
    return total;
#else
    return static_cast<std::uint64_t>(std::clock()) * (1'000'000'000 / CLOCKS_PER_SEC);
#endif
}

void ThreadPool::spread() const {
    const std::lock_guard lock(mutex_);  // keeps them from being joined, and those that are not busy from taking a task
    std::vector<Runner> runners;
    for (const Worker* worker : workers_) {
        if (worker->made) runners.push_back({worker->thread, worker->number, !worker->busy});
    }
    pyferris::spread(runners);
}

bool ThreadPool::is_current() const noexcept { return current_ != nullptr && current_->pool.get() == this; }

void ThreadPool::lock_for_fork() {
    registry().mutex.lock();
    for (ThreadPool* pool : registry().pools) pool->mutex_.lock();
    FutureState::lock_all_stripes();
    BlockedWait::lock_all();
}

void ThreadPool::unlock_after_fork() {
    BlockedWait::unlock_all();
    FutureState::unlock_all_stripes();
    for (ThreadPool* pool : registry().pools) pool->mutex_.unlock();
    registry().mutex.unlock();
}

void ThreadPool::after_fork_in_child(const std::function<void(Task&)>& orphan) {
    BlockedWait::forget_lost_threads();
    std::vector<Task*> orphans;
    for (ThreadPool* pool : registry().pools) {
        // The workers' threads do not exist here. Their records are left alone: parkers may be in any state.
        while (Task* task = pool->queue_.pop_front()) orphans.push_back(task);
        for (const Worker* worker : pool->workers_) {
            Task* const taken = worker->taken.load();
            if (taken != nullptr && worker != current_) orphans.push_back(taken);
        }
        pool->queued_.store(0, std::memory_order_relaxed);
        pool->workers_.clear();
        pool->idle_.clear();
        pool->helpers_.clear();
        pool->starting_ = pool->spinning_ = pool->live_ = pool->leaving_ = 0;
        if (current_ != nullptr && current_->pool.get() == pool) {  // a call of this pool has forked, and goes on here
            pool->workers_.push_back(current_);
            pool->live_ = 1;
            pool->leaving_ = current_->leaving ? 1 : 0;
        }
        pool->searching_ = false;
        if (pool->live_ == 0) {  // for a signal handler that has forked in this thread's wait
            while (WaitQueue::Node* joiner = pool->joiners_.take_one()) joiner->parker.unpark();
        }
        for (auto& worker : pool->gone_) static_cast<void>(worker.release());
        pool->gone_.clear();
    }
    for (Task* task : orphans) orphan(*task);
}

}  // namespace pyferris
