#include "notifier.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>

#include "isolated_call.hpp"
#include "pyferris/fork_guard.hpp"
#include "pyferris/native_thread.hpp"

namespace pyferris::python::notifier {

namespace {

constexpr std::chrono::milliseconds kDropAfter{20};  // references wait for so long for another thread to drop them

struct State {
    std::mutex mutex;  // guards all below
    std::condition_variable wake;
    std::deque<std::function<void()>> jobs;
    PyInterpreterState* interpreter = nullptr;
    NativeThread thread;
    bool started = false;
    bool stopping = false;
    bool stopped = false;
    bool drop_due = false;  // references wait

    std::atomic<FutureObject*> finished{nullptr};  // a stack, linked through the calls
    std::atomic<bool> armed{false};                // the thread knows that references wait
};

State* instance = new State();  // never destroyed: workers may outlive static destruction

State& state() { return *instance; }

// No destructor on this frame when it attaches: it may never come back from that.
void run(void* /*unused*/) {
    State& self = state();
    PyThreadState* thread_state = PyThreadState_New(self.interpreter);
    for (;;) {
        std::function<void()>* job = nullptr;
        bool drop = false;
        bool over = false;
        {
            std::unique_lock lock(self.mutex);
            self.wake.wait(lock, [&self] { return !self.jobs.empty() || self.stopping || self.drop_due; });
            if (self.jobs.empty() && !self.stopping) {
                self.wake.wait_for(lock, kDropAfter, [&self] { return !self.jobs.empty() || self.stopping; });
            }
            if (!self.jobs.empty()) {
                job = new std::function<void()>(std::move(self.jobs.front()));
                self.jobs.pop_front();
            }
            drop = self.drop_due;
            self.drop_due = false;
            over = job == nullptr && self.stopping;
        }
        PyEval_RestoreThread(thread_state);
        if (drop) {
            self.armed.store(false);
            drop_finished();
        }
        if (job != nullptr) {
            (*job)();
            if (PyErr_Occurred() != nullptr) PyErr_WriteUnraisable(nullptr);
            delete job;
        }
        if (over) {
            drop_finished();
            PyThreadState_Clear(thread_state);
            PyThreadState_DeleteCurrent();
            return;
        }
        PyEval_SaveThread();
    }
}

// The mutex is held.
bool start(State& self) {
    if (self.started) return true;
    if (self.stopped || self.interpreter == nullptr) return false;
    self.started = self.thread.start(run, nullptr);
    return self.started;
}

}  // namespace

void prepare() {
    static std::once_flag guarded;
    std::call_once(guarded, [] { ForkGuard::add([] { instance->mutex.lock(); }, [] { instance->mutex.unlock(); }); });
    State& self = state();
    const std::lock_guard lock(self.mutex);
    if (self.interpreter == nullptr) self.interpreter = PyInterpreterState_Get();
}

void post(std::function<void()> job) {
    State& self = state();
    {
        const std::lock_guard lock(self.mutex);
        if (!start(self)) return;
        self.jobs.push_back(std::move(job));
    }
    self.wake.notify_one();
}

void let_go(FutureObject* future) {
    State& self = state();
    FutureObject* head = self.finished.load(std::memory_order_relaxed);
    do {
        future->isolated->next_finished = head;
    } while (!self.finished.compare_exchange_weak(head, future, std::memory_order_release, std::memory_order_relaxed));
    if (self.armed.load(std::memory_order_relaxed) || self.armed.exchange(true)) return;
    {
        const std::lock_guard lock(self.mutex);
        self.drop_due = start(self);
    }
    self.wake.notify_one();
}

void drop_finished() {
    State& self = state();
    if (self.finished.load(std::memory_order_relaxed) == nullptr) return;
    FutureObject* future = self.finished.exchange(nullptr, std::memory_order_acquire);
    while (future != nullptr) {
        FutureObject* next = future->isolated->next_finished;
        drop_call(future);
        Py_DECREF(as_object(future));
        future = next;
    }
}

void stop() {
    State& self = state();
    bool join = false;
    {
        const std::lock_guard lock(self.mutex);
        if (self.interpreter != PyInterpreterState_Get()) return;
        join = self.started && !self.stopping;
        self.stopping = self.stopped = true;
    }
    if (join) {
        self.wake.notify_one();
        PyThreadState* attached = PyEval_SaveThread();
        self.thread.join();
        PyEval_RestoreThread(attached);
    }
    drop_finished();
}

void after_fork_in_child() {
    State* old = instance;
    instance = new State();  // the old one's thread does not exist here; its condition may be in any state
    instance->interpreter = old->interpreter;
    instance->finished.store(old->finished.load());
}

}  // namespace pyferris::python::notifier
