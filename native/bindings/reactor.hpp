// The reactor's Python side: wakes loops by `loop.call_soon_threadsafe`, one call a batch and loop.
#pragma once

#include <memory>

#include "py_ref.hpp"
#include "pyferris/completion_queue.hpp"

namespace pyferris::python {

/// A waker that has the reactor thread schedule `drain` on `loop`. Starts the thread when it is first needed. Attached;
/// null with an error set.
std::shared_ptr<LoopWaker> connect_to_reactor(PyObject* loop, PyObject* drain);

}  // namespace pyferris::python
