#include "type_support.hpp"

#include <cstring>

#include "py_compat.hpp"

namespace pyferris::python {

namespace {

// The index of the parameter called `name`, or `most`.
std::size_t position_of(PyObject* name, const char* const* names, std::size_t most) {
    std::size_t i = 0;
    while (i < most && PyUnicode_CompareWithASCIIString(name, names[i]) != 0) ++i;
    return i;
}

}  // namespace

const char* short_name(PyTypeObject* type) {
    // A native type's name begins with its module, a Python class's does not.
    const char* dot = std::strrchr(type->tp_name, '.');
    return dot != nullptr ? dot + 1 : type->tp_name;
}

bool read_arguments(const char* function, const char* const* names, std::size_t most, std::size_t required,
                    PyObject* const* args, Py_ssize_t count, PyObject* keywords, PyObject** values) {
    const auto given = static_cast<std::size_t>(count);
    if (given > most) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %zu argument%s (%zu given)", function, most,
                     most == 1 ? "" : "s", given);
        return false;
    }
    for (std::size_t i = 0; i < most; ++i) values[i] = i < given ? args[i] : nullptr;
    const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
    for (Py_ssize_t k = 0; k < named; ++k) {
        PyObject* name = PyTuple_GET_ITEM(keywords, k);
        const std::size_t i = position_of(name, names, most);
        if (i == most) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R", function, name);
            return false;
        }
        if (values[i] != nullptr) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%s'", function, names[i]);
            return false;
        }
        values[i] = args[count + k];
    }
    for (std::size_t i = 0; i < required; ++i) {
        if (values[i] == nullptr) {
            PyErr_Format(PyExc_TypeError, "%s() is missing its argument '%s'", function, names[i]);
            return false;
        }
    }
    return true;
}

Int64Read read_int64(PyObject* value, std::int64_t* result) {
    PyRef index;
    if (!PyLong_Check(value)) {
        if (PyIndex_Check(value) == 0) return Int64Read::not_int;
        index = PyRef::steal(PyNumber_Index(value));
        if (!index) return Int64Read::error;
        value = index.get();
    }
    int overflow = 0;
    *result = PyLong_AsLongLongAndOverflow(value, &overflow);
    return overflow == 0 ? Int64Read::ok : Int64Read::too_big;
}

PyRef describe(PyObject* value) {
    PyRef text = PyRef::steal(PyObject_Repr(value));
    if (text) {
        constexpr Py_ssize_t kLongest = 200;
        if (PyUnicode_GET_LENGTH(text.get()) <= kLongest) return text;
        const PyRef head = PyRef::steal(PyUnicode_Substring(text.get(), 0, kLongest));
        return PyRef::steal(head ? PyUnicode_FromFormat("%U...", head.get()) : nullptr);
    }
    if (PyErr_ExceptionMatches(PyExc_Exception) == 0) return {};
    PyErr_Clear();
    // An int of more than a few thousand digits has no repr.
    if (PyLong_Check(value)) {
        const PyRef bits = PyRef::steal(PyObject_CallMethod(value, "bit_length", nullptr));
        return PyRef::steal(bits ? PyUnicode_FromFormat("<an int of %S bits>", bits.get()) : nullptr);
    }
    return PyRef::steal(PyUnicode_FromFormat("<%.200s object>", Py_TYPE(value)->tp_name));
}

ErrorCause::ErrorCause() : cause_(PyRef::steal(take_raised())) {}

ErrorCause::~ErrorCause() {
    if (!may_drop()) return;
    PyObject* error = take_raised();
    if (error == nullptr) return;
    PyException_SetContext(error, PyRef::share(cause_.get()).release());
    PyException_SetCause(error, cause_.release());
    raise_taken(error);
}

void raise_key_error(PyObject* key) {
    const PyRef args = PyRef::steal(PyTuple_Pack(1, key));
    if (args) PyErr_SetObject(PyExc_KeyError, args.get());
}

PyObject* refuse_pickling(PyObject* self, const char* remedy) {
    PyErr_Format(PyExc_TypeError, "cannot pickle or copy a %.200s: it is shared within one process; %s",
                 short_name(Py_TYPE(self)), remedy);
    return nullptr;
}

}  // namespace pyferris::python
