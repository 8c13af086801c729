#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <mutex>
#include <thread>
#include <vector>

#include "pyferris/short_mutex.hpp"

namespace pyferris {
namespace {

TEST(ShortMutex, LetsOneInAtATime) {
    ShortMutex mutex;
    int count = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (int j = 0; j < 20'000; ++j) {
                const std::lock_guard lock(mutex);
                ++count;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(count, 80'000);
}

TEST(ShortMutex, SleepsWhereItIsHeldLong) {
    ShortMutex mutex;
    std::atomic<bool> comes{false};
    std::int64_t computed = 0;
    mutex.lock();
    std::thread other([&] {
        comes = true;
        const std::lock_guard lock(mutex);
        timespec now{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
        computed = now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
    });
    while (!comes) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    mutex.unlock();
    other.join();
    EXPECT_LT(computed, 100) << "milliseconds";
}

TEST(ShortMutex, IsTriedWithoutWaiting) {
    ShortMutex mutex;
    EXPECT_TRUE(mutex.try_lock());
    std::thread([&] { EXPECT_FALSE(mutex.try_lock()); }).join();
    mutex.unlock();
    std::thread([&] {
        EXPECT_TRUE(mutex.try_lock());
        mutex.unlock();
    }).join();
}

}  // namespace
}  // namespace pyferris
