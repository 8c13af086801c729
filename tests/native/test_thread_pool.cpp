#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <functional>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

#include "pyferris/clock.hpp"
#include "pyferris/thread_pool.hpp"

namespace pyferris {
namespace {

class FunctionTask final : public Task {
  public:
    explicit FunctionTask(std::function<void()> body) : body_(std::move(body)) {}
    void run() { body_(); }

  private:
    std::function<void()> body_;
};

class Driver final : public WorkerDriver {
  public:
    bool start() override { return true; }
    bool attach() override { return true; }
    void run(Task& task) override { static_cast<FunctionTask&>(task).run(); }
    void between() override {}
    void detach() override {}
    void stop() override {}
};

std::shared_ptr<ThreadPool> make_pool(std::size_t workers) {
    return ThreadPool::make(workers, [](std::size_t) { return std::make_unique<Driver>(); });
}

void end(ThreadPool& pool) {
    pool.close();
    NativeParker parker;
    WaitQueue::Node node(parker);
    if (pool.add_joiner(node)) {
        EXPECT_EQ(parker.park(kNoDeadline), ParkResult::woken);
    }
    pool.reap();
    EXPECT_EQ(pool.live_workers(), 0U);
}

TEST(ThreadPool, OneWorkerRunsFirstInFirstOut) {
    const auto pool = make_pool(1);
    std::vector<int> order;
    std::vector<std::unique_ptr<FunctionTask>> tasks;
    for (int i = 0; i < 1000; ++i) {
        tasks.push_back(std::make_unique<FunctionTask>([&order, i] { order.push_back(i); }));
        ASSERT_EQ(pool->submit(*tasks.back()), ThreadPool::SubmitResult::queued);
    }
    end(*pool);
    ASSERT_EQ(order.size(), 1000U);
    for (int i = 0; i < 1000; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(ThreadPool, SeveralSubmittersLoseNothing) {
    const auto pool = make_pool(4);
    constexpr int kEach = 5000;
    std::atomic<int> ran{0};
    std::vector<std::unique_ptr<FunctionTask>> tasks;
    for (int i = 0; i < 3 * kEach; ++i) tasks.push_back(std::make_unique<FunctionTask>([&] { ++ran; }));
    std::vector<std::thread> submitters;
    for (int part = 0; part < 3; ++part) {
        submitters.emplace_back([&, part] {
            for (int i = 0; i < kEach; ++i) pool->submit(*tasks[static_cast<std::size_t>(part * kEach + i)]);
        });
    }
    for (auto& thread : submitters) thread.join();
    end(*pool);
    EXPECT_EQ(ran.load(), 3 * kEach);
}

TEST(ThreadPool, ATaskThatBlocksHoldsBackNoOther) {
    const auto pool = make_pool(2);
    std::latch gate(1);
    std::latch ran(1);
    FunctionTask blocking([&] { gate.wait(); });
    FunctionTask other([&] { ran.count_down(); });
    pool->submit(blocking);
    pool->submit(other);
    ran.wait();
    gate.count_down();
    end(*pool);
}

TEST(ThreadPool, AQueuedTaskCanBeTakenBack) {
    const auto pool = make_pool(1);
    std::latch gate(1);
    std::latch started(1);
    bool ran = false;
    FunctionTask blocking([&] {
        started.count_down();
        gate.wait();
    });
    FunctionTask first([&] { ran = true; });
    FunctionTask second([&] { ran = true; });
    pool->submit(blocking);
    started.wait();
    pool->submit(first);
    pool->submit(second);
    EXPECT_EQ(pool->queued(), 2U);
    EXPECT_TRUE(pool->remove(first));
    EXPECT_FALSE(pool->remove(first));
    EXPECT_EQ(pool->take_all(), std::vector<Task*>{&second});
    gate.count_down();
    end(*pool);
    EXPECT_FALSE(ran);
}

TEST(ThreadPool, AClosedPoolTakesNothing) {
    const auto pool = make_pool(1);
    FunctionTask task([] {});
    pool->close();
    EXPECT_EQ(pool->submit(task), ThreadPool::SubmitResult::closed);
    EXPECT_TRUE(pool->is_closed());
    EXPECT_FALSE(pool->is_current());
}

TEST(ThreadPool, WorkersStartOnDemandAndAreUsedAgain) {
    const auto pool = make_pool(8);
    EXPECT_EQ(pool->live_workers(), 0U);
    std::vector<std::unique_ptr<FunctionTask>> tasks;  // kept: a worker may still be leaving the last one
    std::atomic<int> ran{0};
    for (int i = 1; i <= 200; ++i) {
        tasks.push_back(std::make_unique<FunctionTask>([&] {
            ++ran;
            ran.notify_one();
        }));
        pool->submit(*tasks.back());
        ran.wait(i - 1);
    }
    EXPECT_GE(pool->live_workers(), 1U);
    end(*pool);
}

TEST(ThreadPool, WorkersCanBeThereBeforeTheFirstTask) {
    const auto pool = make_pool(3);
    pool->start_workers(2);
    EXPECT_EQ(pool->live_workers(), 2U);
    pool->start_workers(2);
    EXPECT_EQ(pool->live_workers(), 2U);
    pool->start_workers(9);
    EXPECT_EQ(pool->live_workers(), 3U);
    std::atomic<int> ran{0};
    FunctionTask task([&] { ++ran; });
    EXPECT_EQ(pool->submit(task), ThreadPool::SubmitResult::queued);
    end(*pool);
    EXPECT_EQ(ran, 1);
    pool->start_workers(1);
    EXPECT_EQ(pool->live_workers(), 0U);
}

void wait_until_gone(const ThreadPool& pool) {
    while (pool.live_workers() != 0) std::this_thread::yield();
}

TEST(ThreadPool, WorkersThatMayNotLingerGoWhenNothingIsQueued) {
    const auto pool = make_pool(2);
    pool->linger(0);
    std::atomic<int> ran{0};
    FunctionTask first([&] { ++ran; });
    FunctionTask second([&] { ++ran; });
    for (int i = 1; i <= 200; ++i) {
        ASSERT_EQ(pool->submit(first), ThreadPool::SubmitResult::queued);
        ASSERT_EQ(pool->submit(second), ThreadPool::SubmitResult::queued);
        wait_until_gone(*pool);
        EXPECT_EQ(ran, 2 * i);
    }
    EXPECT_EQ(pool->start_workers(1), 1U);
    wait_until_gone(*pool);
    EXPECT_FALSE(pool->is_closed());
    end(*pool);
}

TEST(ThreadPool, ASubmitCountsOnNoWorkerThatIsAboutToGo) {
    for (const std::size_t workers : {1U, 2U}) {
        const auto pool = make_pool(workers);
        pool->linger(0);
        constexpr int kEach = 3000;
        std::atomic<int> ran{0};
        std::vector<std::unique_ptr<FunctionTask>> tasks;  // kept: a worker may still be leaving one that has run
        std::array<std::atomic<int>, 2> done{};
        for (int i = 0; i < 2 * kEach; ++i) {
            tasks.push_back(std::make_unique<FunctionTask>([&, part = static_cast<std::size_t>(i % 2)] {
                ++ran;
                ++done[part];
                done[part].notify_one();
            }));
        }
        std::vector<std::thread> submitters;
        for (int part = 0; part < 2; ++part) {
            submitters.emplace_back([&, part] {
                for (int i = 0; i < kEach; ++i) {
                    EXPECT_EQ(pool->submit(*tasks[static_cast<std::size_t>(2 * i + part)]),
                              ThreadPool::SubmitResult::queued);
                    done[static_cast<std::size_t>(part)].wait(i);
                }
            });
        }
        for (auto& thread : submitters) thread.join();
        EXPECT_EQ(ran, 2 * kEach);
        end(*pool);
    }
}

TEST(ThreadPool, AWorkerThatLingersIsUsedAgain) {
    std::atomic<int> made{0};
    const auto pool = ThreadPool::make(1, [&](std::size_t) {
        ++made;
        return std::make_unique<Driver>();
    });
    pool->linger(3'600'000'000'000);
    std::atomic<int> ran{0};
    FunctionTask task([&] {
        ++ran;
        ran.notify_one();
    });
    for (int i = 0; i < 3; ++i) {
        ASSERT_EQ(pool->submit(task), ThreadPool::SubmitResult::queued);
        ran.wait(i);
        while (pool->queued() != 0) std::this_thread::yield();
    }
    EXPECT_EQ(made, 1);
    pool->linger(0);  // for the next time that it parks
    ASSERT_EQ(pool->submit(task), ThreadPool::SubmitResult::queued);
    wait_until_gone(*pool);
    ASSERT_EQ(pool->submit(task), ThreadPool::SubmitResult::queued);
    wait_until_gone(*pool);
    EXPECT_EQ(made, 2);
    pool->linger(3'600'000'000'000);
    ASSERT_EQ(pool->submit(task), ThreadPool::SubmitResult::queued);
    ran.wait(5);
    end(*pool);  // does not wait for an hour
    EXPECT_EQ(ran, 6);
}

TEST(ThreadPool, WhatItsWorkersHaveComputedIsKeptWhenTheyAreGone) {
    const auto pool = make_pool(1);
    EXPECT_EQ(pool->computed_ns(), 0U);
    std::latch computed(1);
    std::latch gate(1);
    FunctionTask task([&] {
        const std::uint64_t until = now_ns() + 20'000'000;
        while (now_ns() < until) {
        }
        computed.count_down();
        gate.wait();
    });
    pool->submit(task);
    computed.wait();
    const std::uint64_t alive = pool->computed_ns();
    EXPECT_GT(alive, 1'000'000U);  // of 20 ms, on a busy machine
    gate.count_down();
    end(*pool);
    EXPECT_GE(pool->computed_ns(), alive);
}

// Attaches only for the first `most` times, all workers together.
class OnceDriver final : public WorkerDriver {
  public:
    OnceDriver(std::atomic<int>& made, std::atomic<int>& refusals) : refusals_(refusals) { ++made; }
    bool start() override { return true; }
    bool attach() override { return refusals_.fetch_sub(1) <= 0; }
    void run(Task& task) override { static_cast<FunctionTask&>(task).run(); }
    void between() override {}
    void detach() override {}
    void stop() override {}

  private:
    std::atomic<int>& refusals_;
};

TEST(ThreadPool, AWorkerThatCannotAttachIsReplacedAndItsTaskRunsFirst) {
    std::atomic<int> made{0};
    std::atomic<int> refusals{3};
    const auto pool = ThreadPool::make(1, [&](std::size_t) { return std::make_unique<OnceDriver>(made, refusals); });
    std::vector<int> order;
    std::vector<std::unique_ptr<FunctionTask>> tasks;
    for (int i = 0; i < 5; ++i) tasks.push_back(std::make_unique<FunctionTask>([&order, i] { order.push_back(i); }));
    for (auto& task : tasks) pool->submit(*task);
    end(*pool);
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
    EXPECT_EQ(made.load(), 4);
}

TEST(ThreadPool, AWorkerThatIsGivenUpIsNeitherWaitedForNorCounted) {
    std::vector<WorkerDriver*> drivers;
    const auto pool = ThreadPool::make(1, [&](std::size_t) {
        auto driver = std::make_unique<Driver>();
        drivers.push_back(driver.get());
        return driver;
    });
    std::latch gate(1);
    std::latch started(1);
    std::latch ran(1);
    std::latch over(1);
    FunctionTask stuck([&] {
        started.count_down();
        gate.wait();
        over.count_down();
    });
    FunctionTask next([&] { ran.count_down(); });
    pool->submit(stuck);
    started.wait();
    pool->submit(next);
    EXPECT_TRUE(pool->give_up(*drivers.front()));
    EXPECT_FALSE(pool->give_up(*drivers.front()));
    ran.wait();  // by another worker
    end(*pool);
    gate.count_down();
    over.wait();
}

// A task that waits for what other tasks of the pool, or the main thread, give, and runs what is queued meanwhile.
struct Waiting {
    explicit Waiting(std::shared_ptr<ThreadPool> its_pool) : pool(std::move(its_pool)) {}

    void run(bool choosy) {
        worker = ThreadPool::current_worker();
        begun.count_down();
        while (Task* task = pool->next_while_waiting(done, kNoDeadline, choosy))
            static_cast<FunctionTask*>(task)->run();
    }

    const std::shared_ptr<ThreadPool> pool;
    std::latch begun{1};
    std::atomic<bool> done{false};
    ThreadPool::Worker* worker = nullptr;
};

TEST(ThreadPool, AWorkerThatWaitsRunsWhatIsQueued) {
    for (int round = 0; round < 200; ++round) {
        const auto pool = make_pool(1);
        Waiting waiting(pool);
        FunctionTask outer([&] { waiting.run(false); });
        FunctionTask inner([&] { pool->end_waiting(waiting.done, waiting.worker); });
        pool->submit(outer);
        waiting.begun.wait();
        pool->submit(inner);
        end(*pool);
        EXPECT_TRUE(waiting.done);
    }
}

TEST(ThreadPool, AChoosyWorkerRunsOnlyWhatIsWanted) {
    const auto pool = make_pool(1);
    Waiting waiting(pool);
    std::vector<int> order;
    FunctionTask outer([&] { waiting.run(true); });
    FunctionTask plain([&] { order.push_back(1); });
    FunctionTask wanted([&] {
        order.push_back(2);
        pool->end_waiting(waiting.done, waiting.worker);
    });
    wanted.mark_wanted();
    pool->submit(outer);
    waiting.begun.wait();
    pool->submit(plain);
    pool->submit(wanted);
    end(*pool);
    EXPECT_EQ(order, (std::vector<int>{2, 1}));
}

TEST(ThreadPool, AWaitThatEndsLeavesWhatIsQueuedToAnother) {
    for (int round = 0; round < 200; ++round) {
        const auto pool = make_pool(2);
        Waiting first(pool);
        Waiting second(pool);
        std::atomic<int> ran{0};
        FunctionTask one([&] { first.run(false); });
        FunctionTask two([&] { second.run(false); });
        std::vector<std::unique_ptr<FunctionTask>> tasks;
        for (int i = 0; i < 20; ++i) tasks.push_back(std::make_unique<FunctionTask>([&] { ++ran; }));
        pool->submit(one);
        pool->submit(two);
        first.begun.wait();
        second.begun.wait();
        for (int i = 0; i < 10; ++i) pool->submit(*tasks[static_cast<std::size_t>(i)]);
        pool->end_waiting(first.done, first.worker);
        for (int i = 10; i < 20; ++i) pool->submit(*tasks[static_cast<std::size_t>(i)]);
        pool->end_waiting(second.done, second.worker);
        end(*pool);
        EXPECT_EQ(ran, 20);
    }
}

TEST(ThreadPool, AWaitEndsAtItsDeadline) {
    const auto pool = make_pool(1);
    std::atomic<bool> done{false};
    FunctionTask waits([&] { EXPECT_EQ(pool->next_while_waiting(done, deadline_after(1000), false), nullptr); });
    pool->submit(waits);
    end(*pool);
}

}  // namespace
}  // namespace pyferris
