#include "shared_cell.hpp"

#include <marshal.h>

#include <cstring>
#include <new>

#include "module_state.hpp"
#include "py_compat.hpp"
#include "type_support.hpp"
#include "wire.hpp"

namespace pyferris::python {

namespace {

// The common types have one encoding each, made here. So equal bytes are equal objects, and two texts are equal only if
// their bytes are.
enum Tag : char {
    kNone = 'N',
    kTrue = 'T',
    kFalse = 'F',
    kInteger = 'I',  // 64 bits
    kReal = 'D',
    kBytes = 'B',
    kText1 = '1',  // by the width of its characters; ASCII is apart
    kText2 = '2',
    kText4 = '4',
    kAscii = 'A',
    kPlain = 'M',  // other trees of built-in types, by marshal
    kOther = 'P',  // by the codec
};

std::string tagged(char tag, const void* data, std::size_t size) {
    std::string bytes;
    bytes.reserve(size + 1);
    bytes.push_back(tag);
    bytes.append(static_cast<const char*>(data), size);
    return bytes;
}

std::string tagged(char tag, PyObject* bytes) {
    return tagged(tag, PyBytes_AS_STRING(bytes), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes)));
}

std::string encode_text(PyObject* text) {
    const auto kind = PyUnicode_KIND(text);
    const char tag = PyUnicode_IS_ASCII(text) ? kAscii : kind == 1 ? kText1 : kind == 2 ? kText2 : kText4;
    return tagged(tag, PyUnicode_DATA(text),
                  static_cast<std::size_t>(PyUnicode_GET_LENGTH(text)) * static_cast<std::size_t>(kind));
}

// The bytes of an object of a common type; empty for others.
std::string encode_common(PyObject* object) {
    if (PyUnicode_CheckExact(object)) return encode_text(object);
    if (PyLong_CheckExact(object)) {
        int overflow = 0;
        const std::int64_t number = PyLong_AsLongLongAndOverflow(object, &overflow);
        return overflow == 0 ? tagged(kInteger, &number, sizeof number) : std::string();
    }
    if (object == Py_None) return std::string(1, kNone);
    if (object == Py_True) return std::string(1, kTrue);
    if (object == Py_False) return std::string(1, kFalse);
    if (PyFloat_CheckExact(object)) {
        const double number = PyFloat_AS_DOUBLE(object);
        return tagged(kReal, &number, sizeof number);
    }
    if (PyBytes_CheckExact(object)) {
        return tagged(kBytes, object);
    }
    return {};
}

// Borrowed, for as long as the interpreter lives; null with an error set.
PyObject* pickle_function(PyObject* ModuleState::* known, const char* name) {
    PyObject*& function = module_state().*known;
    if (function == nullptr) {
        const PyRef pickle = PyRef::steal(PyImport_ImportModule("pickle"));
        PyObject* found = pickle ? PyObject_GetAttrString(pickle.get(), name) : nullptr;
        Py_XSETREF(function, found);
    }
    return function;
}

// Makes a TypeError of what the codec raised, unless that says it already or must not be hidden.
void explain(PyObject* object, const char* what, bool says_it) {
    if (PyErr_ExceptionMatches(PyExc_Exception) == 0) return;
    if (says_it && PyErr_ExceptionMatches(PyExc_TypeError) != 0) return;
    const ErrorCause cause;
    const PyRef text = describe(object);
    if (!text) return;
    PyErr_Format(
        PyExc_TypeError,
        "%s cannot be shared with other interpreters, as it cannot be pickled: %U, of type %.200s; share plain "
        "data in its place",
        what, text.get(), Py_TYPE(object)->tp_name);
}

PyRef encode_by_codec(PyObject* object, const char* what) {
    PyObject* given = module_state().shared_encode;
    PyRef bytes;
    if (given != nullptr) {
        const PyRef encode = PyRef::share(given);
        bytes = PyRef::steal(PyObject_CallFunction(encode.get(), "Os", object, what));
    } else {
        PyObject* dumps = pickle_function(&ModuleState::pickle_dumps, "dumps");
        bytes = PyRef::steal(dumps != nullptr ? PyObject_CallFunction(dumps, "Oi", object, 5) : nullptr);
    }
    if (!bytes) {
        explain(object, what, given != nullptr);
    } else if (PyBytes_Check(bytes.get()) == 0) {
        PyErr_Format(PyExc_TypeError, "encode() must return bytes, not %.200s", Py_TYPE(bytes.get())->tp_name);
        return {};
    }
    return bytes;
}

PyRef decode_by_codec(const Encoded& encoded) {
    const PyRef bytes = PyRef::steal(
        PyBytes_FromStringAndSize(encoded.data.data() + 1, static_cast<Py_ssize_t>(encoded.data.size() - 1)));
    PyObject* given = module_state().shared_decode;
    const PyRef decode = PyRef::share(given != nullptr ? given : pickle_function(&ModuleState::pickle_loads, "loads"));
    return PyRef::steal(bytes && decode ? PyObject_CallOneArg(decode.get(), bytes.get()) : nullptr);
}

template <class Number>
Number read(const char* data) {
    Number number{};
    std::memcpy(&number, data, sizeof number);
    return number;
}

PyRef decode_ascii(const char* data, std::size_t size) {
    PyRef text = PyRef::steal(PyUnicode_New(static_cast<Py_ssize_t>(size), 127));
    if (text && size != 0) std::memcpy(PyUnicode_DATA(text.get()), data, size);
    return text;
}

}  // namespace

PyRef decode_element(const Encoded& encoded) {
    const char* data = encoded.data.data() + 1;
    const std::size_t size = encoded.data.size() - 1;
    const auto text = [&](int width) {
        return PyRef::steal(
            PyUnicode_FromKindAndData(width, data, static_cast<Py_ssize_t>(size / static_cast<std::size_t>(width))));
    };
    switch (encoded.data.front()) {
        case kNone: return PyRef::share(Py_None);
        case kTrue: return PyRef::share(Py_True);
        case kFalse: return PyRef::share(Py_False);
        case kInteger: return PyRef::steal(PyLong_FromLongLong(read<std::int64_t>(data)));
        case kReal: return PyRef::steal(PyFloat_FromDouble(read<double>(data)));
        case kBytes: return PyRef::steal(PyBytes_FromStringAndSize(data, static_cast<Py_ssize_t>(size)));
        case kAscii: return decode_ascii(data, size);
        case kText1: return text(1);
        case kText2: return text(2);
        case kText4: return text(4);
        case kPlain: return PyRef::steal(PyMarshal_ReadObjectFromString(data, static_cast<Py_ssize_t>(size)));
        default: return decode_by_codec(encoded);
    }
}

bool is_literal(const Encoded& encoded) noexcept {
    switch (encoded.data.front()) {
        case kBytes:
        case kAscii:
        case kText1:
        case kText2:
        case kText4: return true;
        default: return false;
    }
}

Encoded* encode_element(PyObject* object, const char* what, const SharedState& owner) {
    try {
        std::string common = encode_common(object);
        if (!common.empty()) return new Encoded(std::move(common));
        if (is_plain(object)) {
            const PyRef plain = PyRef::steal(marshal_plain(object));
            return plain ? new Encoded(tagged(kPlain, plain.get())) : nullptr;
        }
        HandleScope scope;
        const PyRef bytes = encode_by_codec(object, what);
        if (!bytes) return nullptr;
        auto* encoded = new Encoded(tagged(kOther, bytes.get()));
        encoded->handles = scope.take();
        // A container that holds itself must not keep itself: whoever decodes this is at the container.
        std::erase_if(encoded->handles, [&](const auto& handle) { return handle.get() == &owner; });
        return encoded;
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return nullptr;
    }
}

PyRef decode_list(PyRef list, const std::vector<Cell>& cells) {
    Py_ssize_t i = 0;
    for (const Cell cell : cells) {
        CellRef owned(cell);
        if (!list) continue;  // drops the rest
        PyRef object = decode_cell(std::move(owned));
        if (object) {
            PyList_SET_ITEM(list.get(), i++, object.release());
        } else {
            const SavedError error;
            list = PyRef();
        }
    }
    return list;
}

CellEncoder::~CellEncoder() {
    if (!may_drop()) return;
    for (const Wanted& wanted : wanted_) Py_DECREF(wanted.object);
    for (const auto& [object, encoded] : done_) {
        encoded->drop();
        Py_DECREF(object);
    }
    for (PyObject* object : old_) Py_DECREF(object);
}

bool CellEncoder::encode() {
    while (!wanted_.empty()) {
        const Wanted wanted = wanted_.back();
        if (done_.find(wanted.object) != done_.end()) {  // twice in the container
            wanted_.pop_back();
            Py_DECREF(wanted.object);
            continue;
        }
        Encoded* encoded = encode_element(wanted.object, wanted.what, owner_);
        if (encoded == nullptr) return false;
        try {
            done_.emplace(wanted.object, encoded);
        } catch (const std::bad_alloc&) {
            encoded->drop();
            throw;
        }
        wanted_.pop_back();  // its reference goes with `done_` now
    }
    return true;
}

}  // namespace pyferris::python
