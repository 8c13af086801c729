// What a call has that runs in an interpreter of its own, beside its future.
//
//   submitted --claimed by a worker--> running --> outcome encoded --published--> final --first reader--> decoded
//
// Who may touch what:
//   code, arguments     the submitter until it is queued, then whoever claimed it, who empties them
//   context, streams    objects of the main interpreter: attached to it only
//   outcome             the worker, before it publishes; then readers attached to the main interpreter
// A worker has no GIL of the main interpreter, so it cannot count references: the queue's reference to the future goes
// to the notifier when the call is over.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "future_object.hpp"
#include "wire.hpp"

namespace pyferris::python {

struct PoolShared;

/// A function in bytes; the same bytes are the same shipment.
struct Shipment {
    std::uint64_t number;
    std::string blob;
    std::vector<std::shared_ptr<void>> handles;
    std::string name;  // for messages
};

struct IsolatedCall {
    std::shared_ptr<const Shipment> code;
    Message arguments;  // a tuple; with `has_keywords`, (tuple, dict)
    Message outcome;    // the result, or the error
    bool has_keywords = false;
    bool is_batch = false;             // the arguments are (items, single, fail_fast), for `_worker.call_each`
    bool has_spoken = false;           // something of it is on its way to the notifier
    PyObject* output = nullptr;        // strong: the submitter's (sys.stdout, sys.stderr)
    std::atomic<int> readers{0};       // that look at the outcome now
    std::atomic<bool> cleared{false};  // the outcome was decoded, and dropped

    IsolatedCall() = default;
    IsolatedCall(const IsolatedCall&) = delete;
    IsolatedCall& operator=(const IsolatedCall&) = delete;

    // Made and deleted attached to the main interpreter, whose memory for small objects is the faster one.
    static void* operator new(std::size_t size) {
        void* memory = PyMem_Malloc(size);
        if (memory == nullptr) throw std::bad_alloc();
        return memory;
    }
    static void operator delete(void* memory) noexcept { PyMem_Free(memory); }
};

/// Counts a queued or running call of the pool in (1) or out (-1). A batch is not one: its map's items are.
void count_call(PoolShared& shared, const FutureObject* future, int change) noexcept;

/// Decodes the outcome of a final isolated call, unless somebody has. Attached to the main interpreter; the future has
/// a value afterwards.
void materialize(FutureObject* future);

enum class Ending : std::uint8_t { returned, failed, cancelled };

/// Ends a call that this thread claimed, from a thread without the main interpreter's GIL. `outcome` is the encoded
/// result or error. Takes the queue's reference to the future over.
void finish_isolated(FutureObject* future, Message outcome, Ending ending);

}  // namespace pyferris::python
