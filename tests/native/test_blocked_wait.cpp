#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <thread>

#include "pyferris/wait_queue.hpp"

namespace pyferris {
namespace {

class Wait final : public BlockedWait {
  public:
    explicit Wait(int& forgotten) : forgotten_(forgotten) {}

  private:
    void forget() noexcept override { ++forgotten_; }
    int& forgotten_;
};

// What `child` returns in a forked child; the hooks of the fork are called, as the interpreter's.
template <class Child>
int in_child(Child child) {
    BlockedWait::lock_all();
    const pid_t process = fork();
    BlockedWait::unlock_all();
    if (process == 0) {
        BlockedWait::forget_lost_threads();
        _exit(child());
    }
    int status = 0;
    waitpid(process, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// A thread that runs `body`, which calls its argument when it is where it shall be, and goes on when the test ends.
class Blocked {
  public:
    template <class Body>
    explicit Blocked(Body body)
        : thread_([this, body] {
              body([this] {
                  there_.unpark();
                  over_.park(kNoDeadline);
              });
          }) {
        there_.park(kNoDeadline);
    }
    ~Blocked() {
        over_.unpark();
        thread_.join();
    }
    Blocked(const Blocked&) = delete;
    Blocked& operator=(const Blocked&) = delete;

  private:
    NativeParker there_;
    NativeParker over_;
    std::thread thread_;
};

TEST(BlockedWait, AChildForgetsTheWaitsOfThreadsThatItDoesNotHave) {
    int lost = 0;
    int kept = 0;
    const Wait mine(kept);
    const Blocked other([&](auto here) {
        const Wait outer(lost);
        const Wait inner(lost);
        here();
    });
    EXPECT_EQ(in_child([&] { return 10 * lost + kept; }), 20);
    EXPECT_EQ(lost + kept, 0);  // not in the parent
}

TEST(BlockedWait, AWaitThatHasEndedIsNotForgotten) {
    int lost = 0;
    const Blocked other([&](auto here) {
        auto first = std::make_unique<Wait>(lost);
        const Wait second(lost);
        auto third = std::make_unique<Wait>(lost);
        first.reset();
        third.reset();
        here();
    });
    std::thread([&] { const Wait wait(lost); }).join();
    EXPECT_EQ(in_child([&] { return lost; }), 1);
}

TEST(BlockedWait, AChildForgetsThemOnce) {
    int lost = 0;
    const Blocked other([&](auto here) {
        const Wait wait(lost);
        here();
    });
    EXPECT_EQ(in_child([&] { return 10 * in_child([&] { return lost; }) + lost; }), 11);
}

TEST(BlockedWait, AWakeUpInTheChildGoesToAThreadThatIsThere) {
    WaitQueue queue;
    NativeParker mine;
    WaitQueue::Node last(mine);
    const auto wait = [&](auto here) {
        NativeParker parker;
        WaitQueue::Node node(parker);
        queue.add(node);
        here();
        queue.remove(node);
    };
    const Blocked first(wait);
    const Blocked second(wait);
    queue.add(last);
    EXPECT_EQ(in_child([&] { return queue.take_one() == &last && queue.empty() ? 0 : 1; }), 0);
    EXPECT_NE(queue.take_one(), &last);
}

}  // namespace
}  // namespace pyferris
