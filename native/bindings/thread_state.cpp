#include "thread_state.hpp"

#if PY_VERSION_HEX < 0x030C0000
#include <mutex>

#include "pyferris/fork_guard.hpp"
#endif

namespace pyferris::python {

// 3.12 makes the runtime's lock anew in the child before it needs it. 3.13 takes it before it forks: a mutex of ours
// that is taken inside fork() must not be held while a thread waits for it.
#if PY_VERSION_HEX < 0x030C0000

namespace {

std::mutex& making() {
    static auto* const mutex = new std::mutex();  // threads may outlive static destruction
    return *mutex;
}

}  // namespace

PyThreadState* new_thread_state(PyInterpreterState* interpreter) {
    static std::once_flag guarded;
    std::call_once(guarded, [] { ForkGuard::add([] { making().lock(); }, [] { making().unlock(); }); });
    const std::lock_guard lock(making());
    return PyThreadState_New(interpreter);
}

#else

PyThreadState* new_thread_state(PyInterpreterState* interpreter) { return PyThreadState_New(interpreter); }

#endif

}  // namespace pyferris::python
