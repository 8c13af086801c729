// Threads that wait for a change of something that a mutex guards (a lock that is held, a queue that is empty).
//
// The owner of the mutex keeps a WaitQueue beside what it guards. A waiter puts itself in (`add`, mutex held), lets go
// of the mutex and parks. Whoever makes the change calls `take_one`/`take_all` (mutex held) and, after letting go of
// the mutex, wakes those it took. A waiter that gives up (time ran out, signal) calls `remove` (mutex held): false
// means that it was taken already, so a wake-up is on its way and must be consumed with one more `park`; the change
// that it stands for is then this waiter's to pass on.
#pragma once

#include "pyferris/blocked_wait.hpp"
#include "pyferris/parker.hpp"

namespace pyferris {

class WaitQueue {
  public:
    /// One waiter; lives on the stack of the waiting thread.
    struct Node final : BlockedWait {
        explicit Node(Parker& parker_of_waiter) : parker(parker_of_waiter) {}

        Parker& parker;
        WaitQueue* queue = nullptr;  // guarded by the owner's mutex, as is all below
        Node* prev = nullptr;
        Node* next = nullptr;
        bool linked = false;

      private:
        void forget() noexcept override {
            if (linked) queue->remove(*this);
        }
    };

    WaitQueue() = default;
    WaitQueue(const WaitQueue&) = delete;
    WaitQueue& operator=(const WaitQueue&) = delete;

    // All of these: the owner's mutex is held.
    bool empty() const noexcept { return first_ == nullptr; }
    void add(Node& node) noexcept {
        node.queue = this;
        node.prev = last_;
        node.next = nullptr;
        (last_ != nullptr ? last_->next : first_) = &node;
        last_ = &node;
        node.linked = true;
    }
    bool remove(Node& node) noexcept {
        if (!node.linked) return false;
        (node.prev != nullptr ? node.prev->next : first_) = node.next;
        (node.next != nullptr ? node.next->prev : last_) = node.prev;
        node.linked = false;
        return true;
    }
    /// The one that waited longest, or null. Wake it after the mutex is released.
    Node* take_one() noexcept {
        Node* node = first_;
        if (node != nullptr) remove(*node);
        return node;
    }

  private:
    Node* first_ = nullptr;
    Node* last_ = nullptr;
};

}  // namespace pyferris
