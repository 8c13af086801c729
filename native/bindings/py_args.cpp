#include "py_args.hpp"

namespace pyferris::python {

bool parse_optional(PyObject* const* args, Py_ssize_t count, PyObject* names, const char* method, const char* name,
                    PyObject** value) {
    const Py_ssize_t keywords = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
    if (count + keywords > 1) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most 1 argument (%zd given)", method, count + keywords);
        return false;
    }
    if (count == 1) *value = args[0];
    if (keywords == 1) {
        PyObject* given = PyTuple_GET_ITEM(names, 0);
        if (PyUnicode_CompareWithASCIIString(given, name) != 0) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'; it takes '%s'", method, given,
                         name);
            return false;
        }
        *value = args[count];
    }
    return true;
}

bool parse_required(PyObject* const* args, Py_ssize_t count, PyObject* names, const char* method, const char* name,
                    PyObject** value) {
    *value = nullptr;
    if (!parse_optional(args, count, names, method, name, value)) return false;
    if (*value == nullptr) PyErr_Format(PyExc_TypeError, "%s() misses its argument '%s'", method, name);
    return *value != nullptr;
}

bool parse_several(PyObject* const* args, Py_ssize_t count, PyObject* names, const char* method,
                   const char* const* keys, Py_ssize_t most, PyObject** values) {
    const Py_ssize_t keywords = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
    if (count + keywords > most) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %zd arguments (%zd given)", method, most, count + keywords);
        return false;
    }
    for (Py_ssize_t i = 0; i < count; ++i) values[i] = args[i];
    for (Py_ssize_t i = 0; i < keywords; ++i) {
        PyObject* name = PyTuple_GET_ITEM(names, i);
        Py_ssize_t slot = 0;
        while (slot < most && PyUnicode_CompareWithASCIIString(name, keys[slot]) != 0) ++slot;
        if (slot == most) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", method, name);
            return false;
        }
        if (slot < count) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", method, name);
            return false;
        }
        values[slot] = args[count + i];
    }
    return true;
}

bool read_text(PyObject* text, std::string* result) {
    const PyRef bytes = PyRef::steal(PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass"));
    if (!bytes) return false;
    result->assign(PyBytes_AS_STRING(bytes.get()), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes.get())));
    return true;
}

PyObject* make_text(const std::string& text) {
    return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "surrogatepass");
}

}  // namespace pyferris::python
