#include "thread_state.hpp"

#include <mutex>

#include "pyferris/fork_guard.hpp"

namespace pyferris::python {

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

}  // namespace pyferris::python
