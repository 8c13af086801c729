#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <thread>
#include <vector>

#include "pyferris/numeric_array.hpp"

namespace {

using pyferris::NumericArray;
using Ints = NumericArray<std::int64_t>;
using Reals = NumericArray<double>;

constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

TEST(NumericArray, StartsAtZero) {
    const Ints ints(3);
    const Reals reals(2);
    EXPECT_EQ(ints.size(), 3U);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(ints.get(i), 0);
    for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(reals.get(i), 0.0);
}

TEST(NumericArray, MayBeEmpty) {
    Ints ints(0);
    EXPECT_EQ(ints.size(), 0U);
    EXPECT_NE(ints.data(), nullptr);
}

TEST(NumericArray, TooManyElementsThrow) {
    // More bytes than a size_t can say: refused before any allocator is asked (sanitizers' ones abort).
    EXPECT_THROW(Ints(std::numeric_limits<std::size_t>::max() / 4), std::bad_alloc);
}

TEST(NumericArray, ElementsAreIndependent) {
    Ints ints(3);
    ints.set(1, 5);
    EXPECT_EQ(ints.add(2, -4).value, -4);
    EXPECT_EQ(ints.get(0), 0);
    EXPECT_EQ(ints.get(1), 5);
    EXPECT_EQ(ints.get(2), -4);
}

TEST(NumericArray, IsPlainMemory) {
    Ints ints(2);
    ints.set(0, -1);
    ints.set(1, 7);
    std::int64_t seen[2] = {};
    std::memcpy(seen, ints.data(), sizeof seen);
    EXPECT_EQ(seen[0], -1);
    EXPECT_EQ(seen[1], 7);
    static_cast<std::int64_t*>(ints.data())[1] = 9;
    EXPECT_EQ(ints.get(1), 9);
}

TEST(NumericArray, IntegerOverflowChangesNothing) {
    Ints ints(1);
    ints.set(0, kMax);
    EXPECT_TRUE(ints.add(0, 1).overflow);
    EXPECT_EQ(ints.add(0, 1).value, kMax);
    EXPECT_EQ(ints.get(0), kMax);
    EXPECT_FALSE(ints.add(0, kMin).overflow);
    EXPECT_EQ(ints.get(0), -1);
}

TEST(NumericArray, RealsGoToInfinityAsUsual) {
    Reals reals(1);
    reals.set(0, std::numeric_limits<double>::max());
    const Reals::Step step = reals.add(0, std::numeric_limits<double>::max());
    EXPECT_FALSE(step.overflow);
    EXPECT_TRUE(std::isinf(step.value));
}

TEST(NumericArray, CompareExchangeStoresOnlyOverTheExpected) {
    Ints ints(1);
    EXPECT_FALSE(ints.compare_exchange(0, 1, 2));
    EXPECT_EQ(ints.get(0), 0);
    EXPECT_TRUE(ints.compare_exchange(0, 0, 2));
    EXPECT_EQ(ints.get(0), 2);
}

TEST(NumericArray, CompareExchangeOfRealsComparesValues) {
    Reals reals(1);
    reals.set(0, -0.0);
    EXPECT_TRUE(reals.compare_exchange(0, 0.0, 1.5));
    EXPECT_EQ(reals.get(0), 1.5);
    EXPECT_FALSE(reals.compare_exchange(0, 1.25, 2.0));
    EXPECT_EQ(reals.get(0), 1.5);
}

TEST(NumericArray, ARetryingLoopOverNanEnds) {
    Reals reals(1);
    reals.set(0, std::numeric_limits<double>::quiet_NaN());
    EXPECT_FALSE(reals.compare_exchange(0, 0.0, 1.0));
    EXPECT_TRUE(reals.compare_exchange(0, reals.get(0), 1.0));
    EXPECT_EQ(reals.get(0), 1.0);
}

TEST(NumericArray, LosesNoStepOfManyThreads) {
    constexpr std::size_t kThreads = 4;
    constexpr int kSteps = 20000;
    Ints ints(2);
    Reals reals(2);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < kSteps; ++i) {
                ints.add(t % 2, t % 2 == 0 ? 1 : -1);
                reals.add(t % 2, 0.5);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(ints.get(0), 2 * kSteps);
    EXPECT_EQ(ints.get(1), -2 * kSteps);
    EXPECT_EQ(reals.get(0), kSteps * 1.0);
    EXPECT_EQ(reals.get(1), kSteps * 1.0);
}

}  // namespace
