// What a SafeQueue does with its items: a linearizable FIFO that can be closed.
//
// One short mutex guards the items and the lists of waiters. Under it no Python code runs and no reference is dropped.
// A waiter that is woken looks again: whoever was running may have been faster, and then it waits once more. Waiters
// may be threads of any interpreter; once the queue is shared its items are bytes.
#pragma once

#include <deque>
#include <mutex>

#include "py_wait.hpp"
#include "pyferris/wait_queue.hpp"
#include "shared_cell.hpp"

namespace pyferris::python {

struct QueueCore final : SharedState {
    QueueCore(std::size_t most_items) : SharedState(SharedKind::queue, false), most(most_items) {}
    ~QueueCore() override;

    const std::size_t most;  // 0: any number
    std::mutex mutex;        // guards all below
    std::deque<Cell> items;  // owned
    WaitQueue getters;
    WaitQueue putters;
    WaitQueue joiners;
    std::size_t unfinished = 0;  // put and not yet `task_done`
    bool closed = false;

    // With the mutex held.
    bool is_full() const { return most != 0 && items.size() >= most; }
    bool takes(const Offer& offer) const { return !closed && !is_full() && offer.fits(is_shared()); }
    void append(const Offer& offer);
    Cell pop_front();

    // All of these: any attached thread. Null and false come with an error set.
    /// Takes the next item.
    PyObject* get(Deadline deadline);
    bool put(PyObject* item, Deadline deadline);
    bool task_done();
    bool join();
    void close(bool immediate);
    std::size_t size();
    PyRef to_list();
    /// Turns the items into bytes, for good.
    bool share() override;
    /// Drops the items of a private queue.
    void clear();

  private:
    int wait_in(WaitQueue& waiters, WaitQueue::Node& node, Deadline deadline);
};

/// Sets `queue.Empty`, `queue.Full` or the package's ShutDown, which an interpreter may not have imported yet.
enum class QueueError : std::uint8_t { empty, full, shut_down };
PyRef queue_error(QueueError error);

}  // namespace pyferris::python
