// What `isolation="auto"` steers a running map by, and what it goes by.
#include <algorithm>
#include <chrono>
#include <thread>

#include "map_reader.hpp"
#include "py_compat.hpp"

namespace pyferris::python {

// `_widen(lanes)`
PyObject* map_widen(PyObject* self, PyObject* lanes) {
    const std::size_t count = PyLong_AsSize_t(lanes);
    const std::shared_ptr<MapRun> run = run_of(as_map(self));
    if (run == nullptr || PyErr_Occurred() != nullptr) return nullptr;
    run->widen(count);
    Py_RETURN_NONE;
}

// `_run_by(batch or None)`
PyObject* map_run_by(PyObject* self, PyObject* batch) {
    const std::shared_ptr<MapRun> run = run_of(as_map(self));
    if (run == nullptr) return nullptr;
    run->run_by(batch == Py_None ? nullptr : batch);
    Py_RETURN_NONE;
}

// `_samples()`: (index, nanoseconds) of some of the first items.
PyObject* map_samples(PyObject* self, PyObject* /*unused*/) {
    const std::shared_ptr<MapRun> run = run_of(as_map(self));
    if (run == nullptr) return nullptr;
    PyRef list = PyRef::steal(PyList_New(0));
    for (const auto& [index, took] : run->samples()) {
        const PyRef pair = PyRef::steal(
            Py_BuildValue("KK", static_cast<unsigned long long>(index), static_cast<unsigned long long>(took)));
        if (!list || !pair || PyList_Append(list.get(), pair.get()) != 0) return nullptr;
    }
    return list.release();
}

namespace {

constexpr std::uint64_t kLookEveryNs = 100'000;  // whether there is still something to wait for

// `gil_delay(seconds, future=None)`: lets others run for so long, or until the future is done; then how many seconds it
// took to have the interpreter back. As long as the switch interval, or longer, where somebody computes in it.
PyObject* gil_delay(PyObject* /*module*/, PyObject* args) {
    double pause = 0;
    PyObject* future = nullptr;
    if (PyArg_ParseTuple(args, "d|O!", &pause, module_state().future_core, &future) == 0) return nullptr;
    PyThreadState* self = PyEval_SaveThread();
    const std::uint64_t end = now_ns() + static_cast<std::uint64_t>(pause * 1e9);
    for (std::uint64_t now = now_ns(); now < end; now = now_ns()) {
        if (future != nullptr && as_future(future)->state.is_final()) break;
        std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(kLookEveryNs, end - now)));
    }
    const std::uint64_t asked = now_ns();
    PyEval_RestoreThread(self);
    return PyFloat_FromDouble(static_cast<double>(now_ns() - asked) / 1e9);
}

PyMethodDef functions[] = {
    {"gil_delay", gil_delay, METH_VARARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

bool register_map_lanes(PyObject* module) { return PyModule_AddFunctions(module, functions) == 0; }

}  // namespace pyferris::python
