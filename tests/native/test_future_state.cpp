#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "pyferris/future_state.hpp"

namespace pyferris {
namespace {

using Phase = FutureState::Phase;

class Recorder final : public Continuation {
  public:
    Recorder(Kind kind, std::string name, std::vector<std::string>& heard)
        : Continuation(kind), name_(std::move(name)), heard_(heard) {}
    void notify() override { heard_.push_back(name_); }
    void stop_requested() noexcept override { heard_.push_back("stop " + name_); }

  private:
    const std::string name_;
    std::vector<std::string>& heard_;
};

TEST(FutureState, RunsThroughItsPhases) {
    FutureState state;
    EXPECT_EQ(state.phase(), Phase::pending);
    EXPECT_TRUE(state.claim());
    EXPECT_FALSE(state.claim());
    EXPECT_FALSE(state.begin_cancel());
    EXPECT_TRUE(state.begin_complete());
    EXPECT_FALSE(state.begin_complete());
    EXPECT_FALSE(state.is_final());
    EXPECT_TRUE(state.publish(Phase::done));
    EXPECT_TRUE(state.is_final());
    EXPECT_FALSE(state.is_cancelled());
}

TEST(FutureState, CancelledOnceAndNotifiedOnce) {
    FutureState state;
    EXPECT_TRUE(state.begin_cancel());
    EXPECT_FALSE(state.claim());
    EXPECT_TRUE(state.publish(Phase::cancelled));
    EXPECT_TRUE(state.notify_cancel());
    EXPECT_FALSE(state.notify_cancel());
    EXPECT_EQ(state.phase(), Phase::notified);
}

TEST(FutureState, RefusesToPublishPastAnObserver) {
    FutureState state;
    ASSERT_TRUE(state.begin_complete());
    state.observe();
    EXPECT_FALSE(state.publish(Phase::done));
    EXPECT_FALSE(state.is_final());
    state.publish_observed(Phase::done);
    EXPECT_TRUE(state.is_final());
}

TEST(FutureState, NotifiesWaitersBeforeCallbacksInOrder) {
    FutureState state;
    std::vector<std::string> heard;
    Recorder callback(Continuation::Kind::callback, "callback", heard);
    Recorder first(Continuation::Kind::waiter, "first", heard);
    Recorder second(Continuation::Kind::waiter, "second", heard);
    Recorder gone(Continuation::Kind::waiter, "gone", heard);
    for (Recorder* each : {&callback, &first, &gone, &second}) {
        EXPECT_EQ(state.add(*each), FutureState::AddResult::added);
    }
    EXPECT_TRUE(state.remove(gone));
    EXPECT_FALSE(state.remove(gone));
    ASSERT_TRUE(state.begin_complete() && state.publish(Phase::done));
    EXPECT_TRUE(state.notify_waiters());
    state.notify_callbacks();
    EXPECT_EQ(heard, (std::vector<std::string>{"first", "second", "callback"}));
    EXPECT_EQ(state.add(gone), FutureState::AddResult::already_final);
    EXPECT_FALSE(state.has_interest());
}

TEST(FutureState, TellsStoppersAndCountsThemAsNoInterest) {
    FutureState state;
    std::vector<std::string> heard;
    Recorder sleeper(Continuation::Kind::stopper, "sleeper", heard);
    ASSERT_EQ(state.add(sleeper), FutureState::AddResult::added);
    EXPECT_FALSE(state.has_interest());
    state.request_stop();
    EXPECT_TRUE(state.stop_requested());
    EXPECT_EQ(heard, std::vector<std::string>{"stop sleeper"});
    EXPECT_TRUE(state.remove(sleeper));
}

TEST(FutureState, ClaimCancelAndCompleteHaveOneWinner) {
    for (int round = 0; round < 2000; ++round) {
        FutureState state;
        std::atomic<int> cancelled{0};
        std::atomic<int> completed{0};
        std::latch start(3);
        std::thread canceller([&] {
            start.arrive_and_wait();
            if (state.begin_cancel() && state.publish(Phase::cancelled)) ++cancelled;
        });
        std::thread worker([&] {
            start.arrive_and_wait();
            if (state.claim() && state.begin_complete() && state.publish(Phase::done)) ++completed;
        });
        start.arrive_and_wait();
        canceller.join();
        worker.join();
        EXPECT_EQ(cancelled + completed, 1);
        EXPECT_EQ(state.is_cancelled(), cancelled == 1);
    }
}

class Counting final : public Continuation {
  public:
    explicit Counting(std::atomic<int>& count) : Continuation(Kind::waiter), count_(count) {}
    void notify() override { ++count_; }

  private:
    std::atomic<int>& count_;
};

TEST(FutureState, AWaiterIsNotifiedOrRemovedOrToldAtOnce) {
    for (int round = 0; round < 2000; ++round) {
        FutureState state;
        std::atomic<int> notified{0};
        Counting waiter(notified);
        std::latch start(2);
        std::thread completer([&] {
            start.arrive_and_wait();
            if (state.begin_complete() && state.publish(Phase::done)) state.notify_waiters();
        });
        start.arrive_and_wait();
        const bool added = state.add(waiter) == FutureState::AddResult::added;
        const bool removed = added && state.remove(waiter);
        completer.join();
        EXPECT_EQ(notified.load(), added && !removed ? 1 : 0);
    }
}

}  // namespace
}  // namespace pyferris
