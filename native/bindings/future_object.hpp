// The Python object behind SafeFuture: the task that a pool queues and the future it completes, in one piece.
//
// Who may touch what:
//   state         any thread; see future_state.hpp
//   call          the submitter until the task is queued, then whoever claimed it; emptied before the outcome is
//                 published, or by whoever cancelled it
//   value, traceback   written by the one who won `begin_complete`, before `publish`; read only in final phases
//   isolated      see isolated_call.hpp; the value is then made by the first reader, by compare-and-swap
//   observers     made once, by compare-and-swap; its fields under the future's condition
// A queued task holds one reference to its future, which `run_future` or `drop_queued` takes over.
#pragma once

#include <functional>
#include <memory>
#include <new>

#include "module_state.hpp"
#include "py_wait.hpp"
#include "pyferris/future_state.hpp"
#include "pyferris/task_queue.hpp"

namespace pyferris::python {

struct PoolObject;
struct IsolatedCall;
struct PoolShared;

/// What pools of Python calls queue: the task of one call, or of one lane of a map (map_run.hpp).
class PyTask : public Task {
  public:
    enum class Kind : std::uint8_t { call, map };
    explicit PyTask(Kind its_kind) noexcept : kind(its_kind) {}
    const Kind kind;
};

/// The task of a call; a member of its future, which is found from it.
class CallTask final : public PyTask {
  public:
    CallTask() noexcept : PyTask(Kind::call) {}
};

/// What is to be called. Owned references, or null once the call was made.
struct Call {
    PyObject* function = nullptr;
    PyObject* args = nullptr;     // a tuple, or the only argument itself where `single` is set
    PyObject* kwargs = nullptr;   // a dict, or null
    PyObject* context = nullptr;  // the submitter's contextvars, shared between calls: run in a copy
    PoolObject* pool = nullptr;   // strong
};

/// What only few futures have, made when first asked for.
struct Observers {
    PyObject* condition = nullptr;    // threading.Condition
    PyObject* waiters = nullptr;      // list: the standard library's waiters
    PyObject* cancel_hook = nullptr;  // called without arguments when a running call is asked to stop
    // Of a coroutine: the thread of its event loop, and the pool whose calls it may wait for. Set before it is shared.
    std::atomic<unsigned long> loop_thread{0};
    std::weak_ptr<PoolShared> loop_pool;
};

struct FutureObject {
    PyObject_HEAD
    FutureState state;
    CallTask task;
    bool single;  // call.args is the only argument
    Call call;
    PyObject* value;      // the result or the exception
    PyObject* traceback;  // of the exception as it was raised; null for a result
    std::atomic<Observers*> observers;
    IsolatedCall* isolated;  // owned; null for a call in this interpreter
};

/// A new pending future of the public class. Null with an error set.
FutureObject* new_future();
inline FutureObject* future_of(CallTask& task) {
    return reinterpret_cast<FutureObject*>(reinterpret_cast<char*>(&task) - offsetof(FutureObject, task));
}
inline FutureObject* as_future(PyObject* object) { return reinterpret_cast<FutureObject*>(object); }
inline PyObject* as_object(FutureObject* future) { return reinterpret_cast<PyObject*>(future); }

// All of these: attached.

/// Completes the future; takes the reference to `value`. False if it is final (or about to be): `value` is dropped.
bool set_result(FutureObject* self, PyObject* value);
bool set_exception(FutureObject* self, PyObject* exception);
/// As the end of a call that this thread claimed: CallCancelled ends it cancelled.
void finish_call(FutureObject* self, PyObject* result, PyObject* exception);
/// Cancels a pending future. `for_pool`: no worker will look at it again, so its waiters are told at once.
bool cancel_pending(FutureObject* self, bool for_pool);
/// A cancelled bare promise is told so (`set_running_or_notify_cancel`): its waiters hear of it. True for the first.
bool tell_cancelled(FutureObject* self);
/// Ends a pending or running future as cancelled. False if it is final.
bool end_cancelled(FutureObject* self);
/// `Future.cancel()`: cancels a queued call, asks a running one to stop. 1, 0, or -1 with an error set.
int cancel(FutureObject* self);
/// Publishes an outcome that a thread of another interpreter has left, and tells everybody.
void publish_attached(FutureObject* self, FutureState::Phase phase);
/// The last awaiter left by cancellation: stops the call if nobody else is interested.
void cancel_if_abandoned(FutureObject* self);

/// Runs a claimed call here: enters its context, calls, completes. Attached.
void run_claimed(FutureObject* self);
/// The outcome as a new reference, or null with the error set. Final futures only. `awaited`: raise as `await` does.
PyObject* outcome(FutureObject* self, bool awaited);
/// True on the thread of the event loop that `self` runs on: blocking there would keep it from ever completing.
bool is_on_own_loop(FutureObject* self);
/// `wait_final` for a future that has waiters of its own kind: 1, 0 or -1 as there, 2 where it has none.
int wait_for_coroutine(FutureObject* self, Deadline deadline);
/// 1: final; 0: the time ran out; -1: error set. Runs a queued call itself on a worker of its pool.
int wait_final(FutureObject* self, Deadline deadline);
/// The same of a future that nobody can help, and as long as `waits_on` says so: see `wait_attached_while`.
int wait_final_while(FutureObject* self, Deadline deadline, const std::function<bool()>& waits_on);

void drop_call(FutureObject* self);
Observers* observers_of(FutureObject* self);
/// The future's condition object, made on first use, marked as observed. Borrowed; null with an error set.
PyObject* condition_of(FutureObject* self);
/// The list of the standard library's waiters. Borrowed; null with an error set.
PyObject* waiters_of(FutureObject* self);

/// `fn(future)` when the future is final: at once if it is, else by the completing thread, or, for a function of
/// asyncio's own added on a loop's thread, by that loop. False with an error set.
bool add_callback(FutureObject* self, PyObject* function);
/// How often `function` was taken off. -1 with an error set.
Py_ssize_t remove_callbacks(FutureObject* self, PyObject* function);
/// Visits what the callbacks and awaiters of `self` refer to.
int traverse_continuations(FutureObject* self, visitproc visit, void* arg);
/// Takes off and frees all callbacks, unnotified (garbage collection).
void clear_callbacks(FutureObject* self);

/// The object to iterate for `await future`. Null with an error set.
PyObject* make_awaiter(FutureObject* future);
/// The awaiter that `waiter` belongs to, borrowed; null for a blocked thread.
PyObject* awaiter_in(const Continuation& waiter);

/// The call that this thread is in; null outside of calls. Borrowed.
FutureObject* current_future() noexcept;
/// Makes `future` the thread's current one; returns the one before.
FutureObject* exchange_current_future(FutureObject* future) noexcept;
/// The state of the call that this thread is in, also where the future is another interpreter's; null outside of calls.
FutureState* current_state() noexcept;
/// Makes this a thread that runs a call of another interpreter, or, with null, none any more.
void set_foreign_call(FutureState* state) noexcept;

}  // namespace pyferris::python
