// How shared data comes to other interpreters: `_attach`, which unpickling calls, and what elements are encoded with.
#include <cstring>

#include "module_state.hpp"
#include "shared_state.hpp"

namespace pyferris::python {

namespace {

constexpr AttachFunction kAttach[kSharedKinds] = {attach_counter, attach_array, attach_queue,    attach_dict,
                                                  attach_lock,    attach_rlock, attach_condition};

bool read_kind(const char* name, SharedKind* kind) {
    for (std::size_t i = 0; i < kSharedKinds; ++i) {
        *kind = static_cast<SharedKind>(i);
        if (std::strcmp(name, name_of(*kind)) == 0) return true;
    }
    PyErr_Format(PyExc_ValueError, "no kind of shared data is called %.100s", name);
    return false;
}

PyObject* attach(PyObject* /*module*/, PyObject* args) {
    const char* name = nullptr;
    long long process = 0;
    unsigned long long token = 0;
    unsigned long long number = 0;
    PyObject* given = nullptr;
    if (PyArg_ParseTuple(args, "sLKK|O:_attach", &name, &process, &token, &number, &given) == 0) return nullptr;
    SharedKind kind{};
    if (!read_kind(name, &kind)) return nullptr;
    const auto index = static_cast<std::size_t>(kind);
    PyTypeObject* type = module_state().shared_types[index];
    if (given != nullptr) {
        if (PyType_Check(given) == 0 || PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(given), type) == 0) {
            return PyErr_Format(PyExc_TypeError, "%R is no subclass of %s", given, name);
        }
        type = reinterpret_cast<PyTypeObject*>(given);
    }
    std::shared_ptr<SharedState> state = find_state(kind, process, token, number);
    return state == nullptr ? nullptr : kAttach[index](type, std::move(state));
}

PyObject* set_codec(PyObject* /*module*/, PyObject* args) {
    PyObject* encode = nullptr;
    PyObject* decode = nullptr;
    if (PyArg_ParseTuple(args, "OO:set_shared_codec", &encode, &decode) == 0) return nullptr;
    ModuleState& module = module_state();
    Py_XSETREF(module.shared_encode, encode == Py_None ? nullptr : Py_NewRef(encode));
    Py_XSETREF(module.shared_decode, decode == Py_None ? nullptr : Py_NewRef(decode));
    Py_RETURN_NONE;
}

PyObject* refuse(PyObject* /*module*/, PyObject* on) {
    const int truth = PyObject_IsTrue(on);
    return truth < 0 ? nullptr : PyBool_FromLong(refuse_handles(truth == 1) ? 1 : 0);
}

PyMethodDef functions[] = {
    {"_attach", attach, METH_VARARGS,
     "_attach($module, kind, process, token, number, cls=..., /)\n--\n\n"
     "The object of a pickled handle: on the same native state as the one that was pickled."},
    {"set_shared_codec", set_codec, METH_VARARGS,
     "set_shared_codec($module, encode, decode, /)\n--\n\n"
     "What this interpreter turns the elements of shared containers into bytes with: encode(object, what) and\n"
     "decode(bytes). None: pickle."},
    {"refuse_handles", refuse, METH_O,
     "refuse_handles($module, on, /)\n--\n\n"
     "While on, this thread cannot pickle shared data: a TypeError that it cannot go to another process. Returns what\n"
     "it was before."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

bool register_shared(PyObject* module) {
    if (PyModule_AddFunctions(module, functions) != 0) return false;
    module_state().attach = PyObject_GetAttrString(module, "_attach");
    return module_state().attach != nullptr;
}

}  // namespace pyferris::python
