#include "pyferris/fork_guard.hpp"

#ifndef _WIN32
#include <pthread.h>
#endif

#include <array>
#include <cstddef>
#include <mutex>

namespace pyferris {

#ifndef _WIN32

namespace {

struct Steps {
    ForkGuard::Step lock;
    ForkGuard::Step unlock;
};

constexpr std::size_t kMost = 8;

std::mutex mutex;  // guards all below; held through a fork
std::array<Steps, kMost> steps;
std::size_t count = 0;

void lock_all() {
    mutex.lock();
    for (std::size_t i = 0; i < count; ++i) steps[i].lock();
}

void unlock_all() {
    for (std::size_t i = count; i != 0; --i) steps[i - 1].unlock();
    mutex.unlock();
}

}  // namespace

void ForkGuard::add(Step lock, Step unlock) {
    const std::lock_guard held(mutex);
    if (count == 0) pthread_atfork(lock_all, unlock_all, unlock_all);
    if (count < kMost) steps[count++] = Steps{lock, unlock};
}

#else

void ForkGuard::add(Step /*lock*/, Step /*unlock*/) {}

#endif

}  // namespace pyferris
