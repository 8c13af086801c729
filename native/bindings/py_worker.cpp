// A worker of Python calls: its thread state, when it has the GIL, and whom it wakes.
#include <algorithm>

#include "context_scope.hpp"
#include "map_run.hpp"
#include "py_args.hpp"
#include "py_compat.hpp"
#include "pyferris/spin.hpp"
#include "thread_state.hpp"

namespace pyferris::python {

namespace {

thread_local PyWorker* this_worker = nullptr;

constexpr std::uint32_t kLookAfter = 64;           // calls between two looks at the clock
constexpr std::uint64_t kHoldOffNs = 3'000;        // an event loop's way from a submit to its next wait
constexpr std::uint64_t kFirstHoldOffNs = 50'000;  // the same of who makes a pool for one call; as long as a wake-up
constexpr std::uint64_t kLeastPatienceNs = 1'000'000;

// How long a worker may hold the GIL, in ns: a while longer than the switch interval, so that a thread that waits for
// it has given up waiting and asked for it by then. To such a one CPython hands it over. One that is just woken as the
// GIL is let go finds that it has been taken again, and waits anew: at intervals just as long, again and again.
// Attached.
std::uint64_t find_longest_hold() {
    constexpr std::uint64_t usual = 5'000'000;
    const SavedError saved;
    PyObject* function = PySys_GetObject("getswitchinterval");  // borrowed
    const PyRef seconds = PyRef::steal(function != nullptr ? PyObject_CallNoArgs(function) : nullptr);
    const double found = seconds ? PyFloat_AsDouble(seconds.get()) : -1.0;
    if (PyErr_Occurred() != nullptr) PyErr_Clear();
    const std::uint64_t interval = found < 0 ? usual : static_cast<std::uint64_t>(std::min(found, 3600.0) * 1e9);
    return interval + std::max(kLeastPatienceNs, interval / 4);
}

// Whoever submitted the task holds the GIL still, and is mostly about to wait, on this call or in its event loop. A
// thread that asks for a GIL that is held sleeps, and is woken through the kernel; one that comes a moment later finds
// it free.
void hold_off(std::uint64_t released, std::uint64_t longest_ns) {
#ifndef Py_GIL_DISABLED
    spin_until([released] { return gil_releases() != released; }, longest_ns);
#else
    static_cast<void>(released);
    static_cast<void>(longest_ns);
#endif
}

}  // namespace

PyWorker* current_worker() noexcept { return this_worker; }

WakeBatch* current_worker_batch() noexcept { return this_worker == nullptr ? nullptr : &this_worker->batch(); }

PyWorker::PyWorker(std::shared_ptr<PoolShared> shared, std::size_t index, PyObject* initializer, PyObject* initargs)
    : shared_(std::move(shared)),
      index_(index),
      released_(gil_releases()),
      initializer_(initializer),
      initargs_(initargs) {}

// What Python gave was dropped in `stop`, attached.
PyWorker::~PyWorker() = default;

bool PyWorker::start() {
    this_worker = this;
    state_ = new_thread_state(shared_->interpreter);
    hold_off(released_, kFirstHoldOffNs);
    PyEval_RestoreThread(state_);
    keep_spare_context();
    {
        const std::lock_guard lock(shared_->mutex);
        shared_->workers.push_back(this);
    }
    PyObject* name = make_text(shared_->prefix + "_" + std::to_string(index_));  // "N" takes it over, also null
    PyObject* thread =
        PyObject_CallFunction(module_state().worker_started, "NO", name, shared_->daemon ? Py_True : Py_False);
    if (thread == nullptr) PyErr_WriteUnraisable(nullptr);
    {
        const std::lock_guard lock(shared_->mutex);
        thread_ = thread;
    }
    const bool initialized = initialize();
    state_ = PyEval_SaveThread();
    if (!initialized) stop();
    return initialized;
}

bool PyWorker::initialize() {
    PyObject* initializer = std::exchange(initializer_, nullptr);
    PyObject* initargs = std::exchange(initargs_, nullptr);
    PyObject* result = initializer == nullptr ? Py_NewRef(Py_None) : PyObject_CallObject(initializer, initargs);
    if (result == nullptr) {
        PyObject* error = take_raised();
        break_pool(*shared_, error);
        Py_DECREF(error);
    }
    Py_XDECREF(initializer);
    Py_XDECREF(initargs);
    Py_XDECREF(result);
    return result != nullptr;
}

bool PyWorker::attach() {
    hold_off(gil_releases(), kHoldOffNs);
    PyEval_RestoreThread(state_);
    attached_at_ = now_ns();
    return true;
}

void PyWorker::run(Task& task) {
    auto& py_task = static_cast<PyTask&>(task);
    if (py_task.kind == PyTask::Kind::map) {
        since_look_ += kLookAfter;
        MapRun::run(static_cast<MapTask&>(py_task), *this);
    } else {
        ++since_look_;
        run_call(static_cast<CallTask&>(py_task));
    }
}

void PyWorker::run_call(CallTask& task) {
    FutureObject* future = future_of(task);
    if (future->state.claim()) {
        begin_call(future);
        run_claimed(future);
        end_call();
        shared_->active.fetch_sub(1, std::memory_order_relaxed);
    }
    Py_DECREF(as_object(future));
}

// Others look at what runs with the mutex held; where there is a GIL, that keeps them away already.
void PyWorker::begin_call(FutureObject* future) {
#ifdef Py_GIL_DISABLED
    const std::lock_guard lock(shared_->mutex);
#endif
    running_.push_back(future);
}

void PyWorker::end_call() {
#ifdef Py_GIL_DISABLED
    const std::lock_guard lock(shared_->mutex);
#endif
    running_.pop_back();
}

// Native functions never ask whether another thread waits for the GIL: after as long as Python's own code would have
// kept it, it is offered.
bool PyWorker::has_held_long() {
    if (since_look_ < kLookAfter) return false;
    since_look_ = 0;
    if (now_ns() - attached_at_ <= longest_hold_) return false;
    longest_hold_ = find_longest_hold();
    return true;
}

void PyWorker::wake_loops(bool attached) {
    for (std::size_t i = 0; i < owed_.size(); ++i) {
        if (owed_[i]->queue.wake()) continue;
        // Its loop has gone: what was meant for it is dropped, which takes an attached thread.
        if (!attached) PyEval_RestoreThread(state_);
        owed_[i]->queue.drop_all();
        if (!attached) state_ = PyEval_SaveThread();
    }
    owed_.clear();
}

void PyWorker::between() {
    if (batch_.empty() && !has_held_long()) {
        wake_loops(true);
        return;
    }
    detach();
    static_cast<void>(attach());
}

void PyWorker::detach() {
    state_ = PyEval_SaveThread();
    batch_.flush();
    if (!owed_.empty()) wake_loops(false);
}

// Who waits for its last task takes longer to wake up than this thread needs the GIL yet.
void PyWorker::leave() {
    batch_.flush();
    wake_loops(true);
    end();
}

void PyWorker::stop() {
    PyEval_RestoreThread(state_);
    end();
}

// Attached; lets go of the interpreter for good.
void PyWorker::end() {
    PyObject* thread = nullptr;
    {
        const std::lock_guard lock(shared_->mutex);
        std::erase(shared_->workers, this);
        thread = std::exchange(thread_, nullptr);
    }
    if (thread != nullptr) {
        PyObject* stopped = PyObject_CallOneArg(module_state().worker_stopped, thread);
        if (stopped == nullptr) PyErr_WriteUnraisable(thread);
        Py_XDECREF(stopped);
        Py_DECREF(thread);
    }
    this_worker = nullptr;
    drop_spare_context();
    PyThreadState_Clear(state_);
    PyThreadState_DeleteCurrent();
}

}  // namespace pyferris::python
