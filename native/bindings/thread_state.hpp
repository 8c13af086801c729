// How native threads get their Python thread state: on 3.11, never while the process forks.
//
// Making one takes a lock of the runtime's, without the GIL. A forked child of 3.11 needs that lock before CPython has
// made it anew: where another thread held it just then, the child waits for ever.
#pragma once

#include "py_ref.hpp"

namespace pyferris::python {

/// A new state of the calling thread, which is not attached to `interpreter`. Any thread.
PyThreadState* new_thread_state(PyInterpreterState* interpreter);

}  // namespace pyferris::python
