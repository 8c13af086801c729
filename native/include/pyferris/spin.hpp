// Looking for a moment before sleeping: a wake-up through the kernel costs two context switches, and what a thread
// waits for often comes sooner.
#pragma once

#include <cstdint>

#include "pyferris/clock.hpp"

namespace pyferris {

/// How long a thread looks before it sleeps: about what the sleep's two context switches would cost, so that at worst
/// it doubles the cost of one wait. 0 on a machine with one core, where looking keeps away what is waited for.
std::uint64_t spin_ns() noexcept;

/// Tells the processor that this is a waiting loop.
inline void spin_pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

/// Calls `ready` again and again, for `longest_ns` at most; true as soon as it returned true. Not at all where
/// `spin_ns` is 0.
template <class Ready>
bool spin_until(Ready ready, std::uint64_t longest_ns = spin_ns()) {
    if (spin_ns() == 0) return false;
    const Deadline until = deadline_after(longest_ns);
    do {
        for (int i = 0; i < 16; ++i) {
            if (ready()) return true;
            spin_pause();
        }
    } while (now_ns() < until);
    return false;
}

}  // namespace pyferris
