#include <gtest/gtest.h>

#include "pyferris/task_queue.hpp"

namespace pyferris {
namespace {

class Plain final : public Task {};

TEST(TaskQueue, FirstInFirstOut) {
    TaskQueue queue;
    Plain tasks[3];
    for (Plain& task : tasks) queue.push_back(task);
    EXPECT_EQ(queue.size(), 3U);
    for (Plain& task : tasks) EXPECT_EQ(queue.pop_front(), &task);
    EXPECT_EQ(queue.pop_front(), nullptr);
    EXPECT_TRUE(queue.empty());
}

TEST(TaskQueue, ATaskLeavesFromAnyPlaceOnce) {
    for (int place = 0; place < 3; ++place) {
        TaskQueue queue;
        Plain tasks[3];
        for (Plain& task : tasks) queue.push_back(task);
        EXPECT_TRUE(queue.remove(tasks[place]));
        EXPECT_FALSE(queue.remove(tasks[place]));
        EXPECT_EQ(queue.size(), 2U);
        for (int i = 0; i < 3; ++i) {
            if (i == place) continue;
            EXPECT_EQ(queue.pop_front(), &tasks[i]);
        }
        queue.push_back(tasks[place]);  // it can be queued again
        EXPECT_EQ(queue.pop_front(), &tasks[place]);
    }
}

TEST(TaskQueue, TasksThatWereTakenCanBeChained) {
    TaskQueue queue;
    Plain tasks[2];
    for (Plain& task : tasks) queue.push_back(task);
    EXPECT_EQ(queue.pop_front(), &tasks[0]);
    EXPECT_EQ(tasks[0].chained(), nullptr);
    tasks[0].chain(&tasks[1]);
    EXPECT_EQ(tasks[0].chained(), &tasks[1]);
    EXPECT_FALSE(queue.remove(tasks[0]));  // it is in no queue all the same
    queue.push_back(tasks[0]);
    EXPECT_EQ(queue.pop_front(), &tasks[1]);
    EXPECT_EQ(queue.pop_front(), &tasks[0]);
}

TEST(TaskQueue, WantedOnesComeLastInFirstOut) {
    TaskQueue queue;
    Plain tasks[4];
    tasks[1].mark_wanted();
    tasks[2].mark_wanted();
    EXPECT_EQ(queue.pop_wanted(), nullptr);
    for (Plain& task : tasks) queue.push_back(task);
    EXPECT_TRUE(queue.has_wanted());
    EXPECT_EQ(queue.pop_wanted(), &tasks[2]);
    EXPECT_TRUE(queue.remove(tasks[1]));
    EXPECT_FALSE(queue.has_wanted());
    EXPECT_EQ(queue.pop_wanted(), nullptr);
    EXPECT_EQ(queue.pop_front(), &tasks[0]);
    EXPECT_EQ(queue.pop_front(), &tasks[3]);
}

}  // namespace
}  // namespace pyferris
