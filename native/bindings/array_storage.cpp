#include "array_storage.hpp"

#include <new>
#include <type_traits>
#include <utility>

#include "type_support.hpp"

namespace pyferris::python {

namespace {

PyObject* box(std::int64_t value) { return PyLong_FromLongLong(value); }
PyObject* box(double value) { return PyFloat_FromDouble(value); }

// Reads a value for an element; false with TypeError or OverflowError set.
bool read_element(PyObject* value, std::int64_t* result) {
    const Int64Read read = read_int64(value, result);
    if (read == Int64Read::ok) return true;
    if (read == Int64Read::error) return false;
    const PyRef text = describe(value);
    if (!text) return false;
    if (read == Int64Read::not_int) {
        PyErr_Format(PyExc_TypeError,
                     "an int64 SafeArray holds ints, not %.200s: %U; make the array with dtype='float64' or 'object'",
                     Py_TYPE(value)->tp_name, text.get());
    } else {
        PyErr_Format(PyExc_OverflowError,
                     "%U does not fit into the %s of an int64 SafeArray; make the array with dtype='object'",
                     text.get(), kInt64Range);
    }
    return false;
}

bool read_element(PyObject* value, double* result) {
    *result = PyFloat_AsDouble(value);
    if (*result != -1.0 || PyErr_Occurred() == nullptr) return true;
    const PyNumberMethods* number = Py_TYPE(value)->tp_as_number;
    const bool convertible = number != nullptr && (number->nb_float != nullptr || number->nb_index != nullptr);
    if (convertible && (PyLong_Check(value) == 0 || PyErr_ExceptionMatches(PyExc_OverflowError) == 0)) return false;
    PyErr_Clear();
    const PyRef text = describe(value);
    if (!text) return false;
    if (convertible) {
        PyErr_Format(PyExc_OverflowError,
                     "%U is too large for a float64 SafeArray (at most 1.8e308); make the array with dtype='object'",
                     text.get());
    } else {
        PyErr_Format(PyExc_TypeError,
                     "a float64 SafeArray holds numbers, not %.200s: %U; make the array with dtype='object'",
                     Py_TYPE(value)->tp_name, text.get());
    }
    return false;
}

// True if float64 can hold the number as it is.
bool is_exact(std::int64_t value) {
    constexpr double kPastTheLast = 9223372036854775808.0;
    const auto real = static_cast<double>(value);
    return real < kPastTheLast && static_cast<std::int64_t>(real) == value;
}

// The type that holds these values exactly as they are: exact ints and floats as numbers, all else as objects.
ElementType type_for(PyObject* values) {
    bool has_float = false;
    bool exact = true;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(values); ++i) {
        PyObject* value = PyList_GET_ITEM(values, i);
        if (PyFloat_CheckExact(value)) {
            has_float = true;
        } else {
            std::int64_t number = 0;
            if (!PyLong_CheckExact(value) || read_int64(value, &number) != Int64Read::ok) return ElementType::object;
            exact = exact && is_exact(number);
        }
    }
    if (!has_float) return ElementType::int64;
    return exact ? ElementType::float64 : ElementType::object;
}

bool read_type(PyObject* name, ElementType* type) {
    for (const ElementType known : {ElementType::int64, ElementType::float64, ElementType::object}) {
        if (PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, name_of(known)) == 0) {
            *type = known;
            return true;
        }
    }
    const PyRef text = describe(name);
    if (text) PyErr_Format(PyExc_ValueError, "dtype is 'int64', 'float64', 'object' or None, not %U", text.get());
    return false;
}

// The elements of a buffer of one dimension as Python numbers; null without an error where that cannot be had.
PyRef list_of_buffer(PyObject* buffer) {
    const PyRef view = PyRef::steal(PyMemoryView_FromObject(buffer));
    PyRef list;
    if (view && PyMemoryView_GET_BUFFER(view.get())->ndim == 1) {
        list = PyRef::steal(PyObject_CallMethod(view.get(), "tolist", nullptr));
    }
    if (!list &&
        (PyErr_ExceptionMatches(PyExc_BufferError) != 0 || PyErr_ExceptionMatches(PyExc_NotImplementedError) != 0)) {
        PyErr_Clear();
    }
    return list;
}

// A list of our own, which nobody changes while it is read.
PyRef list_of(PyObject* initial) {
    if (PyObject_CheckBuffer(initial) != 0) {
        // numpy's arrays and array.array: iterating the former would give numpy's scalars.
        PyRef list = list_of_buffer(initial);
        if (list || PyErr_Occurred() != nullptr) return list;
    }
    if (Py_TYPE(initial)->tp_iter != nullptr || PySequence_Check(initial) != 0) {
        return PyRef::steal(PySequence_List(initial));
    }
    const PyRef text = describe(initial);
    if (text) {
        PyErr_Format(PyExc_TypeError,
                     "a SafeArray is made of an iterable of its initial values, not of %.200s: %U; for a length of n, "
                     "give it [0] * n",
                     Py_TYPE(initial)->tp_name, text.get());
    }
    return {};
}

template <class T>
bool fill_numbers(NumericArray<T>& numbers, PyObject* values) {
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        T number{};
        if (!read_element(PyList_GET_ITEM(values, static_cast<Py_ssize_t>(i)), &number)) return false;
        numbers.set(i, number);
    }
    return true;
}

template <class T>
PyRef list_numbers(const NumericArray<T>& numbers, const ElementRange& range) {
    PyRef list = PyRef::steal(PyList_New(range.count));
    for (Py_ssize_t i = 0; list && i < range.count; ++i) {
        PyObject* number = box(numbers.get(range[i]));
        if (number == nullptr) return {};
        PyList_SET_ITEM(list.get(), i, number);
    }
    return list;
}

template <class T>
bool set_numbers(NumericArray<T>& numbers, const ElementRange& range, PyObject* values) {
    std::vector<T> read(static_cast<std::size_t>(range.count));
    for (Py_ssize_t i = 0; i < range.count; ++i) {
        if (!read_element(PyList_GET_ITEM(values, i), &read[static_cast<std::size_t>(i)])) return false;
    }
    for (Py_ssize_t i = 0; i < range.count; ++i) numbers.set(range[i], read[static_cast<std::size_t>(i)]);
    return true;
}

template <class T>
PyRef add_number(NumericArray<T>& numbers, std::size_t index, PyObject* amount) {
    T number{};
    if (!read_element(amount, &number)) return {};
    const typename NumericArray<T>::Step step = numbers.add(index, number);
    if (!step.overflow) return PyRef::steal(box(step.value));
    PyErr_Format(PyExc_OverflowError,
                 "%lld + %lld does not fit into the %s of an int64 SafeArray; element %zu keeps its value: set() it "
                 "anew, or make the array with dtype='object'",
                 static_cast<long long>(step.value), static_cast<long long>(number), kInt64Range, index);
    return {};
}

// The sum of an object element and `amount`; names both in the TypeError of those that do not add.
PyRef add_objects(PyObject* value, PyObject* amount, std::size_t index) {
    PyRef sum = PyRef::steal(PyNumber_Add(value, amount));
    if (sum || PyErr_ExceptionMatches(PyExc_TypeError) == 0) return sum;
    const ErrorCause cause;
    const PyRef value_text = describe(value);
    const PyRef amount_text = PyRef::steal(value_text ? describe(amount).release() : nullptr);
    if (amount_text) {
        PyErr_Format(PyExc_TypeError, "cannot add %U to element %zu of a SafeArray: it is %U, of type %.200s",
                     amount_text.get(), index, value_text.get(), Py_TYPE(value)->tp_name);
    }
    return sum;
}

template <class T>
int compare_exchange_numbers(NumericArray<T>& numbers, std::size_t index, PyObject* expected, PyObject* desired) {
    T next{};
    if (!read_element(desired, &next)) return -1;
    if constexpr (std::is_same_v<T, double>) {
        if (PyFloat_CheckExact(expected)) {
            return numbers.compare_exchange(index, PyFloat_AS_DOUBLE(expected), next) ? 1 : 0;
        }
    }
    // Equal as Python has it: 1 and 1.0 are, and a value of another type may say what it likes.
    for (;;) {
        const T current = numbers.get(index);
        const PyRef value = PyRef::steal(box(current));
        const int equal = value ? PyObject_RichCompareBool(value.get(), expected, Py_EQ) : -1;
        if (equal <= 0) return equal;
        if (numbers.compare_exchange(index, current, next)) return 1;
    }
}

int compare_exchange_objects(ObjectSlots& slots, std::size_t index, PyObject* expected, PyObject* desired) {
    for (;;) {
        const CellRef current = slots.get(index);
        const PyRef value = decode_cell(current.get());
        const int equal = value ? PyObject_RichCompareBool(value.get(), expected, Py_EQ) : -1;
        if (equal <= 0) return equal;
        const int stored = slots.replace_if(index, current.get(), desired);
        if (stored != 0) return stored;
    }
}

}  // namespace

const char* name_of(ElementType type) {
    switch (type) {
        case ElementType::int64: return "int64";
        case ElementType::float64: return "float64";
        default: return "object";
    }
}

bool ArrayStorage::fill(PyObject* initial, PyObject* dtype) {
    if (dtype != Py_None && !read_type(dtype, &type_)) return false;
    const PyRef values = list_of(initial);
    if (!values) return false;
    if (dtype == Py_None) type_ = type_for(values.get());
    const auto size = static_cast<std::size_t>(PyList_GET_SIZE(values.get()));
    std::vector<Cell> objects;
    try {
        switch (type_) {
            case ElementType::int64: store_.emplace<Ints>(size); break;
            case ElementType::float64: store_.emplace<Reals>(size); break;
            default: objects.resize(size);
        }
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
    size_ = size;
    if (type_ != ElementType::object) set_shared();
    if (auto* ints = std::get_if<Ints>(&store_)) return fill_numbers(*ints, values.get());
    if (auto* reals = std::get_if<Reals>(&store_)) return fill_numbers(*reals, values.get());
    for (std::size_t i = 0; i < size; ++i) {
        objects[i] = Cell(Py_NewRef(PyList_GET_ITEM(values.get(), static_cast<Py_ssize_t>(i))));
    }
    store_.emplace<ObjectSlots>(std::move(objects), *this);
    return true;
}

bool ArrayStorage::share() {
    if (is_shared()) return true;
    if (!objects()->share()) return false;
    set_shared();
    return true;
}

void* ArrayStorage::memory() noexcept {
    if (auto* ints = std::get_if<Ints>(&store_)) return ints->data();
    if (auto* reals = std::get_if<Reals>(&store_)) return reals->data();
    return nullptr;
}

PyRef ArrayStorage::get(std::size_t index) {
    if (auto* ints = std::get_if<Ints>(&store_)) return PyRef::steal(box(ints->get(index)));
    if (auto* reals = std::get_if<Reals>(&store_)) return PyRef::steal(box(reals->get(index)));
    return decode_cell(objects()->get(index));
}

bool ArrayStorage::set(std::size_t index, PyObject* value) {
    if (auto* ints = std::get_if<Ints>(&store_)) {
        std::int64_t number = 0;
        if (!read_element(value, &number)) return false;
        ints->set(index, number);
    } else if (auto* reals = std::get_if<Reals>(&store_)) {
        double number = 0;
        if (!read_element(value, &number)) return false;
        reals->set(index, number);
    } else {
        return objects()->set(index, value);
    }
    return true;
}

PyRef ArrayStorage::add(std::size_t index, PyObject* amount) {
    if (auto* ints = std::get_if<Ints>(&store_)) return add_number(*ints, index, amount);
    if (auto* reals = std::get_if<Reals>(&store_)) return add_number(*reals, index, amount);
    for (;;) {
        const CellRef current = objects()->get(index);
        const PyRef value = decode_cell(current.get());
        if (!value) return {};
        PyRef sum = add_objects(value.get(), amount, index);
        if (!sum) return sum;
        const int stored = objects()->replace_if(index, current.get(), sum.get());
        if (stored < 0) return {};
        if (stored > 0) return sum;
    }
}

int ArrayStorage::compare_exchange(std::size_t index, PyObject* expected, PyObject* desired) {
    if (auto* ints = std::get_if<Ints>(&store_)) return compare_exchange_numbers(*ints, index, expected, desired);
    if (auto* reals = std::get_if<Reals>(&store_)) return compare_exchange_numbers(*reals, index, expected, desired);
    return compare_exchange_objects(*objects(), index, expected, desired);
}

PyRef ArrayStorage::to_list(const ElementRange& range) {
    if (auto* ints = std::get_if<Ints>(&store_)) return list_numbers(*ints, range);
    if (auto* reals = std::get_if<Reals>(&store_)) return list_numbers(*reals, range);
    PyRef list = PyRef::steal(PyList_New(range.count));
    if (!list) return list;
    std::vector<Cell> copies;
    try {
        copies = objects()->copy(range);
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return {};
    }
    return decode_list(std::move(list), copies);
}

bool ArrayStorage::set_range(const ElementRange& range, PyObject* values) {
    try {
        if (auto* ints = std::get_if<Ints>(&store_)) return set_numbers(*ints, range, values);
        if (auto* reals = std::get_if<Reals>(&store_)) return set_numbers(*reals, range, values);
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
    for (Py_ssize_t i = 0; i < range.count; ++i) {
        if (!objects()->set(range[i], PyList_GET_ITEM(values, i))) return false;
    }
    return true;
}

}  // namespace pyferris::python
