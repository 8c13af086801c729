#include "module_state.hpp"

#include <cstdint>
#include <cstring>
#include <memory>

namespace pyferris::python {

namespace {

constexpr const char* kKey = "pyferris._native state";

struct Cached {
    std::int64_t interpreter = -1;
    ModuleState* state = nullptr;
};
// A thread may attach to several interpreters in turn; ids are never used again.
thread_local Cached cached;

ModuleState* look_up(PyInterpreterState* interpreter) {
    PyObject* dict = PyInterpreterState_GetDict(interpreter);
    PyObject* capsule = dict == nullptr ? nullptr : PyDict_GetItemString(dict, kKey);
    return capsule == nullptr ? nullptr : static_cast<ModuleState*>(PyCapsule_GetPointer(capsule, kKey));
}

}  // namespace

ModuleState& module_state() {
    PyInterpreterState* interpreter = PyInterpreterState_Get();
    const std::int64_t id = PyInterpreterState_GetID(interpreter);
    if (cached.interpreter != id) {
        cached.state = look_up(interpreter);
        cached.interpreter = id;
    }
    return *cached.state;
}

const AsyncioNames* need_asyncio() {
    std::atomic<const AsyncioNames*>& place = module_state().asyncio;
    const AsyncioNames* names = place.load(std::memory_order_acquire);
    if (names != nullptr) return names;
    const PyRef asyncio = PyRef::steal(PyImport_ImportModule("asyncio"));
    if (!asyncio) return nullptr;
    PyRef cancelled = PyRef::steal(PyObject_GetAttrString(asyncio.get(), "CancelledError"));
    if (!cancelled) return nullptr;
    PyRef get = PyRef::steal(PyObject_GetAttrString(asyncio.get(), "get_running_loop"));
    if (!get) return nullptr;
    PyRef peek = PyRef::steal(PyObject_GetAttrString(asyncio.get(), "_get_running_loop"));
    if (!peek) return nullptr;
    auto made = std::make_unique<AsyncioNames>(cancelled.get(), get.get(), peek.get());
    if (!place.compare_exchange_strong(names, made.get(), std::memory_order_acq_rel)) return names;
    cancelled.release();  // as long as the interpreter lives
    get.release();
    peek.release();
    return made.release();
}

bool create_module_state() {
    PyInterpreterState* interpreter = PyInterpreterState_Get();
    if (look_up(interpreter) != nullptr) return true;
    PyObject* dict = PyInterpreterState_GetDict(interpreter);
    if (dict == nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "this interpreter has no dict for extension state");
        return false;
    }
    // Lives until the interpreter's dict goes, which is after everything that could use it.
    auto* state = new ModuleState();
    PyRef capsule = PyRef::steal(PyCapsule_New(
        state, kKey, [](PyObject* self) { delete static_cast<ModuleState*>(PyCapsule_GetPointer(self, kKey)); }));
    if (!capsule) {
        delete state;
        return false;
    }
    if (PyDict_SetItemString(dict, kKey, capsule.get()) != 0) return false;
    cached = Cached{PyInterpreterState_GetID(interpreter), state};
    return true;
}

PyTypeObject* add_type(PyObject* module, PyType_Spec* spec) {
    PyObject* type = PyType_FromModuleAndSpec(module, spec, nullptr);
    if (type == nullptr) return nullptr;
    const char* dot = std::strrchr(spec->name, '.');
    const int failed = PyModule_AddObjectRef(module, dot != nullptr ? dot + 1 : spec->name, type);
    Py_DECREF(type);  // the module holds it
    return failed == 0 ? reinterpret_cast<PyTypeObject*>(type) : nullptr;
}

bool add_shared_type(PyObject* module, PyType_Spec* spec, SharedKind kind) {
    PyTypeObject* type = add_type(module, spec);
    module_state().shared_types[static_cast<std::size_t>(kind)] = type;
    return type != nullptr;
}

}  // namespace pyferris::python
