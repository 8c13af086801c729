// The module: pybind11 makes it and holds the table of errors; the types are registered one a file.
#include <pybind11/pybind11.h>

#include "context_scope.hpp"
#include "module_state.hpp"
#include "pyferris/uv_error.hpp"

namespace py = pybind11;

namespace pyferris::python {

namespace {

struct Slot {
    const char* name;
    PyObject* ModuleState::* member;
};

// What `install` must be given, by name.
constexpr Slot kSlots[] = {
    {"pool_closed", &ModuleState::pool_closed},
    {"broken_pool", &ModuleState::broken_pool},
    {"shut_down", &ModuleState::shut_down},
    {"queue_empty", &ModuleState::queue_empty},
    {"queue_full", &ModuleState::queue_full},
    {"cf_cancelled_error", &ModuleState::cf_cancelled_error},
    {"cf_invalid_state_error", &ModuleState::cf_invalid_state_error},
    {"timeout_error", &ModuleState::timeout_error},
    {"condition_type", &ModuleState::condition_type},
    {"report_unretrieved", &ModuleState::report_unretrieved},
    {"report_callback", &ModuleState::report_callback},
    {"report_initializer", &ModuleState::report_initializer},
    {"worker_started", &ModuleState::worker_started},
    {"worker_stopped", &ModuleState::worker_stopped},
    {"reactor_connect", &ModuleState::reactor_connect},
    {"reactor_wake", &ModuleState::reactor_wake},
    {"is_coroutine_function", &ModuleState::is_coroutine_function},
    {"coroutine_call", &ModuleState::coroutine_call},
};

void install(const py::kwargs& given) {
    ModuleState& state = module_state();
    py::dict rest = given.attr("copy")();
    for (const Slot& slot : kSlots) {
        if (!rest.contains(slot.name)) throw py::type_error(std::string("install() misses ") + slot.name);
        Py_XSETREF(state.*slot.member, py::object(rest[slot.name]).release().ptr());
        rest.attr("pop")(slot.name);
    }
    py::object future = rest.attr("pop")("safe_future");
    state.safe_future = reinterpret_cast<PyTypeObject*>(future.release().ptr());
    if (!rest.empty()) throw py::type_error("install() does not know " + std::string(py::str(rest)));
}

// C++ errors that leave pybind11's functions, by type. Hand-written methods set Python's errors themselves.
void translate(std::exception_ptr error) {
    try {
        if (error) std::rethrow_exception(error);
    } catch (const UvError& uv) {
        PyErr_SetString(PyExc_OSError, uv.what());
    }
}

}  // namespace

}  // namespace pyferris::python

PYBIND11_MODULE(_native, module, py::mod_gil_not_used(), py::multiple_interpreters::per_interpreter_gil()) {
    using namespace pyferris::python;  // NOLINT: one function of this namespace after another
    module.doc() = "The native part of pyferris. Use pyferris.safe_thread.";
    const bool registered =
        create_module_state() && learn_context_layout() && register_future(module.ptr()) &&
        register_awaiter(module.ptr()) && register_call_context(module.ptr()) && register_thread_pool(module.ptr()) &&
        register_lock(module.ptr()) && register_map(module.ptr()) && register_rlock(module.ptr()) &&
        register_queue(module.ptr()) && register_counter(module.ptr()) && register_array(module.ptr()) &&
        register_dict(module.ptr()) && register_interpreter(module.ptr()) && register_process(module.ptr()) &&
        register_condition(module.ptr()) && register_shared(module.ptr()) && register_snapshot(module.ptr()) &&
        register_wire(module.ptr());
    if (!registered) throw py::error_already_set();
    py::register_local_exception_translator(translate);
    module.def("install", &install, "Gives the native code the Python objects it needs. Once, by the package.");
}
