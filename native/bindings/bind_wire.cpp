// What Python needs of messages: plain objects as bytes, and the sums that tell damaged ones.
#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "module_state.hpp"
#include "py_ref.hpp"
#include "wire.hpp"

namespace pyferris::python {

namespace {

constexpr std::size_t kChecked = 1 << 20;  // bytes whose sum is taken; of a longer message, those at its beginning
constexpr std::size_t kSumSize = 4;
constexpr std::size_t kHead = 1 + kSumSize;  // the tag, the sum

std::uint64_t mix(std::uint64_t sum, std::uint64_t word) noexcept {
    // Each step can be undone, so that messages of one length which differ in one word have different sums. The factor
    // is that of Fibonacci hashing (Knuth, The Art of Computer Programming 3, section 6.4).
    sum = (sum ^ word) * 0x9E3779B97F4A7C15U;
    return sum ^ (sum >> 29);
}

// Of the tag, the size, and the beginning of what is said.
std::uint32_t sum_of(char tag, const char* content, std::size_t size) noexcept {
    std::uint64_t sum = mix(static_cast<unsigned char>(tag), size);
    const std::size_t checked = std::min(size, kChecked);
    std::size_t at = 0;
    std::uint64_t word = 0;
    for (; at + sizeof word <= checked; at += sizeof word) {
        std::memcpy(&word, content + at, sizeof word);
        sum = mix(sum, word);
    }
    word = 0;
    std::memcpy(&word, content + at, checked - at);
    sum = mix(sum, word);
    return static_cast<std::uint32_t>(sum ^ (sum >> 32));
}

class Buffer {
  public:
    explicit Buffer(PyObject* object) : is_open_(PyObject_GetBuffer(object, &view_, PyBUF_SIMPLE) == 0) {}
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    Buffer(Buffer&& other) noexcept : view_(other.view_), is_open_(std::exchange(other.is_open_, false)) {}
    Buffer& operator=(Buffer&&) = delete;
    ~Buffer() {
        if (is_open_) PyBuffer_Release(&view_);
    }

    bool is_open() const noexcept { return is_open_; }
    const char* data() const noexcept { return static_cast<const char*>(view_.buf); }
    std::size_t size() const noexcept { return static_cast<std::size_t>(view_.len); }

  private:
    Py_buffer view_{};
    bool is_open_;
};

// `seal(tag, *parts)`: a message of one byte and buffers.
PyObject* seal(PyObject* /*module*/, PyObject* const* args, Py_ssize_t count) {
    if (count < 1 || !PyBytes_Check(args[0]) || PyBytes_GET_SIZE(args[0]) != 1) {
        PyErr_SetString(PyExc_TypeError, "seal() takes a tag, one byte, and parts");
        return nullptr;
    }
    std::vector<Buffer> parts;
    parts.reserve(static_cast<std::size_t>(count - 1));
    std::size_t size = 0;
    for (Py_ssize_t i = 1; i < count; ++i) {
        if (!parts.emplace_back(args[i]).is_open()) return nullptr;
        size += parts.back().size();
    }
    PyObject* message = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(kHead + size));
    if (message == nullptr) return nullptr;
    char* const begin = PyBytes_AS_STRING(message);
    char* to = begin + kHead;
    for (const Buffer& part : parts) {
        std::memcpy(to, part.data(), part.size());
        to += part.size();
    }
    begin[0] = PyBytes_AS_STRING(args[0])[0];
    const std::uint32_t sum = sum_of(begin[0], begin + kHead, size);
    std::memcpy(begin + 1, &sum, kSumSize);
    return message;
}

// `is_sealed(message)`: whether it is what `seal` has made.
PyObject* is_sealed(PyObject* /*module*/, PyObject* message) {
    const Buffer bytes(message);
    if (!bytes.is_open()) return nullptr;
    if (bytes.size() < kHead) Py_RETURN_FALSE;
    std::uint32_t said = 0;
    std::memcpy(&said, bytes.data() + 1, kSumSize);
    return PyBool_FromLong(said == sum_of(bytes.data()[0], bytes.data() + kHead, bytes.size() - kHead) ? 1 : 0);
}

// `encode_plain(object)`: its bytes by marshal, or None where that would not carry it as it is.
PyObject* encode_plain(PyObject* /*module*/, PyObject* object) {
    if (!is_plain(object)) Py_RETURN_NONE;
    return marshal_plain(object);
}

PyMethodDef functions[] = {
    {"seal", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(seal)), METH_FASTCALL, nullptr},
    {"is_sealed", is_sealed, METH_O, nullptr},
    {"encode_plain", encode_plain, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

bool register_wire(PyObject* module) { return PyModule_AddFunctions(module, functions) == 0; }

}  // namespace pyferris::python
