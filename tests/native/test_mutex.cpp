#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "pyferris/mutex.hpp"

namespace pyferris {
namespace {

void lock(Mutex& mutex, NativeParker& parker) {
    if (mutex.try_lock()) return;
    WaitQueue::Node node(parker);
    while (!mutex.lock_or_wait(node)) parker.park(kNoDeadline);
}

TEST(Mutex, OneHolderAtATime) {
    Mutex mutex;
    EXPECT_FALSE(mutex.is_locked());
    EXPECT_TRUE(mutex.try_lock());
    EXPECT_TRUE(mutex.is_locked());
    EXPECT_FALSE(mutex.try_lock());
    EXPECT_TRUE(mutex.unlock());
    EXPECT_FALSE(mutex.is_locked());
    EXPECT_FALSE(mutex.unlock());
}

class MutexTest : public testing::Test {
  protected:
    Mutex mutex;
    NativeParker first_parker;
    NativeParker second_parker;
    WaitQueue::Node first{first_parker};
    WaitQueue::Node second{second_parker};
};

TEST_F(MutexTest, UnlockingWakesTheOneThatWaitedLongest) {
    ASSERT_TRUE(mutex.try_lock());
    EXPECT_FALSE(mutex.lock_or_wait(first));
    EXPECT_FALSE(mutex.lock_or_wait(second));
    EXPECT_TRUE(mutex.unlock());
    EXPECT_EQ(first_parker.park(now_ns()), ParkResult::woken);
    EXPECT_EQ(second_parker.park(now_ns()), ParkResult::timed_out);
    EXPECT_TRUE(mutex.lock_or_wait(first));  // and it gets the lock
    EXPECT_TRUE(mutex.unlock());             // which the other, still waiting, is woken for
    EXPECT_EQ(second_parker.park(now_ns()), ParkResult::woken);
}

TEST_F(MutexTest, AWokenWaiterThatFindsItTakenWaitsAgain) {
    ASSERT_TRUE(mutex.try_lock());
    ASSERT_FALSE(mutex.lock_or_wait(first));
    ASSERT_TRUE(mutex.unlock());
    ASSERT_TRUE(mutex.try_lock());  // somebody was quicker
    EXPECT_EQ(first_parker.park(now_ns()), ParkResult::woken);
    EXPECT_FALSE(mutex.lock_or_wait(first));
    EXPECT_TRUE(mutex.unlock());
    EXPECT_EQ(first_parker.park(now_ns()), ParkResult::woken);
    EXPECT_TRUE(mutex.lock_or_wait(first));
}

TEST_F(MutexTest, WhoGivesUpAfterItsWakeUpPassesItOn) {
    ASSERT_TRUE(mutex.try_lock());
    ASSERT_FALSE(mutex.lock_or_wait(first));
    ASSERT_FALSE(mutex.lock_or_wait(second));
    ASSERT_TRUE(mutex.unlock());
    EXPECT_FALSE(mutex.leave(first));  // woken already
    EXPECT_EQ(first_parker.park(now_ns()), ParkResult::woken);
    mutex.pass_on();
    EXPECT_EQ(second_parker.park(now_ns()), ParkResult::woken);
}

TEST_F(MutexTest, WhoGivesUpBeforeIsNotWoken) {
    ASSERT_TRUE(mutex.try_lock());
    ASSERT_FALSE(mutex.lock_or_wait(first));
    EXPECT_TRUE(mutex.leave(first));
    EXPECT_TRUE(mutex.unlock());
    EXPECT_EQ(first_parker.park(now_ns()), ParkResult::timed_out);
}

TEST(Mutex, ExcludesUnderContention) {
    constexpr int kThreads = 4;
    constexpr int kRounds = 5'000;
    Mutex mutex;
    int count = 0;  // plain: a race would be seen, by its sum or by the sanitizer
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
        threads.emplace_back([&] {
            NativeParker parker;
            for (int round = 0; round < kRounds; ++round) {
                lock(mutex, parker);
                ++count;
                mutex.unlock();
            }
        });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(count, kThreads * kRounds);
    EXPECT_FALSE(mutex.is_locked());
}

}  // namespace
}  // namespace pyferris
