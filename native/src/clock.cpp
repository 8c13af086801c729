#include "pyferris/clock.hpp"

#include <uv.h>

namespace pyferris {

std::uint64_t now_ns() noexcept { return uv_hrtime(); }

}  // namespace pyferris
