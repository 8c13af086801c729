// Finished things on their way to one event loop: many threads push, the loop's thread drains.
//
//   worker: push -> enqueue -> signalled? --no--> owed a wake-up: `wake`, now or when the GIL is gone
//   loop:   woken -> `begin_drain` (clears signalled) -> pop ... pop
//
// Results live in the queue, never in the signal: wake-ups coalesce. The flag is cleared before anything is dequeued
// and set after anything is enqueued, so none is lost.
//
// Closing: the loop's end closes the queue (`close`); what is still in it goes to the `Drop` function, and what is
// pushed later does in the pusher's `drop_all`. A wake-up is sent under the mutex that guards `waker_`, so
// none is ever sent to a loop that has gone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace pyferris {

/// How a loop is woken. `wake` comes from any thread, under the queue's mutex: it must not block.
class LoopWaker {
  public:
    LoopWaker() = default;
    LoopWaker(const LoopWaker&) = delete;
    LoopWaker& operator=(const LoopWaker&) = delete;
    virtual void wake() noexcept = 0;

  protected:
    ~LoopWaker() = default;
};

class CompletionQueue {
  public:
    using Drop = void (*)(void* item);

    explicit CompletionQueue(Drop drop);
    ~CompletionQueue();
    CompletionQueue(const CompletionQueue&) = delete;
    CompletionQueue& operator=(const CompletionQueue&) = delete;

    /// Connects the queue to its loop. Once, before the first push.
    void open(LoopWaker& waker);

    /// Hands over `item`. Any thread. True: the caller owes one `wake`, after this.
    bool push(void* item);
    /// Wakes the loop. Any thread. False if the loop is gone: then `drop_all` is owed, by a thread that may drop.
    bool wake();
    void drop_all();

    /// The loop's thread: from here on a push asks for a new wake-up.
    void begin_drain();
    /// The loop's thread: takes up to `most` items, the oldest of each pusher first.
    std::size_t pop(void** items, std::size_t most);

    /// The loop is going: no more wake-ups, all items dropped. The thread that ends the loop; again does nothing.
    void close();
    bool is_open() const;

    /// In a forked child: forgets the loop without a word to it.
    void abandon_after_fork();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// Wakes a loop through a uv loop of its own, embedded: the file descriptor becomes readable, then `poll` is due.
class EmbeddedWaker final : public LoopWaker {
  public:
    /// Throws UvError.
    EmbeddedWaker();
    ~EmbeddedWaker();

    /// Watch this for reading. The descriptor stays ours.
    int backend_fd() const noexcept;
    /// Runs the uv loop once without waiting; true if a wake-up had come. The loop's thread.
    bool poll();
    void wake() noexcept override;
    /// In a forked child: gives the uv loop descriptors of its own, so that ending it is not seen by the parent.
    void detach_after_fork();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace pyferris
