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

PyObject* item_of(PyObject* items, Py_ssize_t index) {
#ifndef Py_GIL_DISABLED
    if (PyList_CheckExact(items) && index < PyList_GET_SIZE(items)) return Py_NewRef(PyList_GET_ITEM(items, index));
#endif
    return PySequence_GetItem(items, index);
}

// `extend_by(results, function, items, end)`: appends `function(items[i])` for each i from len(results) to `end`, or to
// the end of the items, which another thread may change.
PyObject* extend_by(PyObject* /*module*/, PyObject* args) {
    PyObject* results = nullptr;
    PyObject* function = nullptr;
    PyObject* items = nullptr;
    Py_ssize_t end = 0;
    if (PyArg_ParseTuple(args, "O!OOn", &PyList_Type, &results, &function, &items, &end) == 0) return nullptr;
    const vectorcallfunc call = PyVectorcall_Function(function);
    for (Py_ssize_t i = PyList_GET_SIZE(results); i < end; ++i) {
        const PyRef item = PyRef::steal(item_of(items, i));
        if (!item && PyErr_ExceptionMatches(PyExc_IndexError) != 0) {
            PyErr_Clear();
            break;
        }
        if (!item) return nullptr;
        PyObject* given[2] = {nullptr, item.get()};  // room for a self, as the flag promises
        const PyRef result =
            PyRef::steal(call != nullptr ? call(function, given + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr)
                                         : PyObject_CallOneArg(function, item.get()));
        if (!result || PyList_Append(results, result.get()) != 0) return nullptr;
    }
    Py_RETURN_NONE;
}

PyMethodDef functions[] = {
    {"extend_by", extend_by, METH_VARARGS, nullptr},
    {"gil_delay", gil_delay, METH_VARARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

bool register_map_lanes(PyObject* module) { return PyModule_AddFunctions(module, functions) == 0; }

}  // namespace pyferris::python
