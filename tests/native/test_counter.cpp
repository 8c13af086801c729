#include <gtest/gtest.h>

#include <limits>
#include <thread>
#include <vector>

#include "pyferris/counter.hpp"

namespace {

using pyferris::Counter;

constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

TEST(Counter, StartsAtItsInitialValue) {
    EXPECT_EQ(Counter().get(), 0);
    EXPECT_EQ(Counter(-7).get(), -7);
    EXPECT_EQ(Counter(kMin).get(), kMin);
}

TEST(Counter, StepsReturnTheNewValue) {
    Counter counter(5);
    EXPECT_EQ(counter.add(3).value, 8);
    EXPECT_EQ(counter.add(-10).value, -2);
    EXPECT_EQ(counter.subtract(4).value, -6);
    EXPECT_EQ(counter.subtract(-6).value, 0);
    EXPECT_EQ(counter.get(), 0);
}

TEST(Counter, ReachesBothLimits) {
    Counter counter(kMax - 1);
    EXPECT_FALSE(counter.add(1).overflow);
    EXPECT_EQ(counter.get(), kMax);
    counter.set(kMin + 1);
    EXPECT_FALSE(counter.subtract(1).overflow);
    EXPECT_EQ(counter.get(), kMin);
    counter.set(-1);
    EXPECT_EQ(counter.subtract(kMin).value, kMax);
    counter.set(0);
    EXPECT_EQ(counter.add(kMin).value, kMin);
}

TEST(Counter, OverflowChangesNothing) {
    struct Case {
        std::int64_t start;
        std::int64_t amount;
        bool subtract;
    };
    for (const Case& it :
         {Case{kMax, 1, false}, Case{kMin, -1, false}, Case{kMin, kMin, false}, Case{kMax, kMax, false},
          Case{kMin, 1, true}, Case{kMax, -1, true}, Case{0, kMin, true}, Case{kMax, kMin, true}}) {
        Counter counter(it.start);
        const Counter::Step step = it.subtract ? counter.subtract(it.amount) : counter.add(it.amount);
        EXPECT_TRUE(step.overflow) << it.start << " and " << it.amount;
        EXPECT_EQ(step.value, it.start);
        EXPECT_EQ(counter.get(), it.start);
    }
}

TEST(Counter, CompareExchangeStoresOnlyOverTheExpected) {
    Counter counter(1);
    EXPECT_FALSE(counter.compare_exchange(2, 3));
    EXPECT_EQ(counter.get(), 1);
    EXPECT_TRUE(counter.compare_exchange(1, 3));
    EXPECT_EQ(counter.get(), 3);
}

TEST(Counter, LosesNoStepOfManyThreads) {
    constexpr int kThreads = 4;
    constexpr int kSteps = 20000;
    Counter counter;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&counter, t] {
            for (int i = 0; i < kSteps; ++i) {
                if (t % 2 == 0) {
                    counter.add(3);
                } else {
                    counter.subtract(1);
                }
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(counter.get(), kThreads / 2 * kSteps * 2);
}

TEST(Counter, ThreadsAtTheLimitAreRefusedExactly) {
    constexpr int kThreads = 4;
    constexpr int kSteps = 5000;
    constexpr int kRoom = 7000;  // fewer than the steps that are tried
    Counter counter(kMax - kRoom);
    Counter refused;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < kSteps; ++i) {
                if (counter.add(1).overflow) refused.add(1);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(counter.get(), kMax);
    EXPECT_EQ(refused.get(), kThreads * kSteps - kRoom);
}

TEST(Counter, CompareExchangeLoopsAreExact) {
    constexpr int kThreads = 4;
    constexpr int kSteps = 5000;
    Counter counter;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&counter] {
            for (int i = 0; i < kSteps; ++i) {
                std::int64_t seen = counter.get();
                while (!counter.compare_exchange(seen, seen + 1)) seen = counter.get();
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(counter.get(), kThreads * kSteps);
}

}  // namespace
