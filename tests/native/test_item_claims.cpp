#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "pyferris/item_claims.hpp"

namespace pyferris {
namespace {

std::vector<std::uint64_t> drain(ItemClaims& claims, std::size_t lane) {
    std::vector<std::uint64_t> items;
    for (std::uint64_t item = claims.next(lane); item != ItemClaims::kNone; item = claims.next(lane)) {
        items.push_back(item);
    }
    return items;
}

using Items = std::vector<std::uint64_t>;

TEST(ItemClaims, OneItemUntilTheCostIsKnown) {
    ItemClaims claims(1, 0);
    claims.add(1'000);
    ASSERT_TRUE(claims.begin(0));
    EXPECT_EQ(drain(claims, 0), Items{0});
    claims.measured(10'000, 1);  // 10 us each: 20 of them take 200 us
    ASSERT_TRUE(claims.begin(0));
    EXPECT_EQ(drain(claims, 0).size(), 20U);
    claims.measured(1'000'000'000, 1);
    ASSERT_TRUE(claims.begin(0));
    EXPECT_EQ(drain(claims, 0), Items{21});
}

TEST(ItemClaims, WholeRunsGrowStepByStep) {
    ItemClaims claims(1, 0, true);
    claims.add(10'000);
    for (const std::size_t size : {1U, 4U, 16U, 64U}) {
        ASSERT_TRUE(claims.begin(0));
        EXPECT_EQ(drain(claims, 0).size(), size);
        claims.measured(size, size);  // a nanosecond each, so far
    }
    claims.measured(64'000'000, 64);  // a millisecond each, of late
    ASSERT_TRUE(claims.begin(0));
    EXPECT_EQ(drain(claims, 0).size(), 2U);
    claims.set_whole(false);
    claims.measured(1'000, 1);
    ASSERT_TRUE(claims.begin(0));
    EXPECT_EQ(drain(claims, 0).size(), 200U);  // of 200 us, at once
}

TEST(ItemClaims, NothingToRun) {
    ItemClaims claims(2, 0);
    EXPECT_FALSE(claims.begin(0));
    EXPECT_FALSE(claims.has_more(0));
    EXPECT_EQ(claims.next(0), ItemClaims::kNone);
    EXPECT_EQ(claims.take_one(), ItemClaims::kNone);
    claims.add(1);
    EXPECT_TRUE(claims.has_more(1));
    EXPECT_TRUE(claims.begin(1));
    EXPECT_EQ(drain(claims, 1), Items{0});
    EXPECT_FALSE(claims.has_more(1));
    EXPECT_FALSE(claims.begin(0));
}

TEST(ItemClaims, ARunThatWasBegunGoesOn) {
    ItemClaims claims(1, 0);
    claims.add(100);
    claims.measured(1'000, 1);
    ASSERT_TRUE(claims.begin(0));
    EXPECT_EQ(claims.next(0), 0U);
    ASSERT_TRUE(claims.begin(0));  // not a new one
    EXPECT_EQ(claims.next(0), 1U);
}

TEST(ItemClaims, AnIdleLaneStealsTheSecondHalf) {
    ItemClaims claims(3, 0);
    claims.add(100);
    claims.measured(1, 1);
    ASSERT_TRUE(claims.begin(0));
    EXPECT_EQ(claims.next(0), 0U);  // 99 are left
    EXPECT_TRUE(claims.has_more(1));
    ASSERT_TRUE(claims.begin(1));
    EXPECT_EQ(claims.next(1), 50U);
    ASSERT_TRUE(claims.begin(2));  // of the 49 that the first has left
    EXPECT_EQ(drain(claims, 2).front(), 25U);
    EXPECT_EQ(drain(claims, 0).back(), 24U);
    EXPECT_EQ(drain(claims, 1).back(), 99U);
}

TEST(ItemClaims, TheLastItemCanBeStolen) {
    ItemClaims claims(2, 0);
    claims.add(2);
    claims.measured(1, 1);
    ASSERT_TRUE(claims.begin(0));
    EXPECT_EQ(claims.next(0), 0U);
    ASSERT_TRUE(claims.begin(1));
    EXPECT_EQ(drain(claims, 1), Items{1});
    EXPECT_EQ(claims.next(0), ItemClaims::kNone);
}

TEST(ItemClaims, SomebodyWithoutALaneTakesNewItemsFirstThenTheEndsOfRuns) {
    ItemClaims claims(1, 0);
    claims.add(4);
    claims.measured(ItemClaims::kLongestRunNs / 3, 1);
    ASSERT_TRUE(claims.begin(0));
    EXPECT_EQ(claims.take_one(), 3U);
    EXPECT_EQ(claims.take_one(), 2U);
    EXPECT_EQ(claims.next(0), 0U);
    EXPECT_EQ(claims.take_one(), 1U);
    EXPECT_EQ(claims.take_one(), ItemClaims::kNone);
    EXPECT_EQ(claims.next(0), ItemClaims::kNone);
}

TEST(ItemClaims, ExactRunsAreWholeAndNotStolen) {
    ItemClaims claims(2, 4);
    claims.add(6);
    ASSERT_TRUE(claims.begin(0));
    claims.measured(1, 1);
    EXPECT_EQ(claims.next(0), 0U);
    ASSERT_TRUE(claims.begin(1));
    EXPECT_EQ(drain(claims, 1), (Items{4, 5}));
    EXPECT_FALSE(claims.begin(1));
    EXPECT_FALSE(claims.has_more(1));
    EXPECT_EQ(claims.take_one(), ItemClaims::kNone);
    EXPECT_EQ(drain(claims, 0), (Items{1, 2, 3}));
}

TEST(ItemClaims, TheClockIsLookedAtOftenWhereItemsAreDear) {
    ItemClaims claims(1, 0);
    EXPECT_EQ(claims.stride(), 1U);
    claims.measured(50, 1);
    EXPECT_EQ(claims.stride(), 64U);
    claims.measured(900, 1);
    EXPECT_EQ(claims.stride(), 27U);
    claims.measured(5'000, 1);
    EXPECT_EQ(claims.stride(), 5U);
    claims.measured(20'000, 1);
    EXPECT_EQ(claims.stride(), 1U);
    claims.measured(50'000, 1);
    EXPECT_EQ(claims.stride(), 1U);
}

TEST(ItemClaims, ThereMayBeFewerItemsAfterAll) {
    ItemClaims claims(2, 0, false, ItemClaims::Calls::take_turns);
    claims.add(10);
    EXPECT_EQ(claims.next(0), 0U);
    EXPECT_EQ(claims.next(1), 1U);
    EXPECT_EQ(claims.claimed(), 2U);
    claims.limit(3);
    EXPECT_EQ(claims.next(1), 2U);
    EXPECT_EQ(claims.next(0), ItemClaims::kNone);
    EXPECT_FALSE(claims.has_more(0));
    EXPECT_FALSE(claims.begin(1));
    claims.limit(2);  // one that was claimed is none
    EXPECT_FALSE(claims.begin(0));
    EXPECT_EQ(claims.take_one(), ItemClaims::kNone);
}

TEST(ItemClaims, IndexesGoOnBeyondThirtyTwoBits) {
    // Half a billion items at a time are claimed; of each run the first is taken and the rest given up.
    constexpr std::uint32_t kSize = 1U << 29;
    ItemClaims claims(1, kSize);
    for (std::uint64_t first = 0; first < 10ULL * kSize; first += kSize) {
        claims.add(kSize);
        ASSERT_TRUE(claims.begin(0));
        ASSERT_EQ(claims.next(0), first);
        claims.give_up(0);
    }
    EXPECT_FALSE(claims.has_more(0));
}

// Lanes and one without a lane at once: each item exactly once.
TEST(ItemClaims, EachItemExactlyOnceUnderContention) {
    constexpr std::uint64_t kItems = 200'000;
    constexpr std::size_t kLanes = 3;
    for (const std::uint32_t exact : {0U, 7U}) {
        ItemClaims claims(kLanes, exact);
        std::vector<std::atomic<int>> ran(kItems);
        std::atomic<std::uint64_t> count{0};
        const auto run = [&](std::uint64_t item) {
            ran[item].fetch_add(1);
            count.fetch_add(1);
        };
        std::vector<std::thread> threads;
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
            threads.emplace_back([&, lane] {
                while (count.load() < kItems) {
                    if (!claims.begin(lane)) continue;
                    std::uint64_t taken = 0;
                    for (std::uint64_t item = claims.next(lane); item != ItemClaims::kNone; item = claims.next(lane)) {
                        run(item);
                        if (++taken % 97 == 0) break;  // leaves the rest of its run to be stolen
                    }
                    claims.measured(100 * taken, taken);
                }
            });
        }
        threads.emplace_back([&] {
            while (count.load() < kItems) {
                const std::uint64_t item = claims.take_one();
                if (item != ItemClaims::kNone) run(item);
            }
        });
        for (std::uint64_t added = 0; added < kItems; added += 1'000) claims.add(1'000);
        for (auto& thread : threads) thread.join();
        for (std::uint64_t item = 0; item < kItems; ++item) ASSERT_EQ(ran[item].load(), 1) << item;
    }
}

TEST(ItemClaims, LanesThatTakeTurnsClaimOneByOneInOrder) {
    ItemClaims claims(2, 0, false, ItemClaims::Calls::take_turns);
    claims.add(6);
    claims.measured(100, 1);
    ASSERT_TRUE(claims.begin(0));
    ASSERT_TRUE(claims.begin(1));
    EXPECT_EQ(claims.next(0), 0U);
    EXPECT_EQ(claims.next(1), 1U);
    EXPECT_EQ(claims.next(1), 2U);  // whatever keeps the other lane, nothing is held back by it
    EXPECT_EQ(claims.take_one(), 3U);
    EXPECT_EQ(claims.next(0), 4U);
    EXPECT_EQ(claims.next(1), 5U);
    EXPECT_EQ(claims.next(0), ItemClaims::kNone);
    EXPECT_FALSE(claims.begin(1));
    EXPECT_FALSE(claims.has_more(0));
}

// What was claimed as a whole run is left to its lane, or stolen, when items are claimed one by one again.
TEST(ItemClaims, WhatIsLeftOfAWholeRunIsNotForgotten) {
    ItemClaims claims(2, 0, true, ItemClaims::Calls::take_turns);
    claims.add(4);
    claims.measured(1'000, 3);
    ASSERT_TRUE(claims.begin(0));
    claims.set_whole(false);
    EXPECT_EQ(claims.next(1), ItemClaims::kNone);
    EXPECT_TRUE(claims.has_more(1));
    ASSERT_TRUE(claims.begin(1));
    EXPECT_EQ(claims.next(1), 2U);
    EXPECT_EQ(drain(claims, 0), (std::vector<std::uint64_t>{0, 1}));
    EXPECT_EQ(claims.next(1), 3U);
    EXPECT_FALSE(claims.has_more(0));
}

// The same where whoever calls holds one lock: without it, a theft while a lane takes its next item could go unseen.
TEST(ItemClaims, CallsThatTakeTurnsAreExactlyOnceToo) {
    constexpr std::uint64_t kItems = 50'000;
    constexpr std::size_t kLanes = 3;
    ItemClaims claims(kLanes, 0, false, ItemClaims::Calls::take_turns);
    std::mutex turns;
    std::vector<int> ran(kItems);
    std::uint64_t count = 0;
    claims.add(kItems);
    claims.measured(100, 1);
    std::vector<std::thread> threads;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
        threads.emplace_back([&, lane] {
            for (bool more = true; more;) {
                std::unique_lock lock(turns);
                more = count < kItems;
                if (!claims.begin(lane)) continue;
                std::uint64_t taken = 0;
                for (std::uint64_t item = claims.next(lane); item != ItemClaims::kNone; item = claims.next(lane)) {
                    ++ran[item];
                    ++count;
                    if (++taken % 97 == 0) break;
                    if (taken % 31 == 0) {  // as an item that lets others compute
                        lock.unlock();
                        std::this_thread::yield();
                        lock.lock();
                    }
                }
            }
        });
    }
    for (auto& thread : threads) thread.join();
    for (std::uint64_t item = 0; item < kItems; ++item) ASSERT_EQ(ran[item], 1) << item;
}

TEST(ItemClaims, ARunCanBeTakenWhole) {
    ItemClaims claims(2, 5);
    claims.add(7);
    std::uint64_t first = 0;
    EXPECT_EQ(claims.take_run(0, &first), 0U);  // none was begun
    ASSERT_TRUE(claims.begin(0));
    EXPECT_EQ(claims.take_run(0, &first), 5U);
    EXPECT_EQ(first, 0U);
    EXPECT_EQ(claims.next(0), ItemClaims::kNone);
    EXPECT_EQ(claims.take_run(0, &first), 0U);
    ASSERT_TRUE(claims.begin(1));
    EXPECT_EQ(claims.next(1), 5U);
    EXPECT_EQ(claims.take_run(1, &first), 1U);
    EXPECT_EQ(first, 6U);
    EXPECT_FALSE(claims.has_more(0));
}

}  // namespace
}  // namespace pyferris
