// What a worker interpreter says to the main one, and asks of it. Both go through the notifier, whose thread is
// attached to the main interpreter: no worker ever is.
#pragma once

#include "worker_slots.hpp"

namespace pyferris::python {

// New references, for `_worker.enter`; null with an error set. Attached to the worker's interpreter.

/// `send(kind, payload)`: `payload` goes home (`pyferris._environment.deliver`), on behalf of the call that runs, or of
/// none. Kind 0: something is buffered, `flush` is due at the end of the call.
PyObject* make_sender(const std::shared_ptr<WorkerSlot>& slot);
/// `request(kind, payload, timeout)`: what the main interpreter answers (`pyferris._environment.answer`) within
/// `timeout` seconds; TimeoutError.
PyObject* make_requester();

}  // namespace pyferris::python
