#include "pyferris/cores.hpp"

#ifdef __linux__
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#endif

namespace pyferris {

#ifdef __linux__

namespace {

constexpr int kProcessorField = 39;  // of a thread's line in /proc, see proc(5)
constexpr int kStateField = 3;

// Where a thread runs, or is about to; -1 where it does not, or cannot be told.
int core_of(long thread) noexcept {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/task/%ld/stat", thread);
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return -1;
    char text[1024];
    const ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0) return -1;
    text[length] = '\0';
    const char* at = std::strrchr(text, ')');  // the end of the second field, which may have anything in it
    if (at == nullptr || at[1] != ' ' || at[2] != 'R') return -1;
    at += 2;
    for (int field = kStateField; field < kProcessorField && at != nullptr; ++field) {
        at = std::strchr(at, ' ');
        if (at != nullptr) ++at;
    }
    return at != nullptr ? std::atoi(at) : -1;
}

// Moves a thread to one of the cores that it may use and that is not `taken`, and takes that.
void move_apart(pthread_t thread, cpu_set_t* taken) noexcept {
    cpu_set_t allowed;
    if (pthread_getaffinity_np(thread, sizeof allowed, &allowed) != 0) return;
    for (std::size_t core = 0; core < CPU_SETSIZE; ++core) {
        if (!CPU_ISSET(core, &allowed) || CPU_ISSET(core, taken)) continue;
        cpu_set_t only;
        CPU_ZERO(&only);
        CPU_SET(core, &only);
        if (pthread_setaffinity_np(thread, sizeof only, &only) != 0) continue;
        pthread_setaffinity_np(thread, sizeof allowed, &allowed);
        CPU_SET(core, taken);
        return;
    }
}

}  // namespace

Seen see_this_thread() noexcept {
    static thread_local const long thread = syscall(SYS_gettid);
    return {thread, sched_getcpu()};
}

int leave_to_others(const std::vector<Seen>& others) noexcept {
    const int mine = sched_getcpu();
    const auto here = [mine](const Seen& other) { return other.core == mine && core_of(other.thread) == mine; };
    if (mine < 0 || std::none_of(others.begin(), others.end(), here)) return mine;
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return mine;  // also where a machine has more than fit in
    cpu_set_t free = allowed;
    for (const Seen& other : others) {
        if (other.core >= 0 && other.core < CPU_SETSIZE) CPU_CLR(static_cast<std::size_t>(other.core), &free);
    }
    if (CPU_COUNT(&free) == 0 || sched_setaffinity(0, sizeof free, &free) != 0) return mine;
    cpu_set_t now;
    if (sched_getaffinity(0, sizeof now, &now) == 0 && CPU_EQUAL(&now, &free)) {  // else somebody has changed it
        sched_setaffinity(0, sizeof allowed, &allowed);
    }
    return sched_getcpu();
}

void spread(const std::vector<Runner>& runners) noexcept {
    cpu_set_t taken;
    CPU_ZERO(&taken);
    std::vector<pthread_t> close;
    for (const bool movable : {false, true}) {
        for (const Runner& runner : runners) {
            if (runner.may_be_moved != movable) continue;
            const int core = runner.number == 0 ? -1 : core_of(runner.number);
            if (core >= CPU_SETSIZE) return;
            const bool shares = core >= 0 && CPU_ISSET(static_cast<std::size_t>(core), &taken);
            if (movable && (shares || runner.number == 0)) close.push_back(runner.thread);
            if (core >= 0) CPU_SET(static_cast<std::size_t>(core), &taken);
        }
    }
    for (const pthread_t thread : close) move_apart(thread, &taken);
}

#else

void spread(const std::vector<Runner>& /*runners*/) noexcept {}

Seen see_this_thread() noexcept { return {0, -1}; }

int leave_to_others(const std::vector<Seen>& /*others*/) noexcept { return -1; }

#endif

}  // namespace pyferris
