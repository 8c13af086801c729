#include <gtest/gtest.h>

#ifdef __linux__
#include <sched.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "pyferris/cores.hpp"

using pyferris::leave_to_others;
using pyferris::see_this_thread;
using pyferris::Seen;

namespace {

std::vector<int> allowed_cores() {
    cpu_set_t allowed;
    sched_getaffinity(0, sizeof allowed, &allowed);
    std::vector<int> found;
    for (int core = 0; core < CPU_SETSIZE; ++core) {
        if (CPU_ISSET(static_cast<std::size_t>(core), &allowed)) found.push_back(core);
    }
    return found;
}

void allow(const std::vector<int>& cores) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const int core : cores) CPU_SET(static_cast<std::size_t>(core), &set);
    ASSERT_EQ(sched_setaffinity(0, sizeof set, &set), 0);
}

// A thread that stays on one core, and computes there, or sleeps.
class Other {
  public:
    Other(int core, bool computes) {
        thread_ = std::thread([this, core, computes] {
            allow({core});
            seen_ = see_this_thread();
            ready_.store(true);
            if (!computes) stop_.wait(false);
            while (!stop_.load()) continue;
        });
        while (!ready_.load()) std::this_thread::yield();
    }
    ~Other() {
        stop_.store(true);
        stop_.notify_all();
        thread_.join();
    }
    Seen seen() const { return seen_; }

  private:
    std::atomic<bool> ready_{false};
    std::atomic<bool> stop_{false};
    Seen seen_{};
    std::thread thread_;
};

// On `core`, where the system may move it away again.
void go_to(int core, const std::vector<int>& all) {
    allow({core});
    allow(all);
}

}  // namespace

TEST(Cores, AThreadLeavesACoreToOneThatComputesThere) {
    const std::vector<int> all = allowed_cores();
    if (all.size() < 2) GTEST_SKIP() << "one core";
    for (const int core : all) {
        const Other other(core, true);
        go_to(core, all);
        EXPECT_NE(leave_to_others({other.seen()}), core);
        EXPECT_EQ(allowed_cores(), all);
    }
}

TEST(Cores, NotToOneThatSleeps) {
    const std::vector<int> all = allowed_cores();
    const Other other(all[0], false);
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    bool stayed = false;
    while (!stayed && std::chrono::steady_clock::now() < until) {  // it may not sleep yet
        go_to(all[0], all);
        stayed = see_this_thread().core == all[0] && leave_to_others({other.seen()}) == all[0];
    }
    EXPECT_TRUE(stayed);
}

TEST(Cores, NotToOneThatIsElsewhereOrGone) {
    const std::vector<int> all = allowed_cores();
    allow({all[0]});
    EXPECT_EQ(leave_to_others({}), all[0]);
    EXPECT_EQ(leave_to_others({{see_this_thread().thread, all[0] + 1}}), all[0]);
    EXPECT_EQ(leave_to_others({{999999999, all[0]}}), all[0]);
    allow(all);
}

TEST(Cores, AThreadStaysWhereItMayNotLeave) {
    const std::vector<int> all = allowed_cores();
    const Other other(all[0], true);
    allow({all[0]});
    EXPECT_EQ(leave_to_others({other.seen()}), all[0]);
    EXPECT_EQ(allowed_cores(), std::vector<int>{all[0]});
    allow(all);
}

#endif
