// The races of a future, played through one by one: a deterministic executor runs the steps of several actors in every
// order that keeps each actor's own, and checks after each order that exactly one of them won and everybody was told
// once. Each step is one atomic operation of the state machine, so these orders are all that there are.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <vector>

#include "pyferris/future_state.hpp"

namespace pyferris {
namespace {

using Actor = std::vector<std::function<void()>>;

/// Calls `make` for a fresh world of actors, plays one order of their steps, calls `check`; for every order.
class Interleavings {
  public:
    template <class Make, class Check>
    static int play(Make make, Check check) {
        std::vector<std::size_t> order;
        int played = 0;
        std::vector<std::size_t> lengths;
        for (const Actor& actor : make()) lengths.push_back(actor.size());
        choose(lengths, order, [&] {
            std::vector<Actor> actors = make();
            std::vector<std::size_t> at(actors.size(), 0);
            for (const std::size_t who : order) actors[who][at[who]++]();
            check();
            ++played;
        });
        return played;
    }

  private:
    template <class Play>
    static void choose(std::vector<std::size_t>& left, std::vector<std::size_t>& order, const Play& play) {
        bool over = true;
        for (std::size_t who = 0; who < left.size(); ++who) {
            if (left[who] == 0) continue;
            over = false;
            --left[who];
            order.push_back(who);
            choose(left, order, play);
            order.pop_back();
            ++left[who];
        }
        if (over) play();
    }
};

using Phase = FutureState::Phase;

class Listener final : public Continuation {
  public:
    explicit Listener(Kind kind) : Continuation(kind) {}
    void notify() override { ++told; }
    int told = 0;
};

struct World {
    FutureState state;
    Listener first{Continuation::Kind::waiter};
    Listener second{Continuation::Kind::callback};
    bool claimed = false;
    bool completes = false;
    bool cancels = false;
    bool refused = false;

    void publish(Phase phase) {
        if (!state.publish(phase)) {
            refused = true;
            state.publish_observed(phase);
        }
    }
    void tell() {
        state.notify_waiters();
        state.notify_callbacks();
    }
    Actor worker() {
        return {
            [this] { claimed = state.claim(); },
            [this] { completes = claimed && state.begin_complete(); },
            [this] {
                if (completes) publish(Phase::done);
            },
            [this] {
                if (completes) tell();
            },
        };
    }
    Actor canceller() {
        return {
            [this] { cancels = state.begin_cancel(); },
            [this] {
                if (cancels) publish(Phase::notified);
            },
            [this] {
                if (cancels) tell();
            },
        };
    }
    Actor listener(Listener& who) {
        return {[this, &who] {
            if (state.add(who) == FutureState::AddResult::already_final) {
                who.notify();
            }
        }};
    }
};

TEST(Interleavings, TheExecutorPlaysEveryOrderOnce) {
    std::vector<std::vector<int>> seen;
    std::vector<int> now;
    const int played = Interleavings::play(
        [&] {
            now.clear();
            return std::vector<Actor>{{[&] { now.push_back(1); }, [&] { now.push_back(2); }},
                                      {[&] { now.push_back(3); }, [&] { now.push_back(4); }}};
        },
        [&] {
            for (const auto& other : seen) EXPECT_NE(other, now);
            seen.push_back(now);
        });
    EXPECT_EQ(played, 6);  // four steps, two of each
}

TEST(Interleavings, ClaimAndCancelHaveOneWinnerAndAllAreToldOnce) {
    std::unique_ptr<World> world;
    const int played = Interleavings::play(
        [&] {
            world = std::make_unique<World>();
            return std::vector<Actor>{world->worker(), world->canceller(), world->listener(world->first),
                                      world->listener(world->second)};
        },
        [&] {
            EXPECT_NE(world->claimed, world->cancels);
            EXPECT_EQ(world->state.phase(), world->cancels ? Phase::notified : Phase::done);
            EXPECT_EQ(world->first.told, 1);
            EXPECT_EQ(world->second.told, 1);
            EXPECT_FALSE(world->refused);
        });
    EXPECT_EQ(played, 2520);
}

TEST(Interleavings, TwoWorkersTwoCancellersOneWinner) {
    std::unique_ptr<World> world;
    int wins = 0;
    Interleavings::play(
        [&] {
            world = std::make_unique<World>();
            wins = 0;
            Actor claim{[&] { wins += world->state.claim() ? 1 : 0; }};
            Actor cancel{[&] { wins += world->state.begin_cancel() ? 1 : 0; }};
            return std::vector<Actor>{claim, cancel, claim, cancel};
        },
        [&] { EXPECT_EQ(wins, 1); });
}

TEST(Interleavings, ACompletionFromOutsideAndTheWorkersHaveOneWinner) {
    std::unique_ptr<World> world;
    int wins = 0;
    Interleavings::play(
        [&] {
            world = std::make_unique<World>();
            wins = 0;
            Actor outside{[&] { wins += world->state.begin_complete() ? 1 : 0; }};
            Actor worker = world->worker();
            Actor inside{worker[0], [&] {
                             world->completes = world->claimed && world->state.begin_complete();
                             wins += world->completes ? 1 : 0;
                         }};
            return std::vector<Actor>{outside, inside, outside};
        },
        [&] {
            EXPECT_EQ(wins, 1);
            EXPECT_EQ(world->state.phase(), Phase::completing);
        });
}

TEST(Interleavings, ACompletionIsSeenUnderTheConditionOrRefused) {
    std::unique_ptr<World> world;
    bool saw_final = false;
    Interleavings::play(
        [&] {
            world = std::make_unique<World>();
            saw_final = false;
            Actor observer{[&] { world->state.observe(); }, [&] { saw_final = world->state.is_final(); }};
            return std::vector<Actor>{world->worker(), observer};
        },
        [&] {
            // Observed before it was published: the publisher went the way of the condition. Else it was final already.
            EXPECT_TRUE(saw_final || world->refused);
            EXPECT_EQ(world->state.phase(), Phase::done);
        });
}

TEST(Interleavings, AListenerThatLeavesIsToldAtMostOnceAndNeverAfter) {
    std::unique_ptr<World> world;
    bool removed = false;
    bool added = false;
    Interleavings::play(
        [&] {
            world = std::make_unique<World>();
            removed = added = false;
            Actor leaver{
                [&] { added = world->state.add(world->first) == FutureState::AddResult::added; },
                [&] { removed = added && world->state.remove(world->first); },
            };
            return std::vector<Actor>{world->worker(), leaver};
        },
        [&] {
            EXPECT_EQ(world->first.told, added && !removed ? 1 : 0);
            EXPECT_FALSE(world->state.has_interest());
        });
}

TEST(Interleavings, ARequestToStopIsStickyWheneverItComes) {
    std::unique_ptr<World> world;
    Interleavings::play(
        [&] {
            world = std::make_unique<World>();
            Actor asker{[&] { world->state.request_stop(); }};
            return std::vector<Actor>{world->worker(), asker, world->listener(world->first)};
        },
        [&] {
            EXPECT_TRUE(world->state.stop_requested());
            EXPECT_EQ(world->state.phase(), Phase::done);  // what returns all the same delivers its result
            EXPECT_EQ(world->first.told, 1);
        });
}

}  // namespace
}  // namespace pyferris
