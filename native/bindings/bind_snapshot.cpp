// Whether dicts and classes hold what they held: the same objects under the same names, in the same order.
//
// For `auto`, which looks at each function of a module, each time that one of them is used: that takes a millisecond,
// and this some microseconds. No code of those objects runs.
#include "module_state.hpp"
#include "py_compat.hpp"
#include "py_ref.hpp"

namespace pyferris::python {

namespace {

// The dict of a class or the dict itself: a new reference. Null without an error for anything else.
PyRef dict_of(PyObject* holder) {
    if (PyDict_Check(holder)) return PyRef::share(holder);
    if (!PyType_Check(holder)) return PyRef();
#if PY_VERSION_HEX >= 0x030C0000
    return PyRef::steal(PyType_GetDict(reinterpret_cast<PyTypeObject*>(holder)));
#else
    return PyRef::share(reinterpret_cast<PyTypeObject*>(holder)->tp_dict);
#endif
}

// Its keys and values, one after the other: in one piece, as it is mostly looked at when nothing of it is in a cache.
PyRef contents_of(PyObject* dict) {
    PyRef contents = PyRef::steal(PyTuple_New(2 * PyDict_GET_SIZE(dict)));
    Py_ssize_t position = 0;
    Py_ssize_t count = 0;
    PyObject *key = nullptr, *value = nullptr;
    while (contents && PyDict_Next(dict, &position, &key, &value) != 0) {
        PyTuple_SET_ITEM(contents.get(), count++, Py_NewRef(key));
        PyTuple_SET_ITEM(contents.get(), count++, Py_NewRef(value));
    }
    return contents;
}

// `take_snapshot(holders)`: of dicts and classes, for `is_unchanged`.
PyObject* take_snapshot(PyObject* /*module*/, PyObject* holders) {
    PyRef list = PyRef::steal(PyList_New(0));
    for (Py_ssize_t i = 0; list && i < PySequence_Size(holders); ++i) {
        const PyRef holder = PyRef::steal(PySequence_GetItem(holders, i));
        if (!holder) return nullptr;
        const PyRef dict = dict_of(holder.get());
        if (!dict) return PyErr_Format(PyExc_TypeError, "a snapshot is of dicts and classes, not of %R", holder.get());
        PyRef contents;
        PYFERRIS_BEGIN_CRITICAL_SECTION(dict.get());
        contents = contents_of(dict.get());
        PYFERRIS_END_CRITICAL_SECTION();
        const PyRef entry = PyRef::steal(contents ? PyTuple_Pack(2, holder.get(), contents.get()) : nullptr);
        if (!entry || PyList_Append(list.get(), entry.get()) != 0) return nullptr;
    }
    return list.release();
}

bool holds(PyObject* dict, PyObject* contents) {
    Py_ssize_t position = 0;
    Py_ssize_t count = 0;
    PyObject *key = nullptr, *value = nullptr;
    if (2 * PyDict_GET_SIZE(dict) != PyTuple_GET_SIZE(contents)) return false;
    while (PyDict_Next(dict, &position, &key, &value) != 0) {
        if (PyTuple_GET_ITEM(contents, count++) != key || PyTuple_GET_ITEM(contents, count++) != value) return false;
    }
    return true;
}

// `is_unchanged(snapshot)`
PyObject* is_unchanged(PyObject* /*module*/, PyObject* snapshot) {
    if (!PyList_CheckExact(snapshot)) return PyErr_Format(PyExc_TypeError, "this is no snapshot: %R", snapshot);
    bool same = true;
    for (Py_ssize_t i = 0; same && i < PyList_GET_SIZE(snapshot); ++i) {
        PyObject* entry = PyList_GET_ITEM(snapshot, i);
        const PyRef dict = dict_of(PyTuple_GET_ITEM(entry, 0));
        PYFERRIS_BEGIN_CRITICAL_SECTION(dict.get());
        same = holds(dict.get(), PyTuple_GET_ITEM(entry, 1));
        PYFERRIS_END_CRITICAL_SECTION();
    }
    return PyBool_FromLong(same ? 1 : 0);
}

PyMethodDef functions[] = {
    {"take_snapshot", take_snapshot, METH_O, nullptr},
    {"is_unchanged", is_unchanged, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

bool register_snapshot(PyObject* module) { return PyModule_AddFunctions(module, functions) == 0; }

}  // namespace pyferris::python
