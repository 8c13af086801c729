#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "pyferris/parker.hpp"

namespace pyferris {
namespace {

TEST(Parker, ATokenLeftBeforeIsTakenAtOnce) {
    NativeParker parker;
    parker.unpark();
    EXPECT_EQ(parker.park(kNoDeadline), ParkResult::woken);
}

TEST(Parker, TokensDoNotAddUp) {
    NativeParker parker;
    parker.unpark();
    parker.unpark();
    EXPECT_EQ(parker.park(kNoDeadline), ParkResult::woken);
    EXPECT_EQ(parker.park(now_ns()), ParkResult::timed_out);
}

TEST(Parker, TheDeadlineEndsTheWaitAndNotBefore) {
    NativeParker parker;
    const Deadline deadline = deadline_after(2'000'000);
    EXPECT_EQ(parker.park(deadline), ParkResult::timed_out);
    EXPECT_GE(now_ns(), deadline);
    parker.unpark();  // it can be used again
    EXPECT_EQ(parker.park(now_ns()), ParkResult::woken);
}

TEST(Parker, NoWakeUpIsLost) {
    NativeParker ping;
    NativeParker pong;
    constexpr int kRounds = 10'000;
    std::thread other([&] {
        for (int i = 0; i < kRounds; ++i) {
            ASSERT_EQ(ping.park(kNoDeadline), ParkResult::woken);
            pong.unpark();
        }
    });
    for (int i = 0; i < kRounds; ++i) {
        ping.unpark();
        ASSERT_EQ(pong.park(kNoDeadline), ParkResult::woken);
    }
    other.join();
}

TEST(Parker, TheOwnerMayGoAsSoonAsItHasItsToken) {
    for (int i = 0; i < 2'000; ++i) {
        auto parker = std::make_unique<NativeParker>();
        std::thread waker([&target = *parker] { target.unpark(); });
        EXPECT_EQ(parker->park(kNoDeadline), ParkResult::woken);
        parker.reset();
        waker.join();
    }
}

class Recorder final : public Parker {
  public:
    Recorder(std::vector<int>& log, int number) : log_(log), number_(number) {}
    ParkResult park(Deadline /*deadline*/) override { return ParkResult::timed_out; }
    void unpark() noexcept override { log_.push_back(number_); }

  private:
    std::vector<int>& log_;
    const int number_;
};

TEST(WakeBatch, WithoutABatchAWakeUpHappensAtOnce) {
    std::vector<int> log;
    Recorder parker(log, 1);
    WakeBatch::wake(parker);
    EXPECT_EQ(log, std::vector<int>{1});
}

TEST(WakeBatch, CollectedWakeUpsHappenInOrderAndOnce) {
    std::vector<int> log;
    Recorder first(log, 1);
    Recorder second(log, 2);
    WakeBatch batch;
    EXPECT_TRUE(batch.empty());
    batch.enter();
    EXPECT_TRUE(batch.is_current());
    WakeBatch::wake(first);
    WakeBatch::wake(second);
    batch.leave();
    EXPECT_FALSE(batch.is_current());
    EXPECT_TRUE(log.empty());
    EXPECT_FALSE(batch.empty());
    batch.flush();
    EXPECT_EQ(log, (std::vector<int>{1, 2}));
    batch.flush();
    EXPECT_EQ(log.size(), 2U);
    EXPECT_TRUE(batch.empty());
    batch.enter();  // the same parker again
    WakeBatch::wake(first);
    batch.leave();
    batch.flush();
    EXPECT_EQ(log, (std::vector<int>{1, 2, 1}));
}

TEST(WakeBatch, ABatchIsItsThreadsOwn) {
    std::vector<int> log;
    Recorder parker(log, 1);
    WakeBatch batch;
    batch.enter();
    std::thread([&] {
        EXPECT_FALSE(batch.is_current());
        WakeBatch::wake(parker);
    }).join();
    batch.leave();
    EXPECT_EQ(log.size(), 1U);
    EXPECT_TRUE(batch.empty());
}

TEST(WakeBatch, AParkerMayGoAsSoonAsItIsWoken) {
    WakeBatch batch;
    std::vector<std::thread> threads;
    constexpr int kThreads = 4;
    std::vector<std::unique_ptr<NativeParker>> parkers;
    for (int i = 0; i < kThreads; ++i) parkers.push_back(std::make_unique<NativeParker>());
    for (auto& parker : parkers) {
        threads.emplace_back([&parker] {
            EXPECT_EQ(parker->park(kNoDeadline), ParkResult::woken);
            parker.reset();
        });
    }
    batch.enter();
    std::vector<Parker*> all;
    for (auto& parker : parkers) all.push_back(parker.get());
    for (Parker* parker : all) WakeBatch::wake(*parker);
    batch.leave();
    batch.flush();
    for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace pyferris
