// What the workers of a ThreadPool do: start, look for tasks, run them, wait inside of one, go.
#include <algorithm>
#include <utility>

#include "detail/pool_worker.hpp"
#include "detail/thread_clock.hpp"
#include "pyferris/cores.hpp"
#include "pyferris/spin.hpp"

namespace pyferris {

namespace {

constexpr std::uint64_t kLeastSpinNs = 2'000;
constexpr std::uint32_t kTryEvery = 16;

}  // namespace

thread_local ThreadPool::Worker* ThreadPool::current_ = nullptr;

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
    self.taken.store(task);
    queued_.store(queue_.size(), std::memory_order_relaxed);
    if (!queue_.empty() && !searching_ && spinning_ + starting_ == 0) {
        wake = pick_idle();
        start = wake == nullptr && has_room();
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

void ThreadPool::begin_taken() noexcept { current_->taken.store(nullptr); }

std::size_t ThreadPool::start_workers(std::size_t count) {
    const std::size_t limit = std::min(count, max_workers_);
    for (std::size_t started = 0;; ++started) {
        {
            const std::lock_guard lock(mutex_);
            // Those that linger but for a moment may have come and gone meanwhile.
            if (closed_ || live_ >= limit || started >= limit) return started;
            ++starting_;
            ++live_;
        }
        if (!start_worker()) return started;
    }
}

// live_ and starting_ count the worker already; they are taken back where it cannot be started.
bool ThreadPool::start_worker() {
    auto worker = std::make_unique<Worker>();
    worker->pool = shared_from_this();
    Worker* raw = worker.get();
    std::size_t index = 0;
    {
        const std::lock_guard lock(mutex_);
        worker->index = index = next_index_++;
        worker->driver = factory_(index);
        workers_.push_back(raw);
    }
    uv_thread_t thread{};
    uv_thread_options_t options{};
    options.flags = stack_size_ != 0 ? UV_THREAD_HAS_STACK_SIZE : UV_THREAD_NO_FLAGS;
    options.stack_size = stack_size_;
    const bool made = uv_thread_create_ex(&thread, &options, &ThreadPool::thread_main, raw) == 0;
    const std::lock_guard lock(mutex_);
    if (made) {
        static_cast<void>(worker.release());  // the thread owns it now, and may be gone already
        const auto found = std::find_if(workers_.begin(), workers_.end(),
                                        [index](const Worker* each) { return each->index == index; });
        if (found != workers_.end()) {
            (*found)->thread = thread;
            (*found)->made = true;
        }
        return true;
    }
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
    {
        const std::lock_guard lock(mutex_);
        self.thread = uv_thread_self();
        self.made = true;
        self.number = see_this_thread().thread;
    }
    const bool started = driver.start();
    {
        const std::lock_guard lock(mutex_);
        --starting_;
    }
    if (!started) return;
    while (Task* task = next(self)) {
        go_apart(self);
        if (!driver.attach()) {
            hand_over(self, *task);
            break;
        }
        begin_taken();
        do {
            driver.run(*task);
            if (driver.must_detach()) break;
            task = try_next(self);
            if (task != nullptr) driver.between();
        } while (task != nullptr);
        if (self.leaving) {  // read on its own thread, which alone writes it
            driver.leave();
            return;
        }
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
    gone_ns_ += pyferris::computed_ns(self->thread);
    if (self->leaving && !self->given_up) --leaving_;
    if (!self->given_up) one_less();
}

// The mutex is held, and nothing is queued. Until it is gone it is counted among the live, for those who wait for
// these, but no submit may count on it.
bool ThreadPool::may_go(Worker& self, bool late) noexcept {
    if (!closed_.load(std::memory_order_relaxed) && !late) return false;
    self.leaving = true;
    ++leaving_;
    return true;
}

// It has a task, and has run nothing of it: nobody sees that it may use one core only for a moment.
void ThreadPool::go_apart(Worker& self) {
    std::vector<Seen> others;
    {
        const std::lock_guard lock(mutex_);
        if (linger_ns_ == kNoDeadline) return;
        for (const Worker* worker : workers_) {
            if (worker != &self && worker->busy) others.push_back({worker->number, worker->core});
        }
    }
    const int core = others.empty() ? see_this_thread().core : leave_to_others(others);
    const std::lock_guard lock(mutex_);
    self.core = core;
}

// The mutex is held.
bool ThreadPool::has_room() const noexcept { return live_ - leaving_ < max_workers_; }

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
        self.taken.store(nullptr);
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
        if ((*found)->leaving) --leaving_;
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
    bool late = false;
    std::unique_lock lock(mutex_);
    self.busy = false;
    for (;;) {
        if (std::exchange(self.searching, false)) searching_ = false;
        if (self.given_up) return nullptr;
        task = queue_.pop_front();
        if (task != nullptr || may_go(self, late)) break;
        if (spin && spinning_ == 0 && (spin_ns_ >= kLeastSpinNs || ++not_spun_ % kTryEvery == 0)) {
            spin = false;
            ++spinning_;  // one that looks is enough
            const std::uint64_t longest = spin_ns_ >= kLeastSpinNs ? spin_ns_ : kSpinNs;
            lock.unlock();
            const bool found = spin_until(
                [this] {
                    return queued_.load(std::memory_order_relaxed) != 0 || closed_.load(std::memory_order_relaxed);
                },
                longest);
            lock.lock();
            --spinning_;
            spin_ns_ = found ? kSpinNs : spin_ns_ / 2;
            continue;
        }
        idle_.push_back(&self);
        const Deadline until = linger_ns_ == kNoDeadline ? kNoDeadline : deadline_after(linger_ns_);
        lock.unlock();
        const bool waited = self.parker.park(until) == ParkResult::timed_out;
        lock.lock();
        late = waited && std::erase(idle_, &self) != 0;
        if (waited && !late) {  // somebody has picked it: the token comes very soon
            lock.unlock();
            self.parker.park(kNoDeadline);
            lock.lock();
        }
    }
    self.busy = task != nullptr;
    self.taken.store(task);
    queued_.store(queue_.size(), std::memory_order_relaxed);
    if (!queue_.empty() && !searching_ && spinning_ == 0) wake = pick_idle();
    lock.unlock();
    if (wake != nullptr) wake->parker.unpark();
    return task;
}

Task* ThreadPool::try_next(Worker& self) {
    Worker* wake = nullptr;
    Task* task = nullptr;
    {
        const std::lock_guard lock(mutex_);
        if (self.given_up) return nullptr;
        task = queue_.pop_front();
        if (task == nullptr) {
            may_go(self, false);
            return nullptr;
        }
        queued_.store(queue_.size(), std::memory_order_relaxed);
        if (!queue_.empty() && !searching_ && spinning_ == 0) wake = pick_idle();
    }
    if (wake != nullptr) wake->parker.unpark();
    return task;
}

}  // namespace pyferris
