// The way from finished calls to one asyncio event loop.
//
// One bridge a loop, made when something is first awaited on it, on the loop's thread. Where the loop can watch file
// descriptors (selector loops, uvloop) the bridge is embedded: the loop watches the backend of a small uv loop of the
// bridge's own. Elsewhere the process-wide reactor thread calls `loop.call_soon_threadsafe`.
//
// Ownership: the loop owns the capsule that its reader callback carries; the capsule owns the bridge's connection, and
// its deallocation, in the loop's `close()`, is the only closer. Awaiters and threads share the bridge itself, which
// outlives the loop as an empty shell. The bridge refers to its loop weakly, so it keeps no loop alive.
#pragma once

#include <atomic>
#include <memory>

#include "py_ref.hpp"
#include "pyferris/completion_queue.hpp"

namespace pyferris::python {

class LoopBridge {
  public:
    explicit LoopBridge(PyObject* loop);
    ~LoopBridge();
    LoopBridge(const LoopBridge&) = delete;
    LoopBridge& operator=(const LoopBridge&) = delete;

    CompletionQueue queue;
    std::unique_ptr<EmbeddedWaker> embedded;  // null: the reactor's
    std::shared_ptr<LoopWaker> reactor;       // null: embedded
    PyObject* const loop;                     // borrowed, for comparison only: valid as long as the queue is open

    /// The end of the loop, or of its reader. Attached; again does nothing.
    void close();
};

/// The bridge of `loop`, which runs on this thread. Null with an error set.
std::shared_ptr<LoopBridge> bridge_of(PyObject* loop);

/// Hands `item` (an AwaiterObject, whose reference is taken over) to the loop and sees to its wake-up. Attached, or on
/// a worker of another interpreter.
void deliver(const std::shared_ptr<LoopBridge>& bridge, PyObject* item);

/// Makes loops that are met from now on use the reactor (tests; also PYFERRIS_LOOP_BRIDGE=reactor).
void force_reactor(bool on);
/// In a forked child: bridges of the parent's loops are cut off without a word to the parent.
void abandon_bridges_after_fork();
/// Stops the reactor thread, if there is one. At exit and before a fork; attached.
void stop_reactor();

/// Takes a delivered item on its loop's thread; its reference is taken over. False with an error set that must end
/// the drain (KeyboardInterrupt, SystemExit).
bool resume_awaiter(PyObject* item);

}  // namespace pyferris::python
