// How native threads get their Python thread state: never while the process forks.
//
// Making one takes a lock of the runtime's, without the GIL. A forked child needs that lock at once, before CPython has
// made it anew (3.11): where another thread held it just then, the child waits for ever.
#pragma once

#include "py_ref.hpp"

namespace pyferris::python {

/// A new state of the calling thread, which is not attached to `interpreter`. Any thread.
PyThreadState* new_thread_state(PyInterpreterState* interpreter);

}  // namespace pyferris::python
