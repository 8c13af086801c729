#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "pyferris/completion_queue.hpp"

namespace pyferris {
namespace {

std::atomic<int> dropped{0};
void count_drop(void* /*item*/) { ++dropped; }

int items[4];

TEST(CompletionQueue, SendsCoalesceAndItemsStayInOrder) {
    CompletionQueue queue(count_drop);
    EmbeddedWaker waker;
    queue.open(waker);
    EXPECT_TRUE(queue.push(&items[0]));
    EXPECT_FALSE(queue.push(&items[1]));  // a wake-up is on its way already
    EXPECT_TRUE(queue.wake());
    EXPECT_TRUE(waker.poll());
    queue.begin_drain();
    void* out[4];
    ASSERT_EQ(queue.pop(out, 4), 2U);
    EXPECT_EQ(out[0], &items[0]);
    EXPECT_EQ(out[1], &items[1]);
    EXPECT_FALSE(waker.poll());
    EXPECT_TRUE(queue.push(&items[2]));
    queue.close();
}

TEST(CompletionQueue, AClosedQueueDropsWhatItHasAndWhatComes) {
    CompletionQueue queue(count_drop);
    EmbeddedWaker waker;
    queue.open(waker);
    dropped = 0;
    queue.push(&items[0]);
    queue.close();
    EXPECT_EQ(dropped.load(), 1);
    EXPECT_FALSE(queue.is_open());
    EXPECT_TRUE(queue.push(&items[1]));
    EXPECT_FALSE(queue.wake());
    queue.drop_all();
    EXPECT_EQ(dropped.load(), 2);
}

TEST(CompletionQueue, NoWakeUpIsLost) {
    constexpr int kPushers = 4;
    constexpr int kEach = 20'000;
    CompletionQueue queue(count_drop);
    EmbeddedWaker waker;
    queue.open(waker);
    std::vector<std::thread> pushers;
    for (int p = 0; p < kPushers; ++p) {
        pushers.emplace_back([&] {
            for (int i = 0; i < kEach; ++i) {
                if (queue.push(&items[0])) queue.wake();
            }
        });
    }
    int taken = 0;
    void* out[64];
    while (taken < kPushers * kEach) {
        if (!waker.poll()) continue;  // only a wake-up makes the drainer look
        queue.begin_drain();
        while (const std::size_t count = queue.pop(out, 64)) taken += static_cast<int>(count);
    }
    for (auto& thread : pushers) thread.join();
    EXPECT_EQ(taken, kPushers * kEach);
    queue.close();
}

}  // namespace
}  // namespace pyferris
