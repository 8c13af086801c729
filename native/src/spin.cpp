#include "pyferris/spin.hpp"

#include <thread>

namespace pyferris {

std::uint64_t spin_ns() noexcept {
    static const std::uint64_t limit = std::thread::hardware_concurrency() > 1 ? 15'000 : 0;
    return limit;
}

}  // namespace pyferris
