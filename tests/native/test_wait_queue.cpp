#include <gtest/gtest.h>

#include "pyferris/wait_queue.hpp"

namespace pyferris {
namespace {

class WaitQueueTest : public testing::Test {
  protected:
    NativeParker parker;
    WaitQueue::Node first{parker};
    WaitQueue::Node second{parker};
    WaitQueue::Node third{parker};
    WaitQueue queue;
};

TEST_F(WaitQueueTest, WhoWaitsLongestIsTakenFirst) {
    EXPECT_TRUE(queue.empty());
    EXPECT_EQ(queue.take_one(), nullptr);
    for (WaitQueue::Node* node : {&first, &second, &third}) queue.add(*node);
    EXPECT_FALSE(queue.empty());
    for (WaitQueue::Node* node : {&first, &second, &third}) EXPECT_EQ(queue.take_one(), node);
    EXPECT_TRUE(queue.empty());
}

TEST_F(WaitQueueTest, AWaiterLeavesFromAnyPlaceOnce) {
    WaitQueue::Node* nodes[] = {&first, &second, &third};
    for (WaitQueue::Node* leaving : nodes) {
        for (WaitQueue::Node* node : nodes) queue.add(*node);
        EXPECT_TRUE(queue.remove(*leaving));
        EXPECT_FALSE(queue.remove(*leaving));
        for (WaitQueue::Node* node : nodes) {
            if (node == leaving) continue;
            EXPECT_EQ(queue.take_one(), node);
        }
        EXPECT_TRUE(queue.empty());
    }
}

TEST_F(WaitQueueTest, WhoWasTakenCannotLeave) {
    queue.add(first);
    EXPECT_EQ(queue.take_one(), &first);
    EXPECT_FALSE(queue.remove(first));  // a wake-up is on its way
    queue.add(first);                   // and may wait again
    EXPECT_TRUE(queue.remove(first));
}

}  // namespace
}  // namespace pyferris
