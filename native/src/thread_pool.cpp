#include "pyferris/thread_pool.hpp"

#include <uv.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "pyferris/blocked_wait.hpp"
#include "pyferris/fork_guard.hpp"
#include "pyferris/future_state.hpp"
#include "pyferris/spin.hpp"

namespace pyferris {

namespace {

// How long a worker without work looks before it parks: who awaits one call after another comes with the next after
// one wake-up of its event loop, 15 to 30 us. Where looking was in vain (nobody comes so soon, or the looking thread
// keeps the core that the other needs) it is halved each time, down to nothing but a try now and then.
constexpr std::uint64_t kSpinNs = 40'000;
constexpr std::uint64_t kLeastSpinNs = 2'000;
constexpr std::uint32_t kTryEvery = 16;

struct Registry {
    std::mutex mutex;
    std::vector<ThreadPool*> pools;  // guarded by mutex
};

Registry& registry() {
    static auto* const instance = new Registry();  // never destroyed: workers may outlive static destruction
    return *instance;
}

}  // namespace

struct ThreadPool::Worker {
    std::shared_ptr<ThreadPool> pool;
    std::unique_ptr<WorkerDriver> driver;
    NativeParker parker;
    uv_thread_t thread{};
    bool searching = false;  // this is the woken one; guarded by the pool's mutex
    bool given_up = false;   // counted no more; guarded by the pool's mutex
    bool choosy = false;     // as a helper, runs only what is marked as wanted; likewise
};

thread_local ThreadPool::Worker* ThreadPool::current_ = nullptr;

namespace {

// A thread cannot join itself: the last worker of a pool that nobody joins leaves its handle here, and the next
// thread that does so joins it. One handle at most is ever waiting.
class Reaper {
  public:
    void leave(uv_thread_t thread) {
        uv_thread_t previous{};
        bool join = false;
        {
            const std::lock_guard lock(mutex_);
            join = std::exchange(waiting_, true);
            previous = std::exchange(thread_, thread);
        }
        if (join) uv_thread_join(&previous);
    }
    void forget() { waiting_ = false; }  // in a forked child

  private:
    std::mutex mutex_;
    uv_thread_t thread_{};
    bool waiting_ = false;
};

Reaper& reaper() {
    static auto* const instance = new Reaper();
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
            reaper().leave(worker->thread);
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
        if (coming == 0 && (!idle_.empty() || live_ == max_workers_)) wake = pick_idle();
        if (wake == nullptr && live_ < max_workers_ && queue_.size() > coming + idle_.size()) {
            start = true;
            ++starting_;
            ++live_;
        }
    }
    if (wake != nullptr) wake->parker.unpark();
    if (!start || start_worker()) return SubmitResult::queued;
    const std::lock_guard lock(mutex_);
    if (live_ != 0 || !queue_.remove(task)) {  // another worker will come to it
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
Task* ThreadPool::next_while_waiting(const std::atomic<bool>& done, Deadline deadline, bool choosy) {
    Worker& self = *current_;
    Worker* wake = nullptr;
    Task* task = nullptr;
    bool start = false;
    bool late = false;
    std::unique_lock lock(mutex_);
    for (;;) {
        if (std::exchange(self.searching, false)) searching_ = false;
        if (late || done.load(std::memory_order_relaxed)) break;
        if (!searching_ && spinning_ + starting_ == 0) {
            task = queue_.pop_wanted();
            if (task == nullptr && !choosy) task = queue_.pop_front();
        }
        if (task != nullptr) break;
        self.choosy = choosy;
        helpers_.push_back(&self);
        lock.unlock();
        late = self.parker.park(deadline) == ParkResult::timed_out;
        lock.lock();
        if (!late || std::erase(helpers_, &self) != 0) continue;
        lock.unlock();
        self.parker.park(kNoDeadline);  // somebody has picked it: the token comes very soon
        lock.lock();
    }
    queued_.store(queue_.size(), std::memory_order_relaxed);
    if (!queue_.empty() && !searching_ && spinning_ + starting_ == 0) {
        wake = pick_idle();
        start = wake == nullptr && live_ < max_workers_;
        if (start) {
            ++starting_;
            ++live_;
        }
    }
    lock.unlock();
    if (wake != nullptr) wake->parker.unpark();
    if (start) start_worker();
    return task;
}

void ThreadPool::end_waiting(std::atomic<bool>& done, Worker* worker) {
    const std::shared_ptr<ThreadPool> keep = shared_from_this();
    const std::lock_guard lock(mutex_);
    done.store(true, std::memory_order_release);
    if (std::erase(helpers_, worker) != 0) worker->parker.unpark();
}

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
    return closed_;
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

bool ThreadPool::is_current() const noexcept { return current_ != nullptr && current_->pool.get() == this; }

ThreadPool::Worker* ThreadPool::pick_idle() {
    Worker* worker = nullptr;
    if (!idle_.empty()) {
        worker = idle_.back();
        idle_.pop_back();
    } else {
        const auto helper = std::find_if(helpers_.rbegin(), helpers_.rend(),
                                         [this](const Worker* each) { return !each->choosy || queue_.has_wanted(); });
        if (helper == helpers_.rend()) return nullptr;
        worker = *helper;
        helpers_.erase(std::next(helper).base());
    }
    worker->searching = searching_ = true;
    return worker;
}

// live_ and starting_ count the worker already; they are taken back where it cannot be started.
bool ThreadPool::start_worker() {
    auto worker = std::make_unique<Worker>();
    worker->pool = shared_from_this();
    Worker* raw = worker.get();
    {
        const std::lock_guard lock(mutex_);
        worker->driver = factory_(next_index_++);
        workers_.push_back(raw);
    }
    uv_thread_options_t options{};
    options.flags = stack_size_ != 0 ? UV_THREAD_HAS_STACK_SIZE : UV_THREAD_NO_FLAGS;
    options.stack_size = stack_size_;
    if (uv_thread_create_ex(&raw->thread, &options, &ThreadPool::thread_main, raw) == 0) {
        static_cast<void>(worker.release());  // the thread owns it now
        return true;
    }
    const std::lock_guard lock(mutex_);
    std::erase(workers_, raw);
    --starting_;
    --live_;
    --next_index_;
    return false;
}

// No destructor on the frames above `work`: a thread that the ending interpreter stops is unwound through them, and
// what the worker holds must then be left alone.
void ThreadPool::thread_main(void* worker) {
    current_ = static_cast<Worker*>(worker);
    ThreadPool* pool = current_->pool.get();
    pool->work(*current_);
    pool->retire(std::exchange(current_, nullptr));
}

void ThreadPool::work(Worker& self) {
    WorkerDriver& driver = *self.driver;
    const bool started = driver.start();
    {
        const std::lock_guard lock(mutex_);
        --starting_;
    }
    if (!started) return;
    while (Task* task = next(self)) {
        if (!driver.attach()) {
            hand_over(self, *task);
            break;
        }
        do {
            driver.run(*task);
            if (driver.must_detach()) break;
            task = try_next(self);
            if (task != nullptr) driver.between();
        } while (task != nullptr);
        driver.detach();
    }
    driver.stop();
}

void ThreadPool::retire(Worker* self) {
    const std::shared_ptr<ThreadPool> keep = std::move(self->pool);
    self->driver.reset();
    const std::lock_guard lock(mutex_);
    std::erase(workers_, self);
    std::erase(idle_, self);
    if (std::exchange(self->searching, false)) searching_ = false;
    gone_.emplace_back(self);
    if (!self->given_up) one_less();
}

// The mutex is held.
void ThreadPool::one_less() {
    if (--live_ != 0) return;
    while (WaitQueue::Node* joiner = joiners_.take_one()) joiner->parker.unpark();
}

// The task goes back to the front, and a new worker comes for it. Where none can be started and no other is left, the
// task stays queued until the next submit starts one.
void ThreadPool::hand_over(Worker& self, Task& task) {
    {
        const std::lock_guard lock(mutex_);
        queue_.push_front(task);
        queued_.store(queue_.size(), std::memory_order_relaxed);
        std::erase(workers_, &self);
        self.given_up = true;  // the new one is counted in its place
        ++starting_;
    }
    if (!start_worker()) {
        const std::lock_guard lock(mutex_);
        if (live_ == 0) {
            while (WaitQueue::Node* joiner = joiners_.take_one()) joiner->parker.unpark();
        }
    }
}

bool ThreadPool::give_up(const WorkerDriver& driver) {
    bool start = false;
    {
        const std::lock_guard lock(mutex_);
        const auto found = std::find_if(workers_.begin(), workers_.end(),
                                        [&](const Worker* worker) { return worker->driver.get() == &driver; });
        if (found == workers_.end()) return false;
        (*found)->given_up = true;
        workers_.erase(found);
        start = !queue_.empty();
        if (start) {
            ++starting_;
        } else {
            one_less();
        }
    }
    if (start) start_worker();
    return true;
}

Task* ThreadPool::next(Worker& self) {
    Worker* wake = nullptr;
    Task* task = nullptr;
    bool spin = true;
    std::unique_lock lock(mutex_);
    for (;;) {
        if (std::exchange(self.searching, false)) searching_ = false;
        if (self.given_up) return nullptr;
        task = queue_.pop_front();
        if (task != nullptr || closed_) break;
        if (spin && spinning_ == 0 && (spin_ns_ >= kLeastSpinNs || ++not_spun_ % kTryEvery == 0)) {
            spin = false;
            ++spinning_;  // one that looks is enough
            const std::uint64_t longest = spin_ns_ >= kLeastSpinNs ? spin_ns_ : kSpinNs;
            lock.unlock();
            const bool found = spin_until([this] { return queued_.load(std::memory_order_relaxed) != 0; }, longest);
            lock.lock();
            --spinning_;
            spin_ns_ = found ? kSpinNs : spin_ns_ / 2;
            continue;
        }
        idle_.push_back(&self);
        lock.unlock();
        self.parker.park(kNoDeadline);
        lock.lock();
    }
    queued_.store(queue_.size(), std::memory_order_relaxed);
    if (!queue_.empty() && !searching_ && spinning_ == 0) wake = pick_idle();
    lock.unlock();
    if (wake != nullptr) wake->parker.unpark();
    return task;
}

Task* ThreadPool::try_next(const Worker& self) {
    Worker* wake = nullptr;
    Task* task = nullptr;
    {
        const std::lock_guard lock(mutex_);
        if (self.given_up) return nullptr;
        task = queue_.pop_front();
        if (task == nullptr) return nullptr;
        queued_.store(queue_.size(), std::memory_order_relaxed);
        if (!queue_.empty() && !searching_ && spinning_ == 0) wake = pick_idle();
    }
    if (wake != nullptr) wake->parker.unpark();
    return task;
}

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
    reaper().forget();
    for (ThreadPool* pool : registry().pools) {
        // The workers' threads do not exist here. Their records are left alone: parkers may be in any state.
        while (Task* task = pool->queue_.pop_front()) orphans.push_back(task);
        pool->queued_.store(0, std::memory_order_relaxed);
        pool->workers_.clear();
        pool->idle_.clear();
        pool->helpers_.clear();
        pool->starting_ = pool->spinning_ = pool->live_ = 0;
        if (current_ != nullptr && current_->pool.get() == pool) {  // a call of this pool has forked, and goes on here
            pool->workers_.push_back(current_);
            pool->live_ = 1;
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
