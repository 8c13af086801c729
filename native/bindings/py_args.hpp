// Reading the arguments of hand-written methods.
#pragma once

#include <string>

#include "py_ref.hpp"

namespace pyferris::python {

using FastMethod = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
using FastPositional = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);

/// A vectorcall method as PyMethodDef wants it (METH_FASTCALL, with or without METH_KEYWORDS).
inline PyCFunction as_method(FastMethod function) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}
inline PyCFunction as_method(FastPositional function) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

/// The one optional argument `name` of `method`, by position or keyword; `*value` keeps its default where it is not
/// given. Borrowed. False with TypeError set.
bool parse_optional(PyObject* const* args, Py_ssize_t count, PyObject* names, const char* method, const char* name,
                    PyObject** value);
/// The same for an argument that must be given.
bool parse_required(PyObject* const* args, Py_ssize_t count, PyObject* names, const char* method, const char* name,
                    PyObject** value);
/// Up to `most` arguments by position or by one of `keys`; those not given stay as they are. Borrowed. False with
/// TypeError set.
bool parse_several(PyObject* const* args, Py_ssize_t count, PyObject* names, const char* method,
                   const char* const* keys, Py_ssize_t most, PyObject** values);

/// The text of a str as UTF-8, also where it has lone surrogates or NULs. False with an error set.
bool read_text(PyObject* text, std::string* result);
/// The str of what `read_text` read. Null with an error set.
PyObject* make_text(const std::string& text);

}  // namespace pyferris::python
