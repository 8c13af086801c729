// A thread for one piece of work, where a pool would be too much.
//
//   idle --start--> running --the work returns--> over --join--> idle
//
// No frame of ours lies above the work but one without destructors, so that an interpreter that ends may stop the
// thread inside of it.
#pragma once

#include <memory>

namespace pyferris {

class NativeThread {
  public:
    using Work = void (*)(void* argument);

    NativeThread();
    /// It must have been joined, or never started.
    ~NativeThread();
    NativeThread(const NativeThread&) = delete;
    NativeThread& operator=(const NativeThread&) = delete;

    /// Runs `work(argument)` on a new thread. Any thread, once between two joins. False if there is no thread to be
    /// had.
    bool start(Work work, void* argument);
    /// Waits for the end of the work. Not from that thread. Without a started one it returns at once.
    void join();

    /// As `start`, for a thread that nobody waits for.
    static bool start_detached(Work work, void* argument);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace pyferris
