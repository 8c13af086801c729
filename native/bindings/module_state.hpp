// What the module keeps per interpreter, and how the hand-written types register themselves.
#pragma once

#include <atomic>

#include "py_ref.hpp"
#include "shared_state.hpp"

namespace pyferris::python {

/// What native code needs of asyncio.
struct AsyncioNames {
    PyObject* cancelled_error;
    PyObject* get_running_loop;
    PyObject* peek_running_loop;  // _get_running_loop: None where none runs
};

/// How far an interpreter is that ends.
enum class Exit {
    no,
    draining,  // its pools' calls are waited for: only these make pools
    drained,   // a new pool would run nothing
};

/// Python objects that native code needs, given once by the package through `_native.install` (plus the types made
/// here). One per interpreter; lives as long as it.
struct ModuleState {
    // Native types.
    PyTypeObject* future_core = nullptr;
    PyTypeObject* awaiter = nullptr;
    PyObject* call_cancelled = nullptr;  // pyferris.errors.CallCancelled
    PyTypeObject* pool_core = nullptr;
    PyTypeObject* shared_types[kSharedKinds] = {};  // by SharedKind
    PyObject* attach = nullptr;                     // _native._attach
    PyObject* shared_encode = nullptr;              // (object, what) -> bytes; null: pickle
    PyObject* shared_decode = nullptr;              // (bytes) -> object
    PyObject* pickle_dumps = nullptr;               // pickle.dumps and loads, once they were needed
    PyObject* pickle_loads = nullptr;
    // Given by the package.
    PyTypeObject* safe_future = nullptr;  // pyferris.future.SafeFuture
    PyObject* pool_closed = nullptr;      // exception classes, from pyferris.errors
    PyObject* broken_pool = nullptr;
    PyObject* shut_down = nullptr;           // queue.ShutDown or the package's own
    PyObject* queue_empty = nullptr;         // queue.Empty
    PyObject* queue_full = nullptr;          // queue.Full
    PyObject* cf_cancelled_error = nullptr;  // concurrent.futures.CancelledError
    PyObject* cf_invalid_state_error = nullptr;
    PyObject* timeout_error = nullptr;          // concurrent.futures.TimeoutError (TimeoutError from 3.11 on)
    PyObject* condition_type = nullptr;         // threading.Condition
    PyObject* report_unretrieved = nullptr;     // (exception) -> None
    PyObject* report_callback = nullptr;        // (future, callback, exception) -> None
    PyObject* report_initializer = nullptr;     // (exception) -> None
    PyObject* worker_started = nullptr;         // (name, daemon) -> threading.Thread, registered
    PyObject* worker_stopped = nullptr;         // (thread) -> None
    PyObject* reactor_connect = nullptr;        // (loop, drain) -> reference for reactor_wake
    PyObject* reactor_wake = nullptr;           // (reference) -> bool: False if that loop is gone
    PyObject* is_coroutine_function = nullptr;  // (callable) -> bool
    PyObject* coroutine_call = nullptr;         // ContextVar: the future of the coroutine whose context it is, or None
    // Given where isolation is first used.
    PyObject* ship = nullptr;              // pyferris._shipping.ship
    PyObject* missing = nullptr;           // pyferris._shipping.MISSING
    PyObject* wire_dumps = nullptr;        // pyferris._wire.dumps
    PyObject* wire_loads = nullptr;        // pyferris._wire.loads
    PyObject* wire_loads_error = nullptr;  // pyferris._wire.loads_error
    PyObject* deliver = nullptr;           // (kind, payload, output, context) -> None
    PyObject* answer = nullptr;            // (kind, payload) -> bytes
    PyObject* sys_namespace = nullptr;     // borrowed
    PyObject* stdout_name = nullptr;
    PyObject* stderr_name = nullptr;
    PyObject* output = nullptr;      // the last submit's (sys.stdout, sys.stderr); taken out to be looked at
    bool output_is_current = false;  // nothing in `sys` has changed since, see watch_output()

    std::atomic<const AsyncioNames*> asyncio{nullptr};  // see need_asyncio()

    std::atomic<Exit> exit{Exit::no};
};

/// This interpreter's state. Attached threads only. Never null after the module was imported.
ModuleState& module_state();

/// Of this interpreter; asyncio is imported when it is first needed, which programs without event loops are spared.
/// Null with an error set. Attached threads only.
const AsyncioNames* need_asyncio();

/// Makes the state of this interpreter (module initialisation). False with an error set.
bool create_module_state();

/// Makes a type from `spec`, adds it to `module` under its short name and returns it, owned by the module; null with
/// an error set.
PyTypeObject* add_type(PyObject* module, PyType_Spec* spec);
/// The same for the type of a kind of shared data, which unpickling makes objects of.
bool add_shared_type(PyObject* module, PyType_Spec* spec, SharedKind kind);

// One function a hand-written type, in the file of the same name (bind_<name>.cpp). False with an error set.
bool register_future(PyObject* module);
bool register_awaiter(PyObject* module);
bool register_call_context(PyObject* module);
bool register_thread_pool(PyObject* module);
bool register_map(PyObject* module);
bool register_map_lanes(PyObject* module);
bool register_snapshot(PyObject* module);
bool register_lock(PyObject* module);
bool register_rlock(PyObject* module);
bool register_queue(PyObject* module);
bool register_counter(PyObject* module);
bool register_array(PyObject* module);
bool register_dict(PyObject* module);
bool register_interpreter(PyObject* module);
bool register_process(PyObject* module);
bool register_condition(PyObject* module);
bool register_shared(PyObject* module);
bool register_wire(PyObject* module);

}  // namespace pyferris::python
