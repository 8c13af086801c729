// A worker of a ThreadPool, for the pool's own sources.
#pragma once

#include <uv.h>

#include <atomic>
#include <memory>

#include "pyferris/thread_pool.hpp"

namespace pyferris {

// How long a worker without work looks before it parks: who awaits one call after another comes with the next after
// one wake-up of its event loop, 15 to 30 us. Where looking was in vain (nobody comes so soon, or the looking thread
// keeps the core that the other needs) it is halved each time, down to nothing but a try now and then.
constexpr std::uint64_t kSpinNs = 40'000;

struct ThreadPool::Worker {
    std::shared_ptr<ThreadPool> pool;
    std::unique_ptr<WorkerDriver> driver;
    NativeParker parker;
    std::atomic<Task*> taken{nullptr};  // from the queue, and not begun: it attaches; set with the pool's mutex held
    // Guarded by the pool's mutex, all of these.
    std::size_t index = 0;  // none has another's
    uv_thread_t thread{};   // known once it was made, or has begun, whichever comes first
    bool made = false;
    long number = 0;         // the system's, of the thread; 0 before it has begun
    bool busy = false;       // it has a task
    int core = -1;           // where it was when it had got that; -1: not known
    bool searching = false;  // this is the woken one
    bool given_up = false;   // counted no more
    bool leaving = false;    // takes no more tasks
    bool choosy = false;     // as a helper, runs only what is marked as wanted
};

}  // namespace pyferris
