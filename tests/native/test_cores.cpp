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

namespace {

// A thread that computes, and goes to a core when it is told.
class Wanderer {
  public:
    explicit Wanderer(std::vector<int> all) : all_(std::move(all)) {
        thread_ = std::thread([this] {
            number_.store(see_this_thread().thread);
            while (!stop_.load()) {
                const int core = goal_.exchange(-1);
                if (core >= 0) go_to(core, all_);
                core_.store(sched_getcpu());
                ++steps_;
            }
        });
        while (steps_.load() == 0) std::this_thread::yield();
    }
    ~Wanderer() {
        stop_.store(true);
        thread_.join();
    }
    void go(int core) {
        goal_.store(core);
        while (goal_.load() != -1) std::this_thread::yield();
        static_cast<void>(core_now());
    }
    int core_now() {
        const long before = steps_.load();
        while (steps_.load() < before + 2) std::this_thread::yield();
        return core_.load();
    }
    pyferris::Runner runner(bool may_be_moved = true) {
        return {thread_.native_handle(), number_.load(), may_be_moved};
    }

  private:
    const std::vector<int> all_;
    std::atomic<bool> stop_{false};
    std::atomic<int> goal_{-1};
    std::atomic<int> core_{-1};
    std::atomic<long> steps_{0};
    std::atomic<long> number_{0};
    std::thread thread_;
};

std::vector<int> cores_of(const pyferris::Runner& runner) {
    cpu_set_t set;
    pthread_getaffinity_np(runner.thread, sizeof set, &set);
    std::vector<int> found;
    for (int core = 0; core < CPU_SETSIZE; ++core) {
        if (CPU_ISSET(static_cast<std::size_t>(core), &set)) found.push_back(core);
    }
    return found;
}

}  // namespace

TEST(Cores, ThreadsThatComputeOnOneCoreGoApart) {
    const std::vector<int> all = allowed_cores();
    if (all.size() < 2) GTEST_SKIP() << "one core";
    Wanderer first(all);
    Wanderer second(all);
    int apart = 0;
    for (int i = 0; i < 20; ++i) {
        first.go(all[0]);
        second.go(all[0]);
        pyferris::spread({first.runner(), second.runner()});
        apart += second.core_now() != first.core_now() ? 1 : 0;
    }
    EXPECT_GE(apart, 15);  // the system may move them as well
    EXPECT_EQ(cores_of(first.runner()), all);
    EXPECT_EQ(cores_of(second.runner()), all);
}

TEST(Cores, OneThatMustNotBeMovedStays) {
    const std::vector<int> all = allowed_cores();
    if (all.size() < 2) GTEST_SKIP() << "one core";
    Wanderer first(all);
    Wanderer second(all);
    int stayed = 0;
    int apart = 0;
    for (int i = 0; i < 20; ++i) {
        first.go(all[0]);
        second.go(all[0]);
        pyferris::spread({first.runner(false), second.runner(false)});
        stayed += second.core_now() == first.core_now() ? 1 : 0;
        pyferris::spread({first.runner(true), second.runner(false)});  // the other one gives way
        apart += second.core_now() != first.core_now() ? 1 : 0;
    }
    EXPECT_GE(stayed, 10);  // the system may move them
    EXPECT_GE(apart, 15);
}

TEST(Cores, OneThatMayUseNoOtherCoreStays) {
    const std::vector<int> all = allowed_cores();
    Wanderer first(all);
    Wanderer second({all[0]});
    first.go(all[0]);
    second.go(all[0]);
    pyferris::spread({first.runner(), second.runner()});
    EXPECT_EQ(second.core_now(), all[0]);
    EXPECT_EQ(cores_of(second.runner()), std::vector<int>{all[0]});
    pyferris::spread({});
}

#endif
