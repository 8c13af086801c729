// A first-in-first-out list of tasks, intrusive: queueing allocates nothing, and a task can leave from the middle.
//
// It has no lock of its own; the pool's mutex guards it together with what else must change in the same moment.
#pragma once

#include <cstddef>

namespace pyferris {

/// What a pool can queue. Embedded in the object that is to be run; that object outlives its place in the queue.
class Task {
  public:
    Task() = default;
    Task(const Task&) = delete;
    Task& operator=(const Task&) = delete;

    /// A worker that waits inside its own task may be waiting for this one: see `pop_wanted`. Before it is queued.
    void mark_wanted() noexcept { wanted_ = true; }

    /// A list of tasks that are in no queue, of whoever has taken them: which one comes after this.
    void chain(Task* next) noexcept { next_ = next; }
    Task* chained() const noexcept { return next_; }

  protected:
    ~Task() = default;

  private:
    friend class TaskQueue;
    Task* prev_ = nullptr;  // guarded by the mutex of the queue's owner
    Task* next_ = nullptr;
    bool queued_ = false;
    bool wanted_ = false;
};

class TaskQueue {
  public:
    TaskQueue() = default;
    TaskQueue(const TaskQueue&) = delete;
    TaskQueue& operator=(const TaskQueue&) = delete;

    // All of these: the owner's mutex is held.
    bool empty() const noexcept { return first_ == nullptr; }
    std::size_t size() const noexcept { return size_; }

    void push_back(Task& task) noexcept {
        task.prev_ = last_;
        task.next_ = nullptr;
        task.queued_ = true;
        (last_ != nullptr ? last_->next_ : first_) = &task;
        last_ = &task;
        ++size_;
        wanted_ += task.wanted_ ? 1 : 0;
    }
    bool has_wanted() const noexcept { return wanted_ != 0; }
    /// The one of those marked as wanted that came last.
    Task* pop_wanted() noexcept {
        if (wanted_ == 0) return nullptr;
        Task* task = last_;
        while (!task->wanted_) task = task->prev_;
        unlink(*task);
        return task;
    }
    /// Back to where it was taken from.
    void push_front(Task& task) noexcept {
        task.prev_ = nullptr;
        task.next_ = first_;
        task.queued_ = true;
        (first_ != nullptr ? first_->prev_ : last_) = &task;
        first_ = &task;
        ++size_;
    }
    Task* pop_front() noexcept {
        Task* task = first_;
        if (task != nullptr) unlink(*task);
        return task;
    }
    /// False if the task was not in the queue (a worker has it, or had it).
    bool remove(Task& task) noexcept {
        if (!task.queued_) return false;
        unlink(task);
        return true;
    }

  private:
    void unlink(Task& task) noexcept {
        (task.prev_ != nullptr ? task.prev_->next_ : first_) = task.next_;
        (task.next_ != nullptr ? task.next_->prev_ : last_) = task.prev_;
        task.prev_ = task.next_ = nullptr;
        task.queued_ = false;
        --size_;
        wanted_ -= task.wanted_ ? 1 : 0;
    }

    Task* first_ = nullptr;
    Task* last_ = nullptr;
    std::size_t size_ = 0;
    std::size_t wanted_ = 0;  // how many are marked
};

}  // namespace pyferris
