#include "wire_scalars.hpp"

#include <cstdint>
#include <cstring>

namespace pyferris::python {

namespace {

constexpr int kDeepest = 16;

template <class T>
void put(std::string* data, char tag, T value) {
    char bytes[1 + sizeof(T)];
    bytes[0] = tag;
    std::memcpy(bytes + 1, &value, sizeof(T));
    data->append(bytes, sizeof(bytes));
}

bool write_int(PyObject* object, std::string* data) {
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow != 0) return false;
    if (value == static_cast<std::int32_t>(value)) {
        put<std::int32_t>(data, 'j', static_cast<std::int32_t>(value));
        return true;
    }
    put<std::int64_t>(data, 'i', value);
    return true;
}

void write_text(PyObject* object, std::string* data) {
    const auto kind = static_cast<char>(PyUnicode_KIND(object));
    put<char>(data, 's', kind);
    const auto length = static_cast<std::uint64_t>(PyUnicode_GET_LENGTH(object));
    data->append(reinterpret_cast<const char*>(&length), sizeof(length));
    data->append(static_cast<const char*>(PyUnicode_DATA(object)), length * static_cast<std::size_t>(kind));
}

bool write(PyObject* object, std::string* data, int depth);

bool write_items(PyObject* const* items, Py_ssize_t count, char tag, std::string* data, int depth) {
    if (depth == kDeepest) return false;
    if (tag == '(' && count <= UINT8_MAX) {
        put<std::uint8_t>(data, ')', static_cast<std::uint8_t>(count));
    } else {
        put<std::uint64_t>(data, tag, static_cast<std::uint64_t>(count));
    }
    for (Py_ssize_t i = 0; i < count; ++i) {
        if (!write(items[i], data, depth + 1)) return false;
    }
    return true;
}

// A list is written where nobody else refers to it: it could stand elsewhere in the same tree.
bool is_sole(PyObject* object) {
#if PY_VERSION_HEX >= 0x030E0000
    return PyUnstable_Object_IsUniquelyReferenced(object) != 0;
#else
    return Py_REFCNT(object) == 1;
#endif
}

bool write(PyObject* object, std::string* data, int depth) {
    PyTypeObject* const type = Py_TYPE(object);
    if (type == &PyLong_Type) return write_int(object, data);
    if (type == &PyFloat_Type) {
        put<double>(data, 'f', PyFloat_AS_DOUBLE(object));
    } else if (type == &PyUnicode_Type) {
        write_text(object, data);
    } else if (type == &PyBytes_Type) {
        put<std::uint64_t>(data, 'b', static_cast<std::uint64_t>(PyBytes_GET_SIZE(object)));
        data->append(PyBytes_AS_STRING(object), static_cast<std::size_t>(PyBytes_GET_SIZE(object)));
    } else if (type == &PyTuple_Type) {
        return write_items(&PyTuple_GET_ITEM(object, 0), PyTuple_GET_SIZE(object), '(', data, depth);
    } else if (type == &PyList_Type && (is_sole(object))) {
        auto* list = reinterpret_cast<PyListObject*>(object);
        return write_items(list->ob_item, PyList_GET_SIZE(object), '[', data, depth);
    } else if (object == Py_None || object == Py_True || object == Py_False || object == Py_Ellipsis) {
        data->push_back(object == Py_None ? '0' : object == Py_True ? 'T' : object == Py_False ? 'F' : '.');
    } else {
        return false;
    }
    return true;
}

class Reader {
  public:
    Reader(const char* data, std::size_t size) : at_(data), end_(data + size) {}

    PyObject* read(int depth) {
        if (at_ == end_ || depth > kDeepest) return refuse();
        switch (*at_++) {
            case '0': return Py_NewRef(Py_None);
            case 'T': return Py_NewRef(Py_True);
            case 'F': return Py_NewRef(Py_False);
            case '.': return Py_NewRef(Py_Ellipsis);
            case 'i': return read_int<std::int64_t>();
            case 'j': return read_int<std::int32_t>();
            case 'f': return read_float();
            case 'b': return read_bytes();
            case 's': return read_text();
            case '(': return read_tuple<std::uint64_t>(depth);
            case ')': return read_tuple<std::uint8_t>(depth);
            case '[': return read_list(depth);
            default: return refuse();
        }
    }
    bool is_over() const { return at_ == end_; }
    static PyObject* refuse() {
        PyErr_SetString(PyExc_ValueError, "bad bytes in a message between interpreters");
        return nullptr;
    }

  private:
    template <class T>
    bool take(T* value) {
        if (static_cast<std::size_t>(end_ - at_) < sizeof(T)) return false;
        std::memcpy(value, at_, sizeof(T));
        at_ += sizeof(T);
        return true;
    }
    // `count` things of `each` bytes or more follow.
    template <class T>
    bool take_count(std::uint64_t each, T* count) {
        return take(count) && *count <= static_cast<std::uint64_t>(end_ - at_) / each;
    }
    template <class T>
    PyObject* read_int() {
        T value = 0;
        return take(&value) ? PyLong_FromLongLong(value) : refuse();
    }
    PyObject* read_float() {
        double value = 0;
        return take(&value) ? PyFloat_FromDouble(value) : refuse();
    }
    PyObject* read_bytes() {
        std::uint64_t size = 0;
        if (!take_count(1, &size)) return refuse();
        PyObject* bytes = PyBytes_FromStringAndSize(at_, static_cast<Py_ssize_t>(size));
        at_ += size;
        return bytes;
    }
    PyObject* read_text() {
        char kind = 0;
        std::uint64_t length = 0;
        if (!take(&kind) || (kind != 1 && kind != 2 && kind != 4)) return refuse();
        if (!take_count(static_cast<std::uint64_t>(kind), &length)) return refuse();
        PyObject* text = PyUnicode_FromKindAndData(kind, at_, static_cast<Py_ssize_t>(length));
        at_ += length * static_cast<std::uint64_t>(kind);
        return text;
    }
    template <class T>
    PyObject* read_tuple(int depth) {
        T count = 0;
        if (!take_count(1, &count)) return refuse();
        PyRef tuple = PyRef::steal(PyTuple_New(static_cast<Py_ssize_t>(count)));
        for (std::uint64_t i = 0; tuple && i < count; ++i) {
            PyObject* item = read(depth + 1);
            if (item == nullptr) return nullptr;
            PyTuple_SET_ITEM(tuple.get(), static_cast<Py_ssize_t>(i), item);
        }
        return tuple.release();
    }
    PyObject* read_list(int depth) {
        std::uint64_t count = 0;
        if (!take_count(1, &count)) return refuse();
        PyRef list = PyRef::steal(PyList_New(static_cast<Py_ssize_t>(count)));
        for (std::uint64_t i = 0; list && i < count; ++i) {
            PyObject* item = read(depth + 1);
            if (item == nullptr) return nullptr;
            PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), item);
        }
        return list.release();
    }

    const char* at_;
    const char* const end_;
};

}  // namespace

bool write_scalars(PyObject* object, std::string* data) {
    const std::size_t before = data->size();
    if (write(object, data, 0)) return true;
    data->resize(before);
    return false;
}

PyObject* read_scalars(const char* data, std::size_t size) {
    Reader reader(data, size);
    PyRef value = PyRef::steal(reader.read(0));
    if (value && !reader.is_over()) return Reader::refuse();
    return value.release();
}

}  // namespace pyferris::python
