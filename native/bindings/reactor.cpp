#include "reactor.hpp"

#include <atomic>
#include <mutex>
#include <unordered_map>

#include "loop_bridge.hpp"
#include "module_state.hpp"
#include "pyferris/reactor.hpp"
#include "thread_state.hpp"

namespace pyferris::python {

namespace {

struct Shared {
    std::mutex mutex;  // guards all below; never held while attaching
    std::unique_ptr<Reactor> reactor;
    std::uint64_t next = 0;
    std::unordered_map<std::uint64_t, PyObject*> loops;  // number -> what reactor_wake takes; strong
    PyInterpreterState* interpreter = nullptr;
    PyThreadState* thread_state = nullptr;  // the reactor thread's only
};

Shared& shared() {
    static auto* const instance = new Shared();
    return *instance;
}

// On the reactor's thread. No destructor of ours on this frame: attaching may never return.
void wake_loops(const std::vector<std::uint64_t>& numbers) {
    Shared& all = shared();
    if (all.thread_state == nullptr) all.thread_state = new_thread_state(all.interpreter);
    PyEval_RestoreThread(all.thread_state);
    for (const std::uint64_t number : numbers) {
        PyObject* reference = nullptr;
        all.mutex.lock();
        const auto found = all.loops.find(number);
        if (found != all.loops.end()) reference = Py_NewRef(found->second);
        all.mutex.unlock();
        if (reference == nullptr) continue;
        PyObject* alive = PyObject_CallOneArg(module_state().reactor_wake, reference);
        if (alive == nullptr) PyErr_WriteUnraisable(reference);
        Py_XDECREF(alive);
        Py_DECREF(reference);
    }
    PyEval_SaveThread();
}

class ReactorWaker final : public LoopWaker {
  public:
    explicit ReactorWaker(std::uint64_t number) : number_(number) {}
    ReactorWaker(const ReactorWaker&) = delete;
    ReactorWaker& operator=(const ReactorWaker&) = delete;
    ~ReactorWaker() {  // attached: from the bridge's close, or the last awaiter
        Shared& all = shared();
        PyObject* reference = nullptr;
        {
            const std::lock_guard lock(all.mutex);
            const auto found = all.loops.find(number_);
            if (found == all.loops.end()) return;
            reference = found->second;
            all.loops.erase(found);
        }
        if (may_drop()) Py_DECREF(reference);
    }
    void wake() noexcept override {
        Shared& all = shared();
        const std::lock_guard lock(all.mutex);
        if (all.reactor != nullptr) all.reactor->post(number_);
    }

  private:
    const std::uint64_t number_;
};

}  // namespace

std::shared_ptr<LoopWaker> connect_to_reactor(PyObject* loop, PyObject* drain) {
    PyObject* reference = PyObject_CallFunctionObjArgs(module_state().reactor_connect, loop, drain, nullptr);
    if (reference == nullptr) return nullptr;
    Shared& all = shared();
    const std::lock_guard lock(all.mutex);
    if (all.reactor == nullptr) {
        all.interpreter = PyInterpreterState_Get();
        all.reactor = std::make_unique<Reactor>(wake_loops);
    }
    const std::uint64_t number = all.next++;
    all.loops.emplace(number, reference);
    return std::make_shared<ReactorWaker>(number);
}

void stop_reactor() {
    Shared& all = shared();
    std::unique_ptr<Reactor> reactor;
    {
        const std::lock_guard lock(all.mutex);
        reactor = std::move(all.reactor);
    }
    if (reactor == nullptr) return;
    PyThreadState* self = PyEval_SaveThread();  // the reactor may be waiting for the GIL
    reactor.reset();
    PyEval_RestoreThread(self);
    if (PyThreadState* state = std::exchange(all.thread_state, nullptr)) {
        PyThreadState_Clear(state);
        PyThreadState_Delete(state);
    }
}

}  // namespace pyferris::python
