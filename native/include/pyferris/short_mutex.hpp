// A mutex for sections of some ten instructions that several threads enter all the time.
//
// A thread that finds it locked looks again for a moment before it sleeps: whoever holds it is gone within that, and
// sleeping takes two context switches and makes the holder wake it.
#pragma once

#include <mutex>

#include "pyferris/spin.hpp"

namespace pyferris {

class ShortMutex {
  public:
    // As those of std::mutex.

    void lock() {
        for (int i = 0; i < kLooks; ++i) {
            if (mutex_.try_lock()) return;
            spin_pause();
        }
        mutex_.lock();
    }
    bool try_lock() { return mutex_.try_lock(); }
    void unlock() { mutex_.unlock(); }

  private:
    static constexpr int kLooks = 40;  // 1 to 2 us

    std::mutex mutex_;
};

}  // namespace pyferris
