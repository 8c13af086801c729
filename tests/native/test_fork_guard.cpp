#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "pyferris/fork_guard.hpp"

using pyferris::ForkGuard;

namespace {

std::mutex first;
std::mutex second;
std::atomic<int> order{0};

void lock_first() {
    first.lock();
    order = 1;
}
void unlock_first() { first.unlock(); }
void lock_second() {
    second.lock();
    order = order == 1 ? 2 : -1;
}
void unlock_second() { second.unlock(); }

}  // namespace

TEST(ForkGuard, AChildFindsTheMutexesFreeHoweverBusyTheyWere) {
    ForkGuard::add(lock_first, unlock_first);
    ForkGuard::add(lock_second, unlock_second);
    std::atomic<bool> over{false};
    std::thread busy([&] {
        while (!over) {
            const std::scoped_lock lock(first, second);
        }
    });
    for (int round = 0; round < 50; ++round) {
        const pid_t child = fork();
        if (child == 0) _exit(first.try_lock() && second.try_lock() && order == 2 ? 0 : 1);
        int status = 0;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        EXPECT_EQ(status, 0);
    }
    over = true;
    busy.join();
}
