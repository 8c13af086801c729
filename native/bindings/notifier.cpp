#include "notifier.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <utility>

#include "isolated_call.hpp"
#include "pyferris/fork_guard.hpp"
#include "pyferris/native_thread.hpp"
#include "thread_state.hpp"

namespace pyferris::python::notifier {

namespace {

constexpr std::chrono::milliseconds kDropAfter{20};  // references wait for so long for another thread to drop them
constexpr std::chrono::milliseconds kJobTime{20};    // a longer job, a callback that blocks, holds up no other

struct Job {
    std::function<void()> work;
    bool may_block;
};

struct State {
    std::mutex mutex;  // guards all below
    std::condition_variable wake;
    std::condition_variable watch_wake;
    std::condition_variable ended;
    std::deque<Job> jobs;
    PyInterpreterState* interpreter = nullptr;
    int threads = 0;          // that work, or still do a job
    std::uintptr_t turn = 0;  // of the one that works; others end when their job does
    std::uint64_t begun = 0;  // jobs
    bool busy = false;        // the one that works does a job that may block
    bool watched = false;     // there is a thread that takes over from one whose job is long
    bool stopping = false;
    bool stopped = false;
    bool drop_due = false;  // references wait

    std::atomic<FutureObject*> finished{nullptr};  // a stack, chained through their tasks
    std::atomic<bool> armed{false};                // the thread knows that references wait
};

State* instance = new State();  // never destroyed: workers may outlive static destruction

State& state() { return *instance; }

// What a thread does next.
struct Step {
    Job* job = nullptr;  // owned
    bool drop = false;
    bool over = false;
};

Step next_step(State& self, std::uintptr_t turn) {
    Step step;
    std::unique_lock lock(self.mutex);
    if (self.turn != turn) return Step{nullptr, false, true};
    self.busy = false;
    self.wake.wait(lock, [&self] { return !self.jobs.empty() || self.stopping || self.drop_due; });
    if (self.jobs.empty() && !self.stopping) {
        self.wake.wait_for(lock, kDropAfter, [&self] { return !self.jobs.empty() || self.stopping; });
    }
    if (!self.jobs.empty()) {
        step.job = new Job(std::move(self.jobs.front()));
        self.jobs.pop_front();
    }
    step.drop = std::exchange(self.drop_due, false);
    step.over = step.job == nullptr && self.stopping;
    return step;
}

void start_watching(State& self);

// Attached: what the job reads before it lets go of the GIL is there still, though others take over.
void begin_job(State& self) {
    const std::lock_guard lock(self.mutex);
    self.busy = true;
    ++self.begun;
    if (!self.jobs.empty()) start_watching(self);
}

void count_out(State& self) {
    const std::lock_guard lock(self.mutex);
    --self.threads;
    self.ended.notify_all();
}

// No destructor on this frame when it attaches: it may never come back from that.
void run(void* turn) {
    State& self = state();
    PyThreadState* thread_state = new_thread_state(self.interpreter);
    for (;;) {
        const Step step = next_step(self, reinterpret_cast<std::uintptr_t>(turn));
        PyEval_RestoreThread(thread_state);
        if (step.drop) {
            self.armed.store(false);
            drop_finished();
        }
        if (step.job != nullptr) {
            if (step.job->may_block) begin_job(self);
            step.job->work();
            if (PyErr_Occurred() != nullptr) PyErr_WriteUnraisable(nullptr);
            delete step.job;
        }
        if (step.over) {
            drop_finished();
            PyThreadState_Clear(thread_state);
            PyThreadState_DeleteCurrent();
            count_out(self);
            return;
        }
        PyEval_SaveThread();
    }
}

// True if it was time to take over. A thread that has nothing to watch ends.
bool watch_jobs(State& self, std::uintptr_t* turn) {
    std::unique_lock lock(self.mutex);
    while (self.busy) {
        const std::uint64_t begun = self.begun;
        const auto moved = [&self, begun] { return self.begun != begun || !self.busy; };
        if (self.watch_wake.wait_for(lock, kJobTime, moved) || self.jobs.empty()) continue;
        self.watched = self.busy = false;
        *turn = ++self.turn;
        ++self.threads;
        return true;
    }
    self.watched = false;
    return false;
}

void watch(void* /*unused*/) {
    std::uintptr_t turn = 0;
    if (watch_jobs(state(), &turn)) run(reinterpret_cast<void*>(turn));
}

// The mutex is held.
void start_watching(State& self) {
    if (self.busy && !self.watched) self.watched = NativeThread::start_detached(watch, nullptr);
}

// The mutex is held.
bool start(State& self) {
    if (self.threads != 0) return true;
    if (self.stopped || self.interpreter == nullptr) return false;
    if (NativeThread::start_detached(run, reinterpret_cast<void*>(self.turn))) self.threads = 1;
    return self.threads != 0;
}

}  // namespace

bool prepare() {
    static std::once_flag guarded;
    std::call_once(guarded, [] { ForkGuard::add([] { instance->mutex.lock(); }, [] { instance->mutex.unlock(); }); });
    State& self = state();
    const std::lock_guard lock(self.mutex);
    if (self.interpreter == nullptr) self.interpreter = PyInterpreterState_Get();
    return self.stopped || start(self);
}

bool post(std::function<void()> job, bool may_block) {
    State& self = state();
    {
        const std::lock_guard lock(self.mutex);
        if (!start(self)) return false;
        self.jobs.push_back(Job{std::move(job), may_block});
        start_watching(self);
    }
    self.wake.notify_one();
    return true;
}

void settle() {
    const auto done = std::make_shared<std::promise<void>>();
    std::future<void> reached = done->get_future();
    if (post([done] { done->set_value(); }, false)) reached.wait();
}

void let_go(FutureObject* future) {
    State& self = state();
    FutureObject* head = self.finished.load(std::memory_order_relaxed);
    do {
        future->task.chain(head == nullptr ? nullptr : &head->task);
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
        Task* const after = future->task.chained();
        FutureObject* next = after == nullptr ? nullptr : future_of(static_cast<CallTask&>(*after));
        if (next != nullptr) {  // which lies in the cache of the worker that finished it
            __builtin_prefetch(next, 1);
            __builtin_prefetch(&next->call, 1);
        }
        drop_call(future);
        Py_DECREF(as_object(future));
        future = next;
    }
}

void stop() {
    State& self = state();
    PyThreadState* attached = nullptr;
    {
        const std::lock_guard lock(self.mutex);
        if (self.interpreter != PyInterpreterState_Get()) return;
        self.stopping = self.stopped = true;
        start_watching(self);
    }
    self.wake.notify_all();
    attached = PyEval_SaveThread();
    {
        std::unique_lock lock(self.mutex);
        self.ended.wait(lock, [&self] { return self.threads == 0; });
    }
    PyEval_RestoreThread(attached);
    drop_finished();
}

bool is_stopped() {
    const std::lock_guard lock(state().mutex);
    return state().stopped;
}

void after_fork_in_child() {
    State* old = instance;
    instance = new State();  // the old one's thread does not exist here; its condition may be in any state
    instance->interpreter = old->interpreter;
    instance->finished.store(old->finished.load());
}

}  // namespace pyferris::python::notifier
