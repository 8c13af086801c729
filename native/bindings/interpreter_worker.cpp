#include "interpreter_worker.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include "context_scope.hpp"
#include "notifier.hpp"
#include "py_compat.hpp"
#include "py_wait.hpp"
#include "pyferris/cores.hpp"
#include "thread_state.hpp"
#include "worker_messages.hpp"

namespace pyferris::python {

namespace {

constexpr std::size_t kMostFunctions = 256;             // shipped ones that a worker keeps
constexpr std::chrono::microseconds kOpeningPoll{200};  // what is left of it when an interpreter is there

thread_local WorkerSlot* this_slot = nullptr;

}  // namespace

std::size_t count_early(int change) {
    static std::atomic<int> count{0};
    return static_cast<std::size_t>(std::max(0, count.fetch_add(change) + change));
}

std::int64_t count_finished(IsolatedPool& pool) {
    const std::lock_guard lock(pool.mutex);
    std::int64_t total = pool.finished_by_gone;
    for (const auto& slot : pool.slots) total += slot->finished.load();
    return total;
}

bool current_isolated_worker() noexcept { return this_slot != nullptr; }

bool take_stop_request() {
    const FutureState* call = this_slot != nullptr ? current_state() : nullptr;
    if (call == nullptr || !call->stop_requested()) return false;
    // One exception for a request: a second would come while the code that the first ends puts things right.
    if (PyThreadState_Get()->async_exc == nullptr) return !this_slot->told.exchange(true);
    PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), nullptr);
    return true;
}

InterpreterWorker::InterpreterWorker(std::shared_ptr<PoolShared> shared)
    : shared_(std::move(shared)), slot_(std::make_shared<WorkerSlot>()) {
    slot_->driver = this;
    slot_->pool = shared_;
    remember_slot(slot_);
    const std::lock_guard lock(shared_->isolated->mutex);
    shared_->isolated->slots.push_back(slot_);
}

InterpreterWorker::~InterpreterWorker() = default;

// Nobody will have a call for it.
bool InterpreterWorker::is_unwanted() const {
    if (isolation_ends() || shared_->isolated->opening.load() == IsolatedPool::Opening::failed) return true;
    return shared_->closed.load(std::memory_order_acquire) && shared_->threads->is_closed() &&
           shared_->threads->queued() == 0;
}

// False where it must not go on, or not now. Attached to no interpreter but a new one.
bool InterpreterWorker::wait_until_opened() const {
    const IsolatedPool& pool = *shared_->isolated;
    spread();  // who opens the pool was on a core itself before
    while (pool.opening.load(std::memory_order_acquire) == IsolatedPool::Opening::prepared) {
        if (is_unwanted() || fork_is_near()) return false;
        std::this_thread::sleep_for(kOpeningPoll);
    }
    return !is_unwanted();
}

// When it begins to compute: off the cores of the pool's other workers; and of who made it, where there is another.
void InterpreterWorker::spread() const {
    const Seen mine = see_this_thread();
    slot_->thread.store(mine.thread, std::memory_order_relaxed);
    slot_->core.store(mine.core, std::memory_order_relaxed);
    std::vector<Seen> others;
    {
        const std::lock_guard lock(shared_->isolated->mutex);
        for (const auto& slot : shared_->isolated->slots) {
            const int core = slot->core.load(std::memory_order_relaxed);
            if (slot == slot_ || core < 0) continue;
            others.push_back({slot->thread.load(std::memory_order_relaxed), core});
        }
    }
    static const std::size_t cores = std::thread::hardware_concurrency();  // which asks the system each time
    if (others.size() + 1 < cores) others.push_back(shared_->isolated->opener);
    slot_->core.store(leave_to_others(others), std::memory_order_relaxed);
}

// Not attached; `attached` is held.
bool InterpreterWorker::lease(std::string* error) {
    slot_->interpreter = Interpreter::lease([this] { return wait_until_opened(); }, error);
    if (slot_->interpreter == nullptr) return false;
    slot_->state = new_thread_state(slot_->interpreter->state());
    const std::lock_guard lock(slot_->mutex);
    slot_->open = slot_->interpreter->state();
    slot_->ident = PyThread_get_thread_ident();
    return true;
}

// The pool's environment and initializer. False with an error set. Attached.
bool InterpreterWorker::enter() {
    const Interpreter& interpreter = *slot_->interpreter;
    const IsolatedPool& pool = *shared_->isolated;
    PyObject* enter = interpreter.function("enter");
    const PyRef sender = PyRef::steal(enter != nullptr ? make_sender(slot_) : nullptr);
    const PyRef requester = PyRef::steal(make_requester());
    const PyRef environment = PyRef::steal(
        PyBytes_FromStringAndSize(pool.environment.data(), static_cast<Py_ssize_t>(pool.environment.size())));
    if (!sender || !requester || !environment) return false;
    const PyRef entered =
        PyRef::steal(PyObject_CallFunctionObjArgs(enter, environment.get(), sender.get(), requester.get(), nullptr));
    if (!entered) return false;
    if (pool.initializer == nullptr) return true;
    PyObject* function = shipped(*pool.initializer);
    const PyRef args = PyRef::steal(function != nullptr ? decode(pool.initargs, interpreter.codec()) : nullptr);
    PyObject* initialize = args ? interpreter.function("initialize") : nullptr;
    const PyRef keywords = PyRef::steal(initialize != nullptr ? PyDict_New() : nullptr);
    const PyRef done = PyRef::steal(
        keywords ? PyObject_CallFunctionObjArgs(initialize, function, args.get(), keywords.get(), nullptr) : nullptr);
    return static_cast<bool>(done);
}

void InterpreterWorker::set_gone(bool gone) {
    const std::lock_guard lock(slot_->mutex);
    slot_->gone = gone;
    slot_->quiet.notify_all();
}

bool InterpreterWorker::start() {
    const bool early = shared_->isolated->early.fetch_sub(1) > 0;
    const bool started = begin();
    if (early) count_early(-1);
    return started;
}

bool InterpreterWorker::begin() {
    this_slot = slot_.get();
    spread();
    std::string error;
    bool leased = false;
    while (!leased && error.empty()) {
        wait_for_fork();
        // First it is said that there will be an interpreter, then looked whether there may be: the exit does it the
        // other way.
        set_gone(false);
        if (is_unwanted()) break;
        slot_->attached.lock();
        leased = lease(&error);
        if (!leased) slot_->attached.unlock();
    }
    if (!leased) {
        set_gone(true);
        if (!error.empty()) break_pool_with(error);
        this_slot = nullptr;
        return false;
    }
    PyEval_RestoreThread(slot_->state);
    keep_spare_context();
    if (!enter()) {
        break_pool_with_raised();
        give_back();
        return false;
    }
    detach();
    return true;
}

// False where a fork took the interpreter away: it has deleted this thread's state, and what CPython knows of the
// thread still points there, so that it must never attach again.
bool InterpreterWorker::attach() {
    wait_for_fork();
    spread();
    slot_->attached.lock();
    if (slot_->interpreter == nullptr) {
        slot_->attached.unlock();
        return false;
    }
    PyEval_RestoreThread(slot_->state);
    return true;
}

bool InterpreterWorker::must_detach() { return fork_is_near(); }

void InterpreterWorker::detach() {
    slot_->state = PyEval_SaveThread();
    slot_->attached.unlock();
    slot_->core.store(-1, std::memory_order_relaxed);
}

// The shipped function, borrowed; null with an error set.
PyObject* InterpreterWorker::shipped(const Shipment& code) {
    auto& known = slot_->interpreter->functions;
    const auto found = known.find(code.number);
    if (found != known.end()) return found->second;
    if (known.size() == kMostFunctions) {
        for (auto& [number, function] : known) Py_DECREF(function);
        known.clear();
    }
    PyObject* load = slot_->interpreter->function("load_function");
    const PyRef blob =
        PyRef::steal(PyBytes_FromStringAndSize(code.blob.data(), static_cast<Py_ssize_t>(code.blob.size())));
    PyObject* function = load != nullptr && blob ? PyObject_CallOneArg(load, blob.get()) : nullptr;
    if (function != nullptr) known.emplace(code.number, function);
    return function;
}

// What the call returned, or null with its error set.
PyObject* InterpreterWorker::call(FutureObject* future) {
    IsolatedCall& call = *future->isolated;
    PyObject* function = shipped(*call.code);
    if (function == nullptr) return nullptr;
    const PyRef keep = PyRef::share(function);
    WireCodec codec = slot_->interpreter->codec();
    codec.function = function;
    const PyRef given = PyRef::steal(decode(call.arguments, codec));
    call.arguments.clear();
    if (!given) return nullptr;
    if (call.is_batch) {
        PyObject* each = slot_->interpreter->function("call_each");
        if (each == nullptr) return nullptr;
        PyObject* const* parts = &PyTuple_GET_ITEM(given.get(), 0);
        return PyObject_CallFunctionObjArgs(each, function, parts[0], parts[1], parts[2], nullptr);
    }
    if (!call.has_keywords) return PyObject_Call(function, given.get(), nullptr);
    return PyObject_Call(function, PyTuple_GET_ITEM(given.get(), 0), PyTuple_GET_ITEM(given.get(), 1));
}

void InterpreterWorker::run(Task& task) {
    FutureObject* future = future_of(static_cast<CallTask&>(task));
    if (!future->state.claim()) {
        notifier::let_go(future);
        return;
    }
    Message outcome;
    Ending ending = Ending::returned;
    const Interpreter& interpreter = *slot_->interpreter;
    IsolatedCall& isolated = *future->isolated;
    slot_->calls.fetch_add(1);
    slot_->told.store(false);
    slot_->running.store(future);
    set_foreign_call(&future->state);
    // Whoever asks sets the request, then looks for who runs the call; one of both sees the other.
    if (future->state.stop_requested() && !slot_->told.exchange(true)) {
        PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), module_state().call_cancelled);
    }
    // A context of its own: what the call sets in it (contextvars, decimal's precision) ends with it.
    ContextScope scope(nullptr);
    PyRef result = PyRef::steal(scope.enter() ? call(future) : nullptr);
    if (!scope.leave()) result = PyRef();
    if (result) {
        const WireSubject subject{"the result of %s", isolated.code->name.c_str()};
        if (!encode(result.get(), interpreter.codec(), subject, &outcome)) result = PyRef();
    }
    // Twice at most: a request to stop may come while the error is encoded.
    for (int attempt = 0; !result && PyErr_Occurred() != nullptr && attempt < 2; ++attempt) {
        const PyRef error = PyRef::steal(take_raised());
        outcome.clear();
        if (PyErr_GivenExceptionMatches(error.get(), module_state().call_cancelled) != 0) {
            ending = Ending::cancelled;
            break;
        }
        ending = Ending::failed;
        PyObject* dumps = interpreter.function("dumps_error");
        const PyRef bytes = PyRef::steal(dumps != nullptr ? PyObject_CallOneArg(dumps, error.get()) : nullptr);
        if (bytes) static_cast<void>(copy_bytes(bytes.get(), &outcome.data));
    }
    if (PyErr_Occurred() != nullptr) PyErr_Clear();
    result = PyRef();
    if (slot_->has_buffered) {
        slot_->has_buffered = false;
        PyObject* flush = interpreter.function("flush");
        const PyRef flushed = PyRef::steal(flush != nullptr ? PyObject_CallNoArgs(flush) : nullptr);
        if (!flushed) PyErr_Clear();
    }
    set_foreign_call(nullptr);
    slot_->running.store(nullptr);
    if (future->state.stop_requested()) PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), nullptr);
    // No counter that the others count on as well: that would cost each call a cache line.
    if (!isolated.is_batch) slot_->finished.store(slot_->finished.load(std::memory_order_relaxed) + 1);
    finish_isolated(future, std::move(outcome), ending);
}

// Attached before, detached and without an interpreter afterwards.
void InterpreterWorker::give_back() {
    Interpreter& interpreter = *slot_->interpreter;
    for (auto& [number, function] : interpreter.functions) Py_DECREF(function);
    interpreter.functions.clear();
    drop_spare_context();
    PyObject* leave = interpreter.function("leave");
    PyObject* clean = leave != nullptr ? PyObject_CallNoArgs(leave) : nullptr;
    if (clean == nullptr) PyErr_Clear();
    bool reusable = clean == Py_True;
    Py_XDECREF(clean);
    {
        const std::lock_guard lock(slot_->mutex);
        slot_->open = nullptr;
    }
    slot_->state = PyEval_SaveThread();
    {
        std::unique_lock lock(slot_->mutex);
        slot_->quiet.wait(lock, [this] { return slot_->interrupters == 0; });
    }
    PyEval_RestoreThread(slot_->state);
    reusable = reusable && interpreter.is_alone(slot_->state);
    Interpreter::leave(std::exchange(slot_->state, nullptr));
    if (reusable) {
        Interpreter::park(std::move(slot_->interpreter));
    } else {
        Interpreter::retire(std::move(slot_->interpreter));
    }
    slot_->attached.unlock();
    set_gone(true);
    {
        const std::lock_guard lock(shared_->isolated->mutex);
        if (std::erase(shared_->isolated->slots, slot_) != 0) shared_->isolated->finished_by_gone += slot_->finished;
    }
    this_slot = nullptr;
    // What exit functions and destructors have printed is there when the worker is gone.
    if (slot_->said_aside.load()) notifier::settle();
}

void InterpreterWorker::stop() {
    slot_->attached.lock();
    if (slot_->interpreter != nullptr) {
        PyEval_RestoreThread(slot_->state);
        give_back();
        return;
    }
    slot_->attached.unlock();
    this_slot = nullptr;
}

// Without an interpreter.
void InterpreterWorker::break_pool_with(std::string error) {
    notifier::post([shared = shared_, error = std::move(error)] {
        PyErr_Format(PyExc_RuntimeError, "no interpreter for a worker of this pool: %s", error.c_str());
        const PyRef raised = PyRef::steal(take_raised());
        break_pool(*shared, raised.get());
    });
}

// With the error that is set in the worker's interpreter. Attached to it.
void InterpreterWorker::break_pool_with_raised() {
    const PyRef error = PyRef::steal(take_raised());
    PyObject* dumps = slot_->interpreter->function("dumps_error");
    const PyRef bytes = PyRef::steal(dumps != nullptr ? PyObject_CallOneArg(dumps, error.get()) : nullptr);
    std::string data;
    if (bytes) static_cast<void>(copy_bytes(bytes.get(), &data));
    PyErr_Clear();
    notifier::post([shared = shared_, data = std::move(data)] {
        const PyRef encoded =
            PyRef::steal(PyBytes_FromStringAndSize(data.data(), static_cast<Py_ssize_t>(data.size())));
        PyRef raised =
            PyRef::steal(encoded ? PyObject_CallOneArg(module_state().wire_loads_error, encoded.get()) : nullptr);
        if (!raised) raised = PyRef::steal(take_raised());
        break_pool(*shared, raised.get());
    });
}

}  // namespace pyferris::python
