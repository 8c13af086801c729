// The one clock of the library: monotonic, in nanoseconds.
#pragma once

#include <cstdint>
#include <limits>

namespace pyferris {

/// Nanoseconds of a monotonic clock with an arbitrary origin. Any thread.
std::uint64_t now_ns() noexcept;

/// A point on that clock; `kNoDeadline` means "wait for ever".
using Deadline = std::uint64_t;
inline constexpr Deadline kNoDeadline = std::numeric_limits<std::uint64_t>::max();

/// The deadline `timeout_ns` from now; saturates to `kNoDeadline`.
inline Deadline deadline_after(std::uint64_t timeout_ns) noexcept {
    const std::uint64_t now = now_ns();
    return timeout_ns >= kNoDeadline - now ? kNoDeadline : now + timeout_ns;
}

}  // namespace pyferris
