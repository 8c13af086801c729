#include "pool_object.hpp"

#include <algorithm>

#include "py_compat.hpp"

namespace pyferris::python {

namespace {
thread_local PyWorker* this_worker = nullptr;
}

PyWorker* current_worker() noexcept { return this_worker; }

WakeBatch* current_worker_batch() noexcept { return this_worker == nullptr ? nullptr : &this_worker->batch(); }

PyWorker::PyWorker(std::shared_ptr<PoolShared> shared, std::size_t index, PyObject* initializer, PyObject* initargs)
    : shared_(std::move(shared)), index_(index), initializer_(initializer), initargs_(initargs) {}

// What Python gave was dropped in `stop`, attached.
PyWorker::~PyWorker() = default;

bool PyWorker::start() {
    this_worker = this;
    state_ = PyThreadState_New(shared_->interpreter);
    PyEval_RestoreThread(state_);
    {
        const std::lock_guard lock(shared_->mutex);
        shared_->workers.push_back(this);
    }
    PyObject* thread = PyObject_CallFunction(module_state().worker_started, "sO",
                                             (shared_->prefix + "_" + std::to_string(index_)).c_str(),
                                             shared_->daemon ? Py_True : Py_False);
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

void PyWorker::attach() { PyEval_RestoreThread(state_); }

void PyWorker::run(Task& task) {
    FutureObject* future = future_of(task);
    if (future->state.claim()) {
        running_ = future;
        run_claimed(future);
        running_ = nullptr;
        shared_->active.fetch_sub(1, std::memory_order_relaxed);
    }
    Py_DECREF(as_object(future));
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
    if (batch_.empty()) {
        wake_loops(true);
        return;
    }
    detach();
    attach();
}

void PyWorker::detach() {
    state_ = PyEval_SaveThread();
    batch_.flush();
    if (!owed_.empty()) wake_loops(false);
}

void PyWorker::stop() {
    PyEval_RestoreThread(state_);
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
    PyThreadState_Clear(state_);
    PyThreadState_DeleteCurrent();
}

void withdraw(PoolObject& pool, FutureObject* future) {
    if (pool.shared->threads != nullptr && pool.shared->threads->remove(future->task)) {
        drop_call(future);
        pool.shared->active.fetch_sub(1, std::memory_order_relaxed);
        Py_DECREF(as_object(future));
        return;
    }
    // A worker has it in hand and will find it cancelled.
    drop_call(future);
    pool.shared->active.fetch_sub(1, std::memory_order_relaxed);
}

bool help_pool(FutureObject* future) {
    if (this_worker == nullptr) return false;
    PyRef pool;
    PYFERRIS_BEGIN_CRITICAL_SECTION(as_object(future));
    pool = PyRef::share(reinterpret_cast<PyObject*>(future->call.pool));
    PYFERRIS_END_CRITICAL_SECTION();
    if (!pool) return false;
    PoolShared& shared = *reinterpret_cast<PoolObject*>(pool.get())->shared;
    if (shared.threads == nullptr || !shared.threads->is_current() || !shared.threads->remove(future->task))
        return false;
    this_worker->run(future->task);
    return future->state.is_final();
}

void fail_call(FutureObject* future, PyObject* type, const char* message) {
    PyObject* error = PyObject_CallFunction(type, "s", message);
    if (error == nullptr) {
        PyErr_WriteUnraisable(nullptr);
        return;
    }
    drop_call(future);
    set_exception(future, error);
}

void break_pool(PoolShared& shared, PyObject* error) {
    {
        const std::lock_guard lock(shared.mutex);
        shared.closed_by = "its initializer failed";
    }
    shared.closed.store(true);
    shared.broken.store(true);
    const PyRef reported = PyRef::steal(PyObject_CallOneArg(module_state().report_initializer, error));
    if (!reported) PyErr_WriteUnraisable(nullptr);
    shared.threads->close();
    for (Task* task : shared.threads->take_all()) {
        FutureObject* future = future_of(*task);
        shared.active.fetch_sub(1, std::memory_order_relaxed);
        fail_call(future, module_state().broken_pool,
                  "the initializer of a worker failed; the pool cannot be used any more");
        Py_DECREF(as_object(future));
    }
}

}  // namespace pyferris::python
