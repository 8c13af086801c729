#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "pyferris/native_thread.hpp"

using pyferris::NativeThread;

namespace {

void count(void* counter) { static_cast<std::atomic<int>*>(counter)->fetch_add(1); }

}  // namespace

TEST(NativeThread, JoinReturnsWhenTheWorkIsDone) {
    std::atomic<int> counter{0};
    NativeThread thread;
    for (int round = 1; round <= 3; ++round) {
        ASSERT_TRUE(thread.start(count, &counter));
        thread.join();
        EXPECT_EQ(counter.load(), round);
    }
}

TEST(NativeThread, JoinWithoutAThreadReturnsAtOnce) {
    NativeThread thread;
    thread.join();
    SUCCEED();
}

TEST(NativeThread, ADetachedOneRunsByItself) {
    static std::atomic<int> counter{0};  // outlives the thread
    ASSERT_TRUE(NativeThread::start_detached(count, &counter));
    while (counter.load() == 0) std::this_thread::yield();
    EXPECT_EQ(counter.load(), 1);
}
