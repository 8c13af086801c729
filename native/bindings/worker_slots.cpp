#include "worker_slots.hpp"

#include <chrono>
#include <cstring>
#include <new>
#include <thread>

#include "interpreter_worker.hpp"
#include "notifier.hpp"
#include "py_compat.hpp"
#include "pyferris/clock.hpp"
#include "pyferris/fork_guard.hpp"
#include "pyferris/native_thread.hpp"

namespace pyferris::python {

namespace {

using SlotPtr = std::shared_ptr<WorkerSlot>;

constexpr std::chrono::seconds kForkWait{10};         // for running calls to end
constexpr std::chrono::milliseconds kStopWait{400};   // for an interrupted call to end, before it is given up
constexpr std::chrono::milliseconds kExitWait{1000};  // the same at exit

struct Slots {
    std::mutex mutex;
    std::vector<std::weak_ptr<WorkerSlot>> all;     // guarded by mutex
    std::vector<std::shared_ptr<WorkerSlot>> held;  // by a fork; the forking thread's
};

Slots& slots() {
    static auto* const instance = new Slots();
    return *instance;
}

std::vector<std::shared_ptr<WorkerSlot>> all_slots() {
    std::vector<std::shared_ptr<WorkerSlot>> alive;
    Slots& known = slots();
    const std::lock_guard lock(known.mutex);
    std::erase_if(known.all, [](const auto& weak) { return weak.expired(); });
    for (const auto& weak : known.all) {
        if (auto slot = weak.lock()) alive.push_back(std::move(slot));
    }
    return alive;
}

// What a thread that cancels a call knows of it. Nothing of it lies on a frame that may be stopped.
struct Interruption {
    SlotPtr slot;
    FutureObject* future;  // for comparison
    std::uint64_t call;

    bool still_runs() const { return slot->calls.load() == call && slot->running.load() == future; }
};

// Raises CallCancelled in the call. On a thread of its own: it waits for the GIL of an interpreter that may keep it
// long.
void interrupt(void* argument) {
    auto* request = static_cast<Interruption*>(argument);
    WorkerSlot& slot = *request->slot;
    PyInterpreterState* interpreter = nullptr;
    {
        const std::lock_guard lock(slot.mutex);
        interpreter = slot.open;
        if (interpreter != nullptr) ++slot.interrupters;
    }
    if (interpreter != nullptr) {
        PyThreadState* state = Interpreter::enter(interpreter);
        if (request->still_runs() && !slot.told.exchange(true)) {
            PyThreadState_SetAsyncExc(slot.ident, module_state().call_cancelled);
        }
        Interpreter::leave(state);
        const std::lock_guard lock(slot.mutex);
        --slot.interrupters;
        slot.quiet.notify_all();
    }
    delete request;
}

// Attached to the main interpreter, so that a call which ends meanwhile keeps its future.
void give_up(const Interruption& request) {
    if (!request.still_runs()) return;
    FutureObject* future = request.future;
    const PyRef keep = PyRef::share(as_object(future));
    if (const auto pool = request.slot->pool.lock()) pool->threads->give_up(*request.slot->driver);
    if (future->state.begin_complete()) publish_attached(future, FutureState::Phase::notified);
}

// Gives the call up when it does not end in time. On a thread of its own.
void watch(void* argument) {
    auto* request = static_cast<Interruption*>(argument);
    const auto until = std::chrono::steady_clock::now() + kStopWait;
    while (request->still_runs() && std::chrono::steady_clock::now() < until) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    if (request->still_runs()) {
        notifier::post([copy = *request] { give_up(copy); });
    }
    delete request;
}

void start_interruption(const SlotPtr& slot, FutureObject* future) {
    const std::uint64_t call = slot->calls.load();
    for (auto* work : {interrupt, watch}) {
        auto* request = new Interruption{slot, future, call};
        if (!request->still_runs() || !NativeThread::start_detached(work, request)) delete request;
    }
}

std::vector<SlotPtr> slots_of(PoolShared& shared) {
    const std::lock_guard lock(shared.isolated->mutex);
    return shared.isolated->slots;
}

std::atomic<bool> ending{false};  // see isolation_ends()

}  // namespace

void remember_slot(const std::shared_ptr<WorkerSlot>& slot) {
    Slots& known = slots();
    const std::lock_guard lock(known.mutex);
    known.all.push_back(slot);
}

void interrupt_isolated(FutureObject* future) {
    const PyRef pool = PyRef::share(reinterpret_cast<PyObject*>(future->call.pool));
    if (!pool) return;
    // Where no worker runs it, it ends just now, or begins, and sees the request when it does.
    for (const SlotPtr& slot : slots_of(*reinterpret_cast<PoolObject*>(pool.get())->shared)) {
        if (slot->running.load() == future) start_interruption(slot, future);
    }
}

void interrupt_all(PoolShared& shared) {
    for (const SlotPtr& slot : slots_of(shared)) {
        FutureObject* future = slot->running.load();
        if (future == nullptr) continue;
        future->state.request_stop();
        start_interruption(slot, future);
    }
}

bool isolation_ends() noexcept { return ending.load(); }

bool end_isolation() {
    ending.store(true);
    const auto until = std::chrono::steady_clock::now() + kExitWait;
    bool stuck = false;
    PyThreadState* self = PyEval_SaveThread();
    for (const SlotPtr& slot : all_slots()) {
        std::unique_lock lock(slot->mutex);
        stuck = !slot->quiet.wait_until(lock, until, [&slot] { return slot->gone; }) || stuck;
    }
    PyEval_RestoreThread(self);
    notifier::stop();
    return !stuck && Interpreter::end_all();
}

namespace {

constexpr std::uint64_t kSoonNs = 2'000'000'000;  // within which a fork comes that may be made

std::atomic<std::uint64_t> fork_until{0};  // when the fork that is near is given up; 0: there is none

void expect_fork(std::uint64_t within_ns) { fork_until.store(now_ns() + within_ns); }

// Waits until no isolated call runs. False with a RuntimeError set when the time is over.
bool may_fork() {
    const auto until = std::chrono::steady_clock::now() + kForkWait;
    expect_fork(std::chrono::nanoseconds(kForkWait).count() + kSoonNs);
    std::size_t busy = 0;
    PyThreadState* self = PyEval_SaveThread();
    for (const SlotPtr& slot : all_slots()) {
        if (slot->attached.try_lock_until(until)) {
            slot->attached.unlock();
        } else {
            ++busy;
        }
    }
    Interpreter::end_deserted();
    while (busy == 0 && Interpreter::count_retired() != 0 && std::chrono::steady_clock::now() < until) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        Interpreter::end_deserted();
    }
    PyEval_RestoreThread(self);
    const std::size_t retired = Interpreter::count_retired();
    expect_fork(kSoonNs);
    if (busy == 0 && retired == 0) return true;
    fork_until.store(0);
    if (busy != 0) {
        PyErr_Format(
            PyExc_RuntimeError,
            "cannot fork: %zu isolated calls have been running for more than %d s, and a child would not survive "
            "their interpreters; wait for them, or start processes with the 'spawn' method",
            busy, static_cast<int>(kForkWait.count()));
    } else {
        PyErr_Format(
            PyExc_RuntimeError,
            "cannot fork: threads that isolated calls have started run on in %zu interpreters; end them in the "
            "call, or start processes with the 'spawn' method",
            retired);
    }
    return false;
}

// True where subprocess.Popen, in whose frame this is called, is about to fork as os.fork does.
bool has_preexec() {
    PyObject* locals = PyEval_GetLocals();
    if (locals == nullptr) {
        PyErr_Clear();
        return false;
    }
    const PyRef function = PyRef::steal(PyMapping_GetItemString(locals, "preexec_fn"));
    if (!function) PyErr_Clear();
    return function && function.get() != Py_None;
}

int on_audit(const char* event, PyObject* /*args*/, void* /*unused*/) {
    const bool spawns = std::strcmp(event, "subprocess.Popen") == 0;
    if (!spawns && std::strcmp(event, "os.fork") != 0 && std::strcmp(event, "os.forkpty") != 0) return 0;
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) return 0;
    if (spawns && !has_preexec()) return 0;
    return may_fork() ? 0 : -1;
}

}  // namespace

bool guard_forks() {
    static std::atomic<bool> guarded{false};
    if (guarded.exchange(true)) return true;
    ForkGuard::add([] { slots().mutex.lock(); }, [] { slots().mutex.unlock(); });
    return PySys_AddAuditHook(on_audit, nullptr) == 0;
}

bool fork_is_near() noexcept {
    const std::uint64_t until = fork_until.load(std::memory_order_relaxed);
    return until != 0 && now_ns() < until;
}

void wait_for_fork() noexcept {
    while (fork_is_near()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

void before_fork_isolated() {
    expect_fork(std::chrono::nanoseconds(kForkWait).count());
    Slots& known = slots();
    known.held = all_slots();
    PyThreadState* self = PyEval_SaveThread();
    for (const SlotPtr& slot : known.held) {
        if (!slot->attached.try_lock_for(kForkWait)) continue;
        slot->fork_holds = true;
        if (slot->interpreter == nullptr) continue;
        {
            const std::lock_guard lock(slot->mutex);
            slot->open = nullptr;
            slot->gone = true;
        }
        {
            std::unique_lock lock(slot->mutex);
            slot->quiet.wait(lock, [&slot] { return slot->interrupters == 0; });
        }
        // The idle worker's thread state must go first: an interpreter ends with its last one.
        PyThreadState* state = Interpreter::enter(slot->interpreter->state());
        PyThreadState_Clear(slot->state);
        PyThreadState_Delete(std::exchange(slot->state, nullptr));
        Interpreter::leave(state);
        Interpreter::end(std::move(slot->interpreter));
    }
    Interpreter::end_parked();
    PyEval_RestoreThread(self);
}

void after_fork_in_parent_isolated() {
    Slots& known = slots();
    for (const SlotPtr& slot : known.held) {
        if (!std::exchange(slot->fork_holds, false)) continue;
        slot->attached.unlock();
    }
    known.held.clear();
    fork_until.store(0);
}

void after_fork_in_child_isolated() {
    fork_until.store(0);
    notifier::after_fork_in_child();
    Interpreter::forget_after_fork();
    count_early(-static_cast<int>(count_early(0)));
    Slots& known = slots();
    known.held.clear();
    known.all.clear();
    for (const auto& pool : all_pools()) {
        if (pool->isolated == nullptr) continue;
        new (&pool->isolated->mutex) std::mutex();  // a worker of the parent may have held it
        pool->isolated->slots.clear();
        pool->isolated->finished_by_gone = 0;
    }
}

}  // namespace pyferris::python
