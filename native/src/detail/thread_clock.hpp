// How long a thread has computed.
#pragma once

#include <uv.h>

#include <cstdint>
#include <ctime>

namespace pyferris {

/// Nanoseconds of processor time of a thread that has not ended; 0 elsewhere than on Linux.
inline std::uint64_t computed_ns(uv_thread_t thread) noexcept {
#ifdef __linux__
    clockid_t clock{};
    std::timespec time{};
    if (pthread_getcpuclockid(thread, &clock) != 0 || clock_gettime(clock, &time) != 0) return 0;
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
#else
    static_cast<void>(thread);
    return 0;
#endif
}

}  // namespace pyferris
