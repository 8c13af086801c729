// Blocking on a coroutine of a pool, whose event loop has a thread of its own.
//
// That thread itself must not block on it: nobody else would complete it. A worker of the pool may, but the coroutine
// may await calls that need a worker: so it runs what is queued meanwhile, each call inside its own.
#include <thread>

#include "pool_object.hpp"
#include "py_compat.hpp"
#include "pyferris/blocked_wait.hpp"

namespace pyferris::python {

namespace {

constexpr int kDeepest = 64;  // calls inside each other by helping; beyond, only what the loop has submitted

thread_local int depth = 0;
thread_local const PoolShared* loop_of = nullptr;  // the pool whose loop this thread runs

// A worker that waits and helps.
class HelpingWorker final : public Continuation, private BlockedWait {
  public:
    HelpingWorker(ThreadPool& pool, FutureState& state) : Continuation(Kind::waiter), pool_(pool), state_(state) {}
    void notify() override { pool_.end_waiting(done_, worker_); }
    const std::atomic<bool>& done() const noexcept { return done_; }

  private:
    void forget() noexcept override { state_.remove(*this); }

    ThreadPool& pool_;
    FutureState& state_;
    ThreadPool::Worker* const worker_ = ThreadPool::current_worker();
    std::atomic<bool> done_{false};
};

// As `wait_final`.
int wait_and_help(FutureObject* self, ThreadPool& pool, Deadline deadline) {
    HelpingWorker waiter(pool, self->state);
    if (self->state.add(waiter) == FutureState::AddResult::already_final) return 1;
    ++depth;
    for (;;) {
        PyThreadState* state = PyEval_SaveThread();
        Task* task = pool.next_while_waiting(waiter.done(), deadline, depth > kDeepest);
        PyEval_RestoreThread(state);
        if (task == nullptr) break;
        ThreadPool::begin_taken();
        current_worker()->run(*task);
    }
    --depth;
    if (waiter.done().load(std::memory_order_acquire)) return 1;
    if (self->state.remove(waiter)) return 0;
    PyThreadState* state = PyEval_SaveThread();  // it is just being notified
    while (!waiter.done().load(std::memory_order_acquire)) std::this_thread::yield();
    PyEval_RestoreThread(state);
    return 1;
}

}  // namespace

void become_loop_of(const PoolShared* shared) noexcept { loop_of = shared; }

bool is_loop_of(const PoolShared& shared) noexcept { return loop_of == &shared; }

bool is_on_own_loop(FutureObject* self) {
    const Observers* observers = self->observers.load(std::memory_order_acquire);
    if (observers == nullptr) return false;
    const unsigned long thread = observers->loop_thread.load(std::memory_order_relaxed);
    return thread != 0 && thread == PyThread_get_thread_ident();
}

int wait_for_coroutine(FutureObject* self, Deadline deadline) {
    const Observers* observers = self->observers.load(std::memory_order_acquire);
    if (observers == nullptr || observers->loop_thread.load(std::memory_order_relaxed) == 0) return 2;
    if (is_on_own_loop(self)) {
        PyErr_Format(PyExc_RuntimeError,
                     "%R runs on the event loop of this very thread and would wait for ever: await it instead", self);
        return -1;
    }
    if (current_worker() == nullptr || depth >= 2 * kDeepest) return 2;
    const std::shared_ptr<PoolShared> shared = observers->loop_pool.lock();
    if (shared == nullptr || shared->threads == nullptr || !shared->threads->is_current()) return 2;
    return wait_and_help(self, *shared->threads, deadline);
}

}  // namespace pyferris::python
