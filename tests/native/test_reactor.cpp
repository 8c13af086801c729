#include <gtest/gtest.h>

#include <algorithm>
#include <latch>
#include <thread>

#include "pyferris/reactor.hpp"

namespace pyferris {
namespace {

TEST(Reactor, HandsOverWhatWasPostedEachNumberOnceABatch) {
    std::vector<std::uint64_t> handled;  // the reactor's thread only, until it is joined
    std::latch busy(1);
    std::latch go_on(1);
    std::latch done(1);
    {
        Reactor reactor([&](const std::vector<std::uint64_t>& posted) {
            handled.insert(handled.end(), posted.begin(), posted.end());
            if (handled.size() == 1) {
                busy.count_down();
                go_on.wait();
            } else {
                done.count_down();
            }
        });
        reactor.post(7);
        busy.wait();
        for (const std::uint64_t number : {1, 2, 1, 2}) reactor.post(number);  // while it handles the first
        go_on.count_down();
        done.wait();
    }
    EXPECT_EQ(handled, (std::vector<std::uint64_t>{7, 1, 2}));
}

TEST(Reactor, LosesNoPostOfManyThreads) {
    constexpr std::uint64_t kThreads = 4;
    constexpr std::uint64_t kEach = 200;
    std::vector<std::uint64_t> handled;
    std::latch all(kThreads * kEach);
    {
        Reactor reactor([&](const std::vector<std::uint64_t>& posted) {
            handled.insert(handled.end(), posted.begin(), posted.end());
            all.count_down(static_cast<std::ptrdiff_t>(posted.size()));
        });
        std::vector<std::thread> threads;
        for (std::uint64_t t = 0; t < kThreads; ++t) {
            threads.emplace_back([&, t] {
                for (std::uint64_t i = 0; i < kEach; ++i) reactor.post(t * kEach + i);
            });
        }
        for (auto& thread : threads) thread.join();
        all.wait();
    }
    std::sort(handled.begin(), handled.end());
    ASSERT_EQ(handled.size(), kThreads * kEach);
    for (std::uint64_t i = 0; i < handled.size(); ++i) EXPECT_EQ(handled[i], i);
}

TEST(Reactor, StopsWithoutAPost) {
    Reactor reactor([](const std::vector<std::uint64_t>&) { FAIL(); });
}

}  // namespace
}  // namespace pyferris
