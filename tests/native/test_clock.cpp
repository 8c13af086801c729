#include <gtest/gtest.h>

#include "pyferris/clock.hpp"

namespace pyferris {
namespace {

TEST(Clock, NeverGoesBack) {
    std::uint64_t before = now_ns();
    for (int i = 0; i < 10'000; ++i) {
        const std::uint64_t now = now_ns();
        ASSERT_GE(now, before);
        before = now;
    }
}

TEST(Clock, DeadlinesSaturate) {
    EXPECT_EQ(deadline_after(kNoDeadline), kNoDeadline);
    EXPECT_EQ(deadline_after(kNoDeadline - 1), kNoDeadline);
    const std::uint64_t before = now_ns();
    EXPECT_GE(deadline_after(1000), before + 1000);
    EXPECT_LT(deadline_after(1000), kNoDeadline);
}

}  // namespace
}  // namespace pyferris
