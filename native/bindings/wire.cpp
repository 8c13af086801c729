#include "wire.hpp"

#include <marshal.h>

#include <cstring>
#include <new>

#include "shared_state.hpp"
#include "wire_scalars.hpp"

namespace pyferris::python {

namespace {

constexpr int kDeepest = 100;                  // of a tree that is walked; what is deeper is pickled
constexpr Py_ssize_t kLargeBlock = 32 * 1024;  // bytes; smaller ones are copied with the rest
constexpr int kFlatVersion = 2;                // of marshal: floats in binary, no table of shared objects
constexpr int kTreeVersion = 4;                // keeps shared lists shared

bool is_scalar(PyObject* object) {
    if (object == Py_None || object == Py_True || object == Py_False || object == Py_Ellipsis) return true;
    return PyLong_CheckExact(object) || PyFloat_CheckExact(object) || PyUnicode_CheckExact(object) ||
           PyBytes_CheckExact(object) || PyComplex_CheckExact(object);
}

bool is_tree(PyObject* object, int depth);

bool is_tree_of(PyObject* const* items, Py_ssize_t count, int depth) {
    for (Py_ssize_t i = 0; i < count; ++i) {
        if (!is_tree(items[i], depth)) return false;
    }
    return true;
}

bool is_tree_of_set(PyObject* set, int depth) {
    const PyRef items = PyRef::steal(PySequence_Tuple(set));
    if (items) return is_tree_of(&PyTuple_GET_ITEM(items.get(), 0), PyTuple_GET_SIZE(items.get()), depth);
    PyErr_Clear();
    return false;
}

bool is_tree(PyObject* object, int depth) {
    if (is_scalar(object)) return true;
    if (depth == kDeepest) return false;  // also where an object holds itself
    ++depth;
    if (PyTuple_CheckExact(object)) return is_tree_of(&PyTuple_GET_ITEM(object, 0), PyTuple_GET_SIZE(object), depth);
    if (PyList_CheckExact(object)) {
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(object); ++i) {
            if (!is_tree(PyList_GET_ITEM(object, i), depth)) return false;
        }
        return true;
    }
    if (PyDict_CheckExact(object)) {
        Py_ssize_t position = 0;
        PyObject* key = nullptr;
        PyObject* value = nullptr;
        while (PyDict_Next(object, &position, &key, &value) != 0) {
            if (!is_tree(key, depth) || !is_tree(value, depth)) return false;
        }
        return true;
    }
    if (PyAnySet_CheckExact(object)) return is_tree_of_set(object, depth);
    return false;
}

bool is_flat(PyObject* object) {
    if (!PyTuple_CheckExact(object)) return is_scalar(object);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(object); ++i) {
        if (!is_scalar(PyTuple_GET_ITEM(object, i))) return false;
    }
    return true;
}

bool is_array(PyObject* object) { return std::strcmp(Py_TYPE(object)->tp_name, "array.array") == 0; }

// An array's elements by its own letter: the buffer of one of characters has another.
bool read_typecode(PyObject* array, std::string* format) {
    const PyRef code = PyRef::steal(PyObject_GetAttrString(array, "typecode"));
    const char* letter = code ? PyUnicode_AsUTF8(code.get()) : nullptr;
    if (letter != nullptr) *format = letter;
    return letter != nullptr;
}

// Takes the memory of a large block out of `object`. 1: taken; 0: it is none; -1: error set.
int take_block(PyObject* object, std::uint32_t position, std::vector<WireBlock>* blocks) {
    if (PyLong_CheckExact(object) || PyTuple_CheckExact(object) || PyUnicode_CheckExact(object)) return 0;
    WireBlock block{};
    if (PyBytes_CheckExact(object)) {
        block.kind = WireBlock::Kind::bytes;
    } else if (PyByteArray_CheckExact(object)) {
        block.kind = WireBlock::Kind::bytearray;
    } else if (PyMemoryView_Check(object)) {
        block.kind = WireBlock::Kind::memoryview;
    } else if (is_array(object)) {
        block.kind = WireBlock::Kind::array;
    } else {
        return 0;
    }
    if (PyBytes_CheckExact(object) && PyBytes_GET_SIZE(object) < kLargeBlock) return 0;
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_FULL_RO) != 0) return -1;
    block.memory.reset(new (std::nothrow) char[static_cast<std::size_t>(view.len)]);
    if (block.memory == nullptr) {
        PyBuffer_Release(&view);
        PyErr_NoMemory();
        return -1;
    }
    block.position = position;
    if (view.format != nullptr) block.format = view.format;
    if (view.shape != nullptr) block.shape.assign(view.shape, view.shape + view.ndim);
    block.size = static_cast<std::size_t>(view.len);
    const int copied = PyBuffer_ToContiguous(block.memory.get(), &view, view.len, 'C');
    PyBuffer_Release(&view);
    if (copied != 0) return -1;
    if (block.kind == WireBlock::Kind::array && !read_typecode(object, &block.format)) return -1;
    blocks->push_back(std::move(block));
    return 1;
}

PyObject* make_view(const WireBlock& block) {
    const auto size = static_cast<Py_ssize_t>(block.size);
    const PyRef memory = PyRef::steal(PyBytes_FromStringAndSize(block.memory.get(), size));
    if (!memory) return nullptr;
    PyRef view = PyRef::steal(PyMemoryView_FromObject(memory.get()));
    if (!view) return nullptr;
    const PyRef shape = PyRef::steal(PyTuple_New(static_cast<Py_ssize_t>(block.shape.size())));
    if (!shape) return nullptr;
    for (std::size_t i = 0; i < block.shape.size(); ++i) {
        PyObject* extent = PyLong_FromSsize_t(block.shape[i]);
        if (extent == nullptr) return nullptr;
        PyTuple_SET_ITEM(shape.get(), static_cast<Py_ssize_t>(i), extent);
    }
    if (block.format == "B" && block.shape.size() <= 1) return view.release();
    return PyObject_CallMethod(view.get(), "cast", "sO", block.format.c_str(), shape.get());
}

PyObject* make_array(const WireBlock& block) {
    const PyRef module = PyRef::steal(PyImport_ImportModule("array"));
    const PyRef array =
        PyRef::steal(module ? PyObject_CallMethod(module.get(), "array", "s", block.format.c_str()) : nullptr);
    const PyRef view =
        PyRef::steal(PyMemoryView_FromMemory(block.memory.get(), static_cast<Py_ssize_t>(block.size), PyBUF_READ));
    if (!array || !view) return nullptr;
    const PyRef filled = PyRef::steal(PyObject_CallMethod(array.get(), "frombytes", "O", view.get()));
    return filled ? Py_NewRef(array.get()) : nullptr;
}

PyObject* make_block(const WireBlock& block) {
    const auto size = static_cast<Py_ssize_t>(block.size);
    switch (block.kind) {
        case WireBlock::Kind::bytes: return PyBytes_FromStringAndSize(block.memory.get(), size);
        case WireBlock::Kind::bytearray: return PyByteArray_FromStringAndSize(block.memory.get(), size);
        case WireBlock::Kind::memoryview: return make_view(block);
        default: return make_array(block);
    }
}

bool append_bytes(PyObject* bytes, std::string* data) {
    if (bytes == nullptr) return false;
    data->append(PyBytes_AS_STRING(bytes), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes)));
    return true;
}

// Without blocks: 'N' and scalars, 'M' and marshal's bytes, or what `dumps` gives, behind 'P'.
bool encode_rest(PyObject* object, const WireCodec& codec, const WireSubject& subject, Message* message) {
    std::string* data = &message->data;
    data->push_back('N');
    if (write_scalars(object, data)) return true;
    data->back() = 'M';
    if (is_plain(object)) return append_bytes(PyRef::steal(marshal_plain(object)).get(), data);
    data->back() = 'P';
    const PyRef what = PyRef::steal(PyUnicode_FromFormat(subject.format, subject.name));
    if (!what) return false;
    HandleScope scope;
    const PyRef bytes = PyRef::steal(PyObject_CallFunctionObjArgs(codec.dumps, object, what.get(), nullptr));
    message->handles = scope.take();
    if (bytes && !PyBytes_CheckExact(bytes.get())) {
        PyErr_SetString(PyExc_TypeError, "the encoder must return bytes");
        return false;
    }
    return append_bytes(bytes.get(), data);
}

PyObject* decode_rest(const char* data, std::size_t size, const WireCodec& codec) {
    if (size == 0) {
        PyErr_SetString(PyExc_ValueError, "an empty message cannot be decoded");
        return nullptr;
    }
    const auto length = static_cast<Py_ssize_t>(size - 1);
    if (data[0] == 'N') return read_scalars(data + 1, size - 1);
    if (data[0] == 'M') return PyMarshal_ReadObjectFromString(data + 1, length);
    const PyRef bytes = PyRef::steal(PyBytes_FromStringAndSize(data + 1, length));
    return bytes ? PyObject_CallFunctionObjArgs(codec.loads, bytes.get(), codec.function, nullptr) : nullptr;
}

}  // namespace

bool is_plain(PyObject* object) { return is_tree(object, 0); }

PyObject* marshal_plain(PyObject* object) {
    PyObject* bytes = PyMarshal_WriteObjectToString(object, is_flat(object) ? kFlatVersion : kTreeVersion);
    // A string that could not be copied is "unmarshallable" to it; nothing plain is.
    if (bytes == nullptr && PyErr_ExceptionMatches(PyExc_ValueError) != 0) PyErr_NoMemory();
    return bytes;
}

namespace {

// A tuple's large elements go beside it: 'B', and the tuple with None in their places. One block alone is 'b'.
bool encode_all(PyObject* object, const WireCodec& codec, const WireSubject& subject, Message* message) {
    const int alone = take_block(object, 0, &message->blocks);
    if (alone != 0) {
        message->data = "b";
        return alone > 0;
    }
    if (!PyTuple_CheckExact(object)) return encode_rest(object, codec, subject, message);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(object); ++i) {
        if (take_block(PyTuple_GET_ITEM(object, i), static_cast<std::uint32_t>(i), &message->blocks) < 0) return false;
    }
    if (message->blocks.empty()) return encode_rest(object, codec, subject, message);
    const PyRef rest = PyRef::steal(PyTuple_New(PyTuple_GET_SIZE(object)));
    if (!rest) return false;
    auto block = message->blocks.begin();
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(object); ++i) {
        const bool apart = block != message->blocks.end() && block->position == static_cast<std::uint32_t>(i);
        if (apart) ++block;
        PyTuple_SET_ITEM(rest.get(), i, Py_NewRef(apart ? Py_None : PyTuple_GET_ITEM(object, i)));
    }
    message->data = "B";
    return encode_rest(rest.get(), codec, subject, message);
}

}  // namespace

bool encode(PyObject* object, const WireCodec& codec, const WireSubject& subject, Message* message) {
    try {
        return encode_all(object, codec, subject, message);
    } catch (const std::bad_alloc&) {
        message->clear();
        PyErr_NoMemory();
        return false;
    }
}

bool copy_bytes(PyObject* bytes, std::string* text) {
    try {
        text->assign(PyBytes_AS_STRING(bytes), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes)));
        return true;
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
}

PyObject* decode(const Message& message, const WireCodec& codec) {
    const std::string& data = message.data;
    if (data == "b") return make_block(message.blocks.front());
    if (data.empty() || data[0] != 'B') return decode_rest(data.data(), data.size(), codec);
    const PyRef tuple = PyRef::steal(decode_rest(data.data() + 1, data.size() - 1, codec));
    if (!tuple) return nullptr;
    PyRef whole = PyRef::steal(PyTuple_New(PyTuple_GET_SIZE(tuple.get())));
    if (!whole) return nullptr;
    auto block = message.blocks.begin();
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple.get()); ++i) {
        const bool apart = block != message.blocks.end() && block->position == static_cast<std::uint32_t>(i);
        PyObject* element = apart ? make_block(*block++) : Py_NewRef(PyTuple_GET_ITEM(tuple.get(), i));
        if (element == nullptr) return nullptr;
        PyTuple_SET_ITEM(whole.get(), i, element);
    }
    return whole.release();
}

}  // namespace pyferris::python
