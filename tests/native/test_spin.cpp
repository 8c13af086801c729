#include <gtest/gtest.h>

#include <thread>

#include "pyferris/spin.hpp"

namespace pyferris {
namespace {

TEST(SpinUntil, StopsWhenReady) {
    int looks = 0;
    const bool ready = spin_until([&] { return ++looks == 3; });
    EXPECT_EQ(ready, spin_ns() != 0);
    EXPECT_EQ(looks, spin_ns() != 0 ? 3 : 0);
}

TEST(SpinUntil, GivesUpAfterItsTime) {
    const std::uint64_t before = now_ns();
    EXPECT_FALSE(spin_until([] { return false; }));
    EXPECT_GE(now_ns() - before, spin_ns());
}

TEST(SpinNs, IsZeroOnOneCore) { EXPECT_EQ(spin_ns() == 0, std::thread::hardware_concurrency() <= 1); }

}  // namespace
}  // namespace pyferris
