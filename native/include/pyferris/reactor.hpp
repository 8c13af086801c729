// One thread that runs a uv loop, for event loops that cannot watch a file descriptor of ours.
//
// Any thread posts a number; the reactor's thread hands all that were posted since it last looked to its handler, each
// number once. The handler may block (it takes the GIL): posting never waits for it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace pyferris {

class Reactor {
  public:
    /// Called on the reactor's thread with the numbers that were posted, in the order of their first posting.
    using Handler = std::function<void(const std::vector<std::uint64_t>& posted)>;

    /// Starts the thread. Throws UvError.
    explicit Reactor(Handler handler);
    /// Stops and joins it; what was posted and not handled is dropped. Any thread but the reactor's own.
    ~Reactor();
    Reactor(const Reactor&) = delete;
    Reactor& operator=(const Reactor&) = delete;

    /// Any thread; never blocks.
    void post(std::uint64_t number) noexcept;
    /// In a forked child, where the thread does not exist: lets go of everything.
    void abandon_after_fork() noexcept;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace pyferris
