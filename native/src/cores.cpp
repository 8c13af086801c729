#include "pyferris/cores.hpp"

#ifdef __linux__
#include <fcntl.h>
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

// Whether it runs there, or is about to.
bool runs_on(const Seen& seen) noexcept {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/task/%ld/stat", seen.thread);
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    char text[1024];
    const ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0) return false;
    text[length] = '\0';
    const char* at = std::strrchr(text, ')');  // the end of the second field, which may have anything in it
    if (at == nullptr || at[1] != ' ' || at[2] != 'R') return false;
    at += 2;
    for (int field = kStateField; field < kProcessorField && at != nullptr; ++field) {
        at = std::strchr(at, ' ');
        if (at != nullptr) ++at;
    }
    return at != nullptr && std::atoi(at) == seen.core;
}

}  // namespace

Seen see_this_thread() noexcept {
    static thread_local const long thread = syscall(SYS_gettid);
    return {thread, sched_getcpu()};
}

int leave_to_others(const std::vector<Seen>& others) noexcept {
    const int mine = sched_getcpu();
    const auto here = [mine](const Seen& other) { return other.core == mine && runs_on(other); };
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

#else

Seen see_this_thread() noexcept { return {0, -1}; }

int leave_to_others(const std::vector<Seen>& /*others*/) noexcept { return -1; }

#endif

}  // namespace pyferris
