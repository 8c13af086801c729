// Worker threads that run tasks, first in, first out.
//
// Who does what: `submit` (any thread) queues and wakes or starts a worker. Each worker is a uv thread with a
// WorkerDriver of its own, which says what "attach", "run" and "detach" mean (the binding: take the GIL; tests:
// nothing). A worker pops a task while detached, attaches, runs it and all it then finds, detaches, and parks.
//
//   starting --> searching --> running <--> searching --> parked --unpark--> searching
//                                                |
//                                                `--> gone   (nothing queued, and the pool is closed, or it was parked
//                                                             for as long as it may `linger`; or it could not attach)
//   running --give_up--> given up: counted no more, gone when its task returns
//
// One wake-up at a time: a submit that finds a woken worker still searching wakes no other; a worker that takes a
// task and leaves more behind wakes the next. So a burst costs one wake-up a worker, not one a task, and a task that
// blocks never holds back another that a free worker could run.
//
// Ownership: shared; each worker thread holds the pool until it is gone. Tasks are not owned: whoever submits keeps
// them alive until `run` was called, `remove` or `take_all` gave them back.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "pyferris/short_mutex.hpp"
#include "pyferris/task_queue.hpp"
#include "pyferris/wait_queue.hpp"

namespace pyferris {

/// What a worker does with its thread. All calls come from the worker's own thread. `attach`, `between` and `run` may
/// never return (an interpreter that ends stops threads there), so no lock is held around them.
class WorkerDriver {
  public:
    WorkerDriver() = default;
    WorkerDriver(const WorkerDriver&) = delete;
    WorkerDriver& operator=(const WorkerDriver&) = delete;
    virtual ~WorkerDriver() = default;

    /// Before the first task, detached. False: the worker ends at once.
    virtual bool start() = 0;
    /// False: this thread can run no more tasks. It stops, and another worker takes its place and its task.
    virtual bool attach() = 0;
    /// Runs one task, attached.
    virtual void run(Task& task) = 0;
    /// Between two tasks of one attachment: deliver what the first has finished.
    virtual void between() = 0;
    /// True where it must detach before the next task, though there is one. Asked after each, attached.
    virtual bool must_detach() { return false; }
    /// Detaches and delivers.
    virtual void detach() = 0;
    /// `detach`, then `stop`, where no task follows.
    virtual void leave() {
        detach();
        stop();
    }
    /// After the last task, detached.
    virtual void stop() = 0;
};

class ThreadPool : public std::enable_shared_from_this<ThreadPool> {
  public:
    /// Makes the driver of worker number `index`. Called on the submitting thread, the pool's mutex held: must only
    /// allocate.
    using DriverFactory = std::function<std::unique_ptr<WorkerDriver>(std::size_t index)>;
    enum class SubmitResult : std::uint8_t { queued, closed, no_thread };

    /// `stack_size`: bytes, 0 for the platform's default.
    static std::shared_ptr<ThreadPool> make(std::size_t max_workers, DriverFactory factory, std::size_t stack_size = 0);
    ~ThreadPool();

    /// Queues `task`. Any thread. `no_thread`: not one worker could be started; the task is not queued.
    SubmitResult submit(Task& task);
    /// Starts workers that have no task yet, so that `count` are there, or `max_workers`. Any thread. Returns how many
    /// it has started.
    std::size_t start_workers(std::size_t count);
    /// From now on a worker goes that has found nothing queued for so long; a submit starts another. And one that
    /// begins to work does so on a core where none of the others does. Any thread.
    void linger(std::uint64_t ns);
    /// Queues `task` again from the worker that runs it; also in a closed pool.
    void requeue(Task& task);
    /// Takes a queued task back. Any thread. False if a worker has it.
    bool remove(Task& task);
    /// The next task for a worker that waits inside its own task and may help. Null if there is none.
    Task* take_one();
    /// The worker of this driver is stuck in its task: the pool goes on without it, and does not wait for it. Any
    /// thread. False if it is none of the pool's workers any more.
    bool give_up(const WorkerDriver& driver);
    struct Worker;
    /// The worker that this thread is, or null.
    static Worker* current_worker() noexcept { return current_; }
    /// On a worker of this pool that waits inside its own task and helps meanwhile, detached: a queued task, once there
    /// is one that nobody else comes for, first of all what is marked as wanted; nothing else where `choosy`. Null once
    /// `done` is set, or `deadline` has passed.
    Task* next_while_waiting(const std::atomic<bool>& done, Deadline deadline, bool choosy);
    /// On a worker, attached: it begins with the task that it was given. A fork knows those that have not begun.
    static void begin_taken() noexcept;
    /// Sets `done`, and wakes `worker` where it waits in `next_while_waiting`. Any thread, while `worker` waits for it.
    void end_waiting(std::atomic<bool>& done, Worker* worker);
    /// Takes back everything queued, in order.
    std::vector<Task*> take_all();

    /// No more submits; workers go once the queue is empty. Any thread; again does nothing.
    void close();
    bool is_closed() const;

    /// Puts `node` among those woken when the last worker is gone. False if none is left. Only after `close`.
    bool add_joiner(WaitQueue::Node& node);
    bool remove_joiner(WaitQueue::Node& node);
    /// Joins the threads that are gone. Blocks for moments only; detached. Not from a worker of this pool.
    void reap();

    std::size_t max_workers() const noexcept { return max_workers_; }
    std::size_t queued() const;
    /// The same without a lock, perhaps a moment old.
    std::size_t backlog() const noexcept { return queued_.load(std::memory_order_relaxed); }
    std::size_t live_workers() const;
    /// Nanoseconds that its workers have computed; where threads have no clocks, that the process has. Any thread.
    std::uint64_t computed_ns() const;
    /// Workers that compute go apart, where they share a core beside an idle one (see cores.hpp). Any thread.
    void spread() const;
    /// True on a worker thread of this pool.
    bool is_current() const noexcept;

    /// In a forked child, before it makes a thread: each pool is empty and without workers; `orphan` gets every task
    /// that was queued, or that a worker had taken and not begun. The pools' mutexes are free there (see
    /// fork_guard.hpp).
    static void after_fork_in_child(const std::function<void(Task&)>& orphan);

  private:
    static thread_local Worker* current_;  // the worker that this thread is

    ThreadPool(std::size_t max_workers, DriverFactory factory, std::size_t stack_size);
    static void lock_for_fork();
    static void unlock_after_fork();
    bool start_worker();
    static void thread_main(void* worker);
    void work(Worker& self);
    void retire(Worker* self);
    void hand_over(Worker& self, Task& task);
    void one_less();
    bool may_go(Worker& self, bool late) noexcept;
    void go_apart(Worker& self);
    bool has_room() const noexcept;
    Task* next(Worker& self);
    Task* try_next(Worker& self);
    Worker* pick_idle();

    const std::size_t max_workers_;
    const DriverFactory factory_;
    const std::size_t stack_size_;

    std::atomic<std::size_t> queued_{0};  // mirrors queue_.size() for spinning workers
    mutable ShortMutex mutex_;            // guards all below; short, never held while attaching or waking
    TaskQueue queue_;
    std::vector<Worker*> workers_;  // alive; each is owned by its thread
    std::vector<Worker*> idle_;     // parked, the one that parked last at the back
    std::vector<Worker*> helpers_;  // parked inside their tasks; woken where nobody else can come
    std::size_t starting_ = 0;
    std::size_t spinning_ = 0;
    std::uint64_t spin_ns_;  // how long the next one looks for work
    std::uint32_t not_spun_ = 0;
    bool searching_ = false;           // one worker was woken and has not looked yet
    std::atomic<bool> closed_{false};  // written with the mutex held; spinning workers look
    Deadline linger_ns_ = kNoDeadline;
    std::size_t live_ = 0;
    std::uint64_t gone_ns_ = 0;  // that those have computed that are gone
    std::size_t leaving_ = 0;    // of these, those that take no more tasks
    std::size_t next_index_ = 0;
    WaitQueue joiners_;
    std::vector<std::unique_ptr<Worker>> gone_;  // threads that have ended or are about to; to be joined
};

}  // namespace pyferris
