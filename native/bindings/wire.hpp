// Bytes between interpreters: objects are encoded by one and decoded by another, and never shared.
//
// A message owns plain memory only, so that any thread may make, keep or drop it, attached or not. Trees of exact
// built-in types go by marshal, here; everything else goes through `pyferris._wire`, which pickles. The walk comes
// first because marshal would take a bytearray, an array or a numpy scalar for bytes, without a word. Large blocks of
// memory travel beside the bytes: one copy out, one copy in.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "py_ref.hpp"

namespace pyferris::python {

/// A block of memory beside the bytes of a message, and the object that it was.
struct WireBlock {
    enum class Kind : char { bytes = 'b', bytearray = 'a', memoryview = 'm', array = 'r' };
    Kind kind;
    std::uint32_t position;  // in the tuple; for a message that is one block alone, 0
    std::string format;      // of a memoryview's or an array's elements
    std::vector<Py_ssize_t> shape;
    std::unique_ptr<char[]> memory;
    std::size_t size = 0;
};

struct Message {
    std::string data;                            // a tag, then what it says
    std::vector<WireBlock> blocks;               // of large memory
    std::vector<std::shared_ptr<void>> handles;  // the shared data that the bytes refer to, alive until decoded

    bool empty() const noexcept { return data.empty(); }
    void clear() noexcept {
        data = std::string();
        blocks.clear();
        handles.clear();
    }
};

/// What an interpreter encodes and decodes with where marshal does not do: `pyferris._wire.dumps(object, what)` and
/// `loads(bytes, function)`, `function` being the shipped one that the bytes are for, or null. Objects of that
/// interpreter, borrowed.
struct WireCodec {
    PyObject* dumps = nullptr;
    PyObject* loads = nullptr;
    PyObject* function = nullptr;
};

/// What is encoded, for the error where it cannot be: a format with one %s, and what goes there.
struct WireSubject {
    const char* format;
    const char* name;
};

/// True if `object` is a tree of exact built-in types, which marshal carries faithfully. Attached.
bool is_plain(PyObject* object);
/// The bytes of a plain object by marshal: a new `bytes` object. Null with an error set.
PyObject* marshal_plain(PyObject* object);

/// Encodes. False with an error set: a TypeError that names the object and the subject. Attached.
bool encode(PyObject* object, const WireCodec& codec, const WireSubject& subject, Message* message);
/// Copies a `bytes` object. False with MemoryError set. Attached.
bool copy_bytes(PyObject* bytes, std::string* text);
/// Decodes: a new reference, null with an error set. Attached.
PyObject* decode(const Message& message, const WireCodec& codec);

}  // namespace pyferris::python
