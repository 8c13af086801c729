// What the hand-written types of shared data have in common: reading arguments, naming values in errors, knowing
// their own instances.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "py_args.hpp"
#include "py_ref.hpp"

namespace pyferris::python {

/// A function as PyType_Slot wants it.
template <class Function>
void* as_slot(Function* function) {
    return reinterpret_cast<void*>(function);
}

/// The type's name without its module.
const char* short_name(PyTypeObject* type);

/// The parameters of a METH_FASTCALL | METH_KEYWORDS function, all of which may be given by position or by name.
template <std::size_t N>
struct Parameters {
    const char* function;
    std::array<const char*, N> names;
    std::size_t required;

    /// Borrowed references to the arguments, null where none was given. False with TypeError set.
    bool read(PyObject* const* args, Py_ssize_t count, PyObject* keywords, std::array<PyObject*, N>* values) const;
};

bool read_arguments(const char* function, const char* const* names, std::size_t most, std::size_t required,
                    PyObject* const* args, Py_ssize_t count, PyObject* keywords, PyObject** values);

template <std::size_t N>
bool Parameters<N>::read(PyObject* const* args, Py_ssize_t count, PyObject* keywords,
                         std::array<PyObject*, N>* values) const {
    const auto given = static_cast<std::size_t>(count);
    if (keywords == nullptr && given >= required && given <= N) {
        for (std::size_t i = 0; i < N; ++i) (*values)[i] = i < given ? args[i] : nullptr;
        return true;
    }
    return read_arguments(function, names.data(), N, required, args, count, keywords, values->data());
}

enum class Int64Read : std::uint8_t {
    ok,
    not_int,  ///< no error set
    too_big,  ///< an int beyond 64 bits; no error set
    error,    ///< `__index__` raised
};

/// Reads an int, or what turns itself into one (`__index__`). May run user code.
Int64Read read_int64(PyObject* value, std::int64_t* result);

/// `repr(value)` for an error message, shortened, and with a substitute where it cannot be had. Null with an error set
/// that must not be hidden (Ctrl-C).
PyRef describe(PyObject* value);

/// "signed 64 bits (from ... to ...)", for error messages.
inline constexpr const char* kInt64Range = "signed 64 bits (-9223372036854775808 to 9223372036854775807)";

/// Takes the error that is set; when it goes, becomes the cause of the one that was set meanwhile.
class ErrorCause {
  public:
    ErrorCause();
    ErrorCause(const ErrorCause&) = delete;
    ErrorCause& operator=(const ErrorCause&) = delete;
    ~ErrorCause();

  private:
    PyRef cause_;
};

/// Raises KeyError(key), also where the key is a tuple.
void raise_key_error(PyObject* key);

/// True for instances of the type whose `tp_dealloc` this is, and of its subclasses, in any interpreter.
inline bool is_dealloced_by(PyObject* object, destructor dealloc) {
    for (PyTypeObject* type = Py_TYPE(object); type != nullptr; type = type->tp_base) {
        if (type->tp_dealloc == dealloc) return true;
    }
    return false;
}

/// `__reduce__` of what is shared: TypeError with `remedy`.
PyObject* refuse_pickling(PyObject* self, const char* remedy);

}  // namespace pyferris::python
