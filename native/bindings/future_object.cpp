#include "future_object.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include "context_scope.hpp"
#include "interpreter_worker.hpp"
#include "isolated_call.hpp"
#include "notifier.hpp"
#include "py_compat.hpp"
#include "pyferris/blocked_wait.hpp"
#include "worker_slots.hpp"

namespace pyferris::python {

namespace {

thread_local FutureObject* current = nullptr;
thread_local FutureState* foreign = nullptr;

class BlockedThread final : public Continuation, private BlockedWait {
  public:
    BlockedThread(Parker& parker, FutureState& state) : Continuation(Kind::waiter), parker_(parker), state_(state) {}
    void notify() override { WakeBatch::wake(parker_); }

  private:
    void forget() noexcept override { state_.remove(*this); }

    Parker& parker_;
    FutureState& state_;
};

// Calls a method of the condition again until it succeeds, so that the future is never left half-way. What can come
// between is an interrupt (Ctrl-C in set_result on the main thread); it is raised again later.
void insist(PyObject* condition, const char* method) {
    for (int attempt = 0; attempt < 100; ++attempt) {
        const PyRef result = PyRef::steal(PyObject_CallMethod(condition, method, nullptr));
        if (result) return;
        if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) != 0) {
            PyErr_Clear();
            PyErr_SetInterrupt();
        } else {
            PyErr_WriteUnraisable(condition);
        }
    }
}

// Calls are not tracked by the collector while their pool keeps them (bind_thread_pool.cpp), nor afterwards if what
// they hold cannot be part of a cycle: a million of them would be looked at again and again.
void track(FutureObject* self) {
    if (PyObject_GC_IsTracked(as_object(self)) == 0) PyObject_GC_Track(as_object(self));
}

// The slow way of publishing: the condition is held, so that whoever reads the phase under it sees all or nothing.
void publish_under_condition(FutureObject* self, FutureState::Phase phase, const char* tell) {
    PyObject* condition = condition_of(self);
    const SavedError saved;
    if (condition == nullptr) PyErr_Clear();
    if (condition != nullptr) insist(condition, "acquire");
    self->state.publish_observed(phase);
    if (condition == nullptr) return;
    PyObject* waiters = tell == nullptr ? nullptr : observers_of(self)->waiters;
    for (Py_ssize_t i = 0; waiters != nullptr && i < PyList_GET_SIZE(waiters); ++i) {
        const PyRef waiter = PyRef::share(PyList_GET_ITEM(waiters, i));
        PyObject* told = PyObject_CallMethod(waiter.get(), tell, "O", as_object(self));
        if (told == nullptr) PyErr_WriteUnraisable(waiter.get());
        Py_XDECREF(told);
    }
    insist(condition, "notify_all");
    insist(condition, "release");
}

void publish(FutureObject* self, FutureState::Phase phase, const char* tell) {
    if (!self->state.publish(phase)) publish_under_condition(self, phase, tell);
}

// Tells everybody. Wake-ups of blocked threads wait until the worker lets go of the GIL, unless a callback, which may
// run long, comes first.
void notify(FutureObject* self) {
    if (!self->state.notify_waiters()) return;
    WakeBatch* batch = current_worker_batch();
    if (batch != nullptr) {
        batch->leave();
        batch->flush();
    }
    self->state.notify_callbacks();
}

bool complete(FutureObject* self, PyObject* value, bool failed) {
    if (!self->state.begin_complete()) {
        Py_DECREF(value);
        return false;
    }
    self->value = value;
    if (PyObject_IS_GC(value)) track(self);
    if (failed) {
        self->traceback = PyException_GetTraceback(value);
        self->state.mark_failed();
    }
    publish(self, FutureState::Phase::done, failed ? "add_exception" : "add_result");
    notify(self);
    return true;
}

// Makes the call, in a context of its own.
PyObject* invoke(FutureObject* self) {
    const Call& call = self->call;
    ContextScope scope(call.context);
    if (!scope.enter()) return nullptr;
    PyObject* result = nullptr;
    if (self->single) {
        PyObject* stack[2] = {nullptr, call.args};
        result = PyObject_Vectorcall(call.function, stack + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
    } else {
        result = PyObject_Call(call.function, call.args, call.kwargs);
    }
    if (!scope.leave()) Py_CLEAR(result);
    return result;
}

}  // namespace

FutureObject* current_future() noexcept { return current; }

FutureObject* exchange_current_future(FutureObject* future) noexcept { return std::exchange(current, future); }

FutureState* current_state() noexcept { return current != nullptr ? &current->state : foreign; }

void set_foreign_call(FutureState* state) noexcept { foreign = state; }

void publish_attached(FutureObject* self, FutureState::Phase phase) {
    const bool cancelled = phase != FutureState::Phase::done;
    publish(self, phase, cancelled ? "add_cancelled" : self->state.has_failed() ? "add_exception" : "add_result");
    notify(self);
}

Observers* observers_of(FutureObject* self) {
    Observers* found = self->observers.load(std::memory_order_acquire);
    if (found != nullptr) return found;
    track(self);
    auto* made = new Observers();
    if (self->observers.compare_exchange_strong(found, made, std::memory_order_acq_rel)) return made;
    delete made;
    return found;
}

PyObject* condition_of(FutureObject* self) {
    Observers* observers = observers_of(self);
    std::atomic_ref<PyObject*> slot(observers->condition);
    PyObject* condition = slot.load(std::memory_order_acquire);
    if (condition == nullptr) {
        PyObject* made = PyObject_CallNoArgs(module_state().condition_type);
        if (made == nullptr) return nullptr;
        if (slot.compare_exchange_strong(condition, made, std::memory_order_acq_rel)) {
            condition = made;
        } else {
            Py_DECREF(made);
        }
    }
    self->state.observe();
    return condition;
}

PyObject* waiters_of(FutureObject* self) {
    std::atomic_ref<PyObject*> slot(observers_of(self)->waiters);
    PyObject* waiters = slot.load(std::memory_order_acquire);
    if (waiters != nullptr) return waiters;
    PyObject* made = PyList_New(0);
    if (made == nullptr) return nullptr;
    if (slot.compare_exchange_strong(waiters, made, std::memory_order_acq_rel)) return made;
    Py_DECREF(made);
    return waiters;
}

void drop_call(FutureObject* self) {
    Call call;
    PYFERRIS_BEGIN_CRITICAL_SECTION(as_object(self));
    call = std::exchange(self->call, Call());
    PYFERRIS_END_CRITICAL_SECTION();
    Py_XDECREF(call.function);
    Py_XDECREF(call.args);
    Py_XDECREF(call.kwargs);
    Py_XDECREF(call.context);
    Py_XDECREF(reinterpret_cast<PyObject*>(call.pool));
}

bool set_result(FutureObject* self, PyObject* value) { return complete(self, value, false); }

bool set_exception(FutureObject* self, PyObject* exception) { return complete(self, exception, true); }

void finish_call(FutureObject* self, PyObject* result, PyObject* exception) {
    if (exception == nullptr) {
        set_result(self, result);
        return;
    }
    if (PyErr_GivenExceptionMatches(exception, module_state().call_cancelled) == 0) {
        set_exception(self, exception);
        return;
    }
    Py_DECREF(exception);
    end_cancelled(self);
}

bool end_cancelled(FutureObject* self) {
    if (!self->state.begin_complete()) return false;
    publish(self, FutureState::Phase::notified, "add_cancelled");
    notify(self);
    return true;
}

bool tell_cancelled(FutureObject* self) {
    if (!self->state.notify_cancel()) return false;
    if (self->state.is_observed()) publish_under_condition(self, FutureState::Phase::notified, "add_cancelled");
    return true;
}

bool cancel_pending(FutureObject* self, bool for_pool) {
    if (!self->state.begin_cancel()) return false;
    publish(self, for_pool ? FutureState::Phase::notified : FutureState::Phase::cancelled,
            for_pool ? "add_cancelled" : nullptr);
    notify(self);
    return true;
}

int cancel(FutureObject* self) {
    PyRef pool;
    PYFERRIS_BEGIN_CRITICAL_SECTION(as_object(self));
    pool = PyRef::share(reinterpret_cast<PyObject*>(self->call.pool));
    PYFERRIS_END_CRITICAL_SECTION();
    if (cancel_pending(self, self->state.is_call())) {
        if (pool) withdraw(*reinterpret_cast<PoolObject*>(pool.get()), self);
        return 1;
    }
    const FutureState::Phase phase = self->state.phase();
    if (phase == FutureState::Phase::cancelling || phase >= FutureState::Phase::cancelled) return 1;
    if (phase == FutureState::Phase::done) return 0;
    const bool first = !self->state.stop_requested();
    self->state.request_stop();
    if (first && self->isolated != nullptr) interrupt_isolated(self);
    Observers* observers = self->observers.load(std::memory_order_acquire);
    if (first && observers != nullptr && observers->cancel_hook != nullptr) {
        const PyRef hook = PyRef::share(observers->cancel_hook);
        PyObject* called = PyObject_CallNoArgs(hook.get());
        if (called == nullptr) return -1;
        Py_DECREF(called);
    }
    return 0;
}

void cancel_if_abandoned(FutureObject* self) {
    if (self->state.is_detached() || !self->state.is_call() || self->state.is_final()) return;
    if (self->state.has_interest()) return;
    const Observers* observers = self->observers.load(std::memory_order_acquire);
    if (observers != nullptr && observers->waiters != nullptr && PyList_GET_SIZE(observers->waiters) != 0) return;
    const SavedError saved;
    if (cancel(self) < 0) PyErr_WriteUnraisable(as_object(self));
}

void run_claimed(FutureObject* self) {
    FutureObject* outer = exchange_current_future(self);
    PyObject* result = invoke(self);
    PyObject* exception = result == nullptr ? take_raised() : nullptr;
    drop_call(self);
    exchange_current_future(outer);
    WakeBatch* batch = outer == nullptr ? current_worker_batch() : nullptr;
    if (batch != nullptr) batch->enter();
    finish_call(self, result, exception);
    if (batch != nullptr) batch->leave();
}

PyObject* outcome(FutureObject* self, bool awaited) {
    self->state.mark_retrieved();
    materialize(self);
    if (self->state.is_cancelled()) {
        const AsyncioNames* asyncio = awaited ? need_asyncio() : nullptr;
        if (asyncio != nullptr) PyErr_SetNone(asyncio->cancelled_error);
        if (!awaited) PyErr_SetNone(module_state().cf_cancelled_error);
        return nullptr;
    }
    if (!self->state.has_failed()) return Py_NewRef(self->value);
    PyObject* exception = Py_NewRef(self->value);
    // As it was raised: each reader's frames are added to the call's own, not to those of the reader before.
    PyException_SetTraceback(exception, self->traceback != nullptr ? self->traceback : Py_None);
    if (awaited && PyErr_GivenExceptionMatches(exception, PyExc_StopIteration) != 0) {
        raise_taken(wrap_stop_iteration(exception, "the awaited call raised StopIteration"));
        return nullptr;
    }
    raise_taken(exception);
    return nullptr;
}

namespace {

constexpr std::size_t kBacklog = 32;  // queued calls from which on a reader naps
constexpr std::int64_t kLeastNapUs = 50;
constexpr std::int64_t kMostNapUs = 4'000;

// Who reads the results of many calls one after another would be woken for each of them, and take the core of a worker
// each time. As long as plenty is queued a reader naps instead, the longer the longer the queue will last. As
// `wait_final`; 0: wait in earnest.
int nap_while_busy(FutureObject* self, Deadline deadline) {
    const auto* pool = reinterpret_cast<PoolObject*>(self->call.pool);
    if (pool == nullptr || pool->shared->isolated == nullptr) return 0;
    const std::shared_ptr<PoolShared> shared = pool->shared;
    std::atomic<std::int64_t>& nap_us = shared->isolated->nap_us;
    for (;;) {
        const std::size_t before = shared->threads->backlog();
        const std::uint64_t now = now_ns();
        if (before <= kBacklog || now >= deadline) return 0;
        const std::int64_t nap = std::clamp(nap_us.load(std::memory_order_relaxed), kLeastNapUs, kMostNapUs);
        PyThreadState* state = PyEval_SaveThread();
        std::this_thread::sleep_for(std::chrono::nanoseconds(std::min<std::uint64_t>(nap * 1000, deadline - now)));
        PyEval_RestoreThread(state);
        const std::size_t after = shared->threads->backlog();
        const bool lasts = after > before || (after > kBacklog && after - kBacklog > 2 * (before - after));
        nap_us.store(lasts ? nap * 2 : nap / 2, std::memory_order_relaxed);
        notifier::drop_finished();
        if (self->state.is_final()) return 1;
        if (PyErr_CheckSignals() != 0) return -1;
    }
}

}  // namespace

int wait_final(FutureObject* self, Deadline deadline) {
    if (self->isolated != nullptr) notifier::drop_finished();
    if (self->state.is_final()) return 1;
    if (current_future() == self) {
        PyErr_Format(PyExc_RuntimeError, "%R cannot be waited for inside its own call: it would wait for ever", self);
        return -1;
    }
    if (help_pool(self)) return 1;
    if (deadline <= now_ns()) return 0;
    if (const int done = wait_for_coroutine(self, deadline); done != 2) return done;
    if (self->isolated != nullptr) {
        if (const int napped = nap_while_busy(self, deadline); napped != 0) return napped;
    }
    return wait_final_while(self, deadline, nullptr);
}

// Not into `wait_final`, whose frame is on the stack of every worker that helps another call inside of one.
[[gnu::noinline]] int wait_final_while(FutureObject* self, Deadline deadline, const std::function<bool()>& waits_on) {
    const ParkerLease lease;
    (*lease).look_first(self->isolated == nullptr || !self->isolated->is_batch);  // a run takes long
    BlockedThread waiter(*lease, self->state);
    if (self->state.add(waiter) == FutureState::AddResult::already_final) return 1;
    const WaitResult result = wait_attached_while(*lease, deadline, waits_on);
    if (result == WaitResult::woken) return 1;
    if (!self->state.remove(waiter)) {
        consume_token(*lease);
        if (result == WaitResult::timed_out) return 1;
    }
    return result == WaitResult::timed_out ? 0 : -1;
}

}  // namespace pyferris::python
