// What others may touch of a worker that runs calls in an interpreter of its own: who cancels a running call, who
// forks, who ends the process.
//
// A running call is stopped by an exception that is raised in it from outside (`interrupt`), on a thread that attaches
// to the worker's interpreter for that. A call that does not end (blocked in C code) is given up: its future ends
// cancelled, its pool goes on with another worker.
//
// No interpreter survives a fork in the child, and the child does not survive them: the idle ones are ended before, and
// while calls run a fork waits, then fails. None may be left when the process ends, either.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "interpreter.hpp"
#include "isolated_call.hpp"
#include "pool_object.hpp"

namespace pyferris::python {

struct WorkerSlot {
    std::timed_mutex attached;  // held by the worker while it is attached; by a fork, so that it stays idle

    // Of the one who holds `attached`.
    std::unique_ptr<Interpreter> interpreter;
    PyThreadState* state = nullptr;  // of the worker's thread, in it
    bool has_buffered = false;       // something printed waits for `flush`; attached threads of the interpreter
    bool fork_holds = false;         // `attached` is held by a fork

    std::atomic<FutureObject*> running{nullptr};  // changed by the worker, attached
    std::atomic<std::uint64_t> calls{0};          // begun so far: tells one call from the next
    std::atomic<std::int64_t> finished{0};        // calls, but batches; changed by the worker

    std::atomic<long> thread{0};  // the worker's, and where it was seen when it began to compute; -1: it does not.
    std::atomic<int> core{-1};    // Changed by the worker

    std::atomic<bool> said_aside{false};  // something was sent home outside of calls
    std::atomic<bool> told{false};  // CallCancelled was raised in the call that runs; changed attached to `interpreter`

    // Set once, before the worker's thread is there.
    const WorkerDriver* driver = nullptr;
    std::weak_ptr<PoolShared> pool;

    std::mutex mutex;  // guards all below
    std::condition_variable quiet;
    PyInterpreterState* open = nullptr;  // whom interrupters may attach to
    unsigned long ident = 0;             // of the worker's thread
    int interrupters = 0;
    bool gone = true;  // the worker has no interpreter, and makes none
};

/// Has forks and the exit know of a worker. Any thread.
void remember_slot(const std::shared_ptr<WorkerSlot>& slot);

// All of these: attached to the main interpreter.

/// A running call of this future was asked to stop: raises CallCancelled in it.
void interrupt_isolated(FutureObject* future);
/// The same for all running calls of a pool, which are asked to stop first.
void interrupt_all(PoolShared& shared);

/// At exit: the pools were closed, and what they run was asked to stop. Ends the interpreters. False: a call could not
/// be stopped, so that the process must end without ending them (`_exit`).
bool end_isolation();
/// True from then on: no worker may make an interpreter any more. Any thread.
bool isolation_ends() noexcept;

/// Has every fork wait until no isolated call runs, and fail when that takes too long. Once; false with an error set.
bool guard_forks();
/// True while a fork waits for calls to end, or is being made: a worker must not begin another, nor make an
/// interpreter.
bool fork_is_near() noexcept;
/// Returns when no fork is near. A worker's thread, detached, which holds nothing.
void wait_for_fork() noexcept;
/// Ends the interpreters of idle workers and the parked ones.
void before_fork_isolated();
void after_fork_in_parent_isolated();
void after_fork_in_child_isolated();

}  // namespace pyferris::python
