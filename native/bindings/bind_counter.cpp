// SafeCounter: a Counter as a Python object. It refers to no other object, so garbage collection does not see it; its
// one field is atomic, so no method takes a lock, and objects of several interpreters can stand on it.
//
// Under operators it is its value: each one first makes an int of it. The in-place ones are refused, as `c += 1` could
// only rebind the name to an int, which no other thread would see.
#include "module_state.hpp"
#include "pyferris/counter.hpp"
#include "shared_state.hpp"
#include "structmember.h"
#include "type_support.hpp"

namespace pyferris::python {

namespace {

struct CounterState final : SharedState {
    CounterState() noexcept : SharedState(SharedKind::counter, true) {}
    Counter counter;
};

struct CounterObject {
    PyObject_HEAD
    std::shared_ptr<CounterState> state;
    PyObject* weakrefs;
};

CounterObject* as_counter(PyObject* object) { return reinterpret_cast<CounterObject*>(object); }
Counter& counter_of(PyObject* object) { return as_counter(object)->state->counter; }

PyObject* value_of(PyObject* object) { return PyLong_FromLongLong(counter_of(object).get()); }

void dealloc(PyObject* object) {
    CounterObject* self = as_counter(object);
    PyTypeObject* type = Py_TYPE(object);
    if (self->weakrefs != nullptr) PyObject_ClearWeakRefs(object);
    self->state.~shared_ptr();
    type->tp_free(object);
    Py_DECREF(type);
}

PyObject* make_on(PyTypeObject* type, std::shared_ptr<CounterState> state) {
    PyObject* object = type->tp_alloc(type, 0);
    if (object != nullptr) new (&as_counter(object)->state) std::shared_ptr<CounterState>(std::move(state));
    return object;
}

PyObject* make(PyTypeObject* type, PyObject* /*args*/, PyObject* /*kwargs*/) {
    try {
        return make_on(type, std::make_shared<CounterState>());
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
}

// Reads an argument of `function`; false with an error set.
bool read_value(const char* function, PyObject* value, std::int64_t* result) {
    const Int64Read read = read_int64(value, result);
    if (read == Int64Read::ok) return true;
    if (read == Int64Read::error) return false;
    const PyRef text = describe(value);
    if (!text) return false;
    if (read == Int64Read::not_int) {
        PyErr_Format(PyExc_TypeError, "%s() takes an int, not %.200s: %U", function, Py_TYPE(value)->tp_name,
                     text.get());
    } else {
        PyErr_Format(PyExc_OverflowError,
                     "%s(): %U does not fit into a SafeCounter's %s; for larger numbers use SafeDict.increment()",
                     function, text.get(), kInt64Range);
    }
    return false;
}

PyObject* refuse_step(std::int64_t value, const char* sign, std::int64_t amount) {
    return PyErr_Format(PyExc_OverflowError,
                        "%lld %s %lld does not fit into a SafeCounter's %s; the counter keeps its value: set() it "
                        "anew, or use SafeDict.increment() for larger numbers",
                        static_cast<long long>(value), sign, static_cast<long long>(amount), kInt64Range);
}

int init(PyObject* object, PyObject* args, PyObject* kwargs) {
    static const char* names[] = {"initial", nullptr};
    PyObject* initial = nullptr;
    if (PyArg_ParseTupleAndKeywords(args, kwargs, "|O:SafeCounter", const_cast<char**>(names), &initial) == 0) {
        return -1;
    }
    std::int64_t value = 0;
    if (initial != nullptr && !read_value("SafeCounter", initial, &value)) return -1;
    counter_of(object).set(value);
    return 0;
}

// The amount of a step: the one argument, or `amount` as it is where none was given.
bool read_amount(const Parameters<1>& parameters, PyObject* const* args, Py_ssize_t count, PyObject* keywords,
                 std::int64_t* amount) {
    std::array<PyObject*, 1> given;
    if (!parameters.read(args, count, keywords, &given)) return false;
    return given[0] == nullptr || read_value(parameters.function, given[0], amount);
}

PyObject* increment(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static constexpr Parameters<1> kParameters{"increment", {"n"}, 0};
    std::int64_t amount = 1;
    if (!read_amount(kParameters, args, count, keywords, &amount)) return nullptr;
    const Counter::Step step = counter_of(object).add(amount);
    return step.overflow ? refuse_step(step.value, "+", amount) : PyLong_FromLongLong(step.value);
}

PyObject* decrement(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static constexpr Parameters<1> kParameters{"decrement", {"n"}, 0};
    std::int64_t amount = 1;
    if (!read_amount(kParameters, args, count, keywords, &amount)) return nullptr;
    const Counter::Step step = counter_of(object).subtract(amount);
    return step.overflow ? refuse_step(step.value, "-", amount) : PyLong_FromLongLong(step.value);
}

PyObject* add(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static constexpr Parameters<1> kParameters{"add", {"n"}, 1};
    std::int64_t amount = 0;
    if (!read_amount(kParameters, args, count, keywords, &amount)) return nullptr;
    const Counter::Step step = counter_of(object).add(amount);
    return step.overflow ? refuse_step(step.value, "+", amount) : PyLong_FromLongLong(step.value);
}

PyObject* get(PyObject* object, PyObject* /*unused*/) { return value_of(object); }

PyObject* set(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static constexpr Parameters<1> kParameters{"set", {"value"}, 1};
    std::array<PyObject*, 1> given;
    std::int64_t value = 0;
    if (!kParameters.read(args, count, keywords, &given) || !read_value("set", given[0], &value)) return nullptr;
    counter_of(object).set(value);
    Py_RETURN_NONE;
}

PyObject* compare_exchange(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static constexpr Parameters<2> kParameters{"compare_exchange", {"expected", "new"}, 2};
    std::array<PyObject*, 2> given;
    if (!kParameters.read(args, count, keywords, &given)) return nullptr;
    std::int64_t desired = 0;
    if (!read_value("compare_exchange", given[1], &desired)) return nullptr;
    std::int64_t expected = 0;
    const Int64Read read = read_int64(given[0], &expected);
    if (read == Int64Read::too_big) Py_RETURN_FALSE;  // no counter has that value
    if (read != Int64Read::ok) {
        read_value("compare_exchange", given[0], &expected);
        return nullptr;
    }
    return PyBool_FromLong(counter_of(object).compare_exchange(expected, desired) ? 1 : 0);
}

// What an operator works on: a counter's value, anything else itself.
PyRef operand(PyObject* object) {
    return is_dealloced_by(object, dealloc) ? PyRef::steal(value_of(object)) : PyRef::share(object);
}

template <unaryfunc Operation>
PyObject* unary(PyObject* object) {
    const PyRef value = PyRef::steal(value_of(object));
    return value ? Operation(value.get()) : nullptr;
}

template <binaryfunc Operation>
PyObject* binary(PyObject* left, PyObject* right) {
    const PyRef a = operand(left);
    const PyRef b = operand(right);
    return a && b ? Operation(a.get(), b.get()) : nullptr;
}

PyObject* power(PyObject* base, PyObject* exponent, PyObject* modulus) {
    const PyRef a = operand(base);
    const PyRef b = operand(exponent);
    const PyRef c = operand(modulus);
    return a && b && c ? PyNumber_Power(a.get(), b.get(), c.get()) : nullptr;
}

PyObject* refuse_in_place(PyObject* /*self*/, PyObject* /*other*/) {
    PyErr_SetString(PyExc_TypeError,
                    "a SafeCounter does not change under operators such as '+=': use increment(n), decrement(n), "
                    "set(value) or compare_exchange(expected, new)");
    return nullptr;
}

PyObject* refuse_in_place_power(PyObject* self, PyObject* other, PyObject* /*modulus*/) {
    return refuse_in_place(self, other);
}

int is_not_zero(PyObject* object) { return counter_of(object).get() != 0 ? 1 : 0; }

PyObject* compare(PyObject* left, PyObject* right, int operation) {
    const PyRef a = operand(left);
    const PyRef b = operand(right);
    return a && b ? PyObject_RichCompare(a.get(), b.get(), operation) : nullptr;
}

PyObject* repr(PyObject* object) {
    return PyUnicode_FromFormat("%s(%lld)", short_name(Py_TYPE(object)),
                                static_cast<long long>(counter_of(object).get()));
}

PyObject* text(PyObject* object) {
    return PyUnicode_FromFormat("%lld", static_cast<long long>(counter_of(object).get()));
}

PyObject* format(PyObject* object, PyObject* specification) {
    const PyRef value = PyRef::steal(value_of(object));
    return value ? PyObject_Format(value.get(), specification) : nullptr;
}

PyObject* reduce(PyObject* self, PyObject* /*unused*/) { return reduce_to_handle(self, as_counter(self)->state); }

constexpr const char* kDoc =
    "SafeCounter(initial=0)\n--\n\n"
    "A whole number that threads count with. Every method is one atomic step, from any thread.\n\n"
    "initial: an int of signed 64 bits. Other types are a TypeError; numbers outside, also as the result of a\n"
    "step, an OverflowError, and the counter keeps its value.\n\n"
    "In expressions it stands for its value at that moment: `c + 1`, `c == 3`, `if c:` and `int(c)` use an int, and\n"
    "`str(c)` is the number. Nothing but its methods changes it: `c += 1` is a TypeError. As it compares by a value\n"
    "that changes, it has no hash. Pickled, it is a handle: the same counter in other interpreters of the process.\n\n"
    ">>> from pyferris.safe_thread import SafeCounter\n"
    ">>> c = SafeCounter(5)\n"
    ">>> c.increment(), c.decrement(3), c\n"
    "(6, 3, SafeCounter(3))\n";

PyMethodDef methods[] = {
    {"increment", as_method(increment), METH_FASTCALL | METH_KEYWORDS,
     "increment($self, /, n=1)\n--\n\n"
     "Adds `n` and returns the new value. Any thread.\n\n"
     "OverflowError if the sum does not fit into signed 64 bits (then nothing changes), TypeError if `n` is no int.\n\n"
     ">>> from pyferris.safe_thread import SafeCounter\n"
     ">>> SafeCounter(5).increment(10)\n"
     "15\n"},
    {"decrement", as_method(decrement), METH_FASTCALL | METH_KEYWORDS,
     "decrement($self, /, n=1)\n--\n\n"
     "Subtracts `n` and returns the new value. Any thread; errors as `increment`.\n\n"
     ">>> from pyferris.safe_thread import SafeCounter\n"
     ">>> SafeCounter(5).decrement()\n"
     "4\n"},
    {"add", as_method(add), METH_FASTCALL | METH_KEYWORDS,
     "add($self, /, n)\n--\n\n"
     "Adds `n` and returns the new value: `increment` with an `n` that must be given. Any thread.\n\n"
     ">>> from pyferris.safe_thread import SafeCounter\n"
     ">>> SafeCounter(5).add(-7)\n"
     "-2\n"},
    {"get", get, METH_NOARGS,
     "get($self, /)\n--\n\n"
     "Returns the value as an int, as `int(counter)` does. Any thread.\n\n"
     ">>> from pyferris.safe_thread import SafeCounter\n"
     ">>> SafeCounter(5).get()\n"
     "5\n"},
    {"set", as_method(set), METH_FASTCALL | METH_KEYWORDS,
     "set($self, /, value)\n--\n\n"
     "Makes `value` the value; returns None. Any thread.\n\n"
     "OverflowError if `value` does not fit into signed 64 bits, TypeError if it is no int.\n\n"
     ">>> from pyferris.safe_thread import SafeCounter\n"
     ">>> c = SafeCounter(5); c.set(-1); c\n"
     "SafeCounter(-1)\n"},
    {"compare_exchange", as_method(compare_exchange), METH_FASTCALL | METH_KEYWORDS,
     "compare_exchange($self, /, expected, new)\n--\n\n"
     "Stores `new` if the value is `expected`, in one step; returns whether it was. Any thread.\n\n"
     "OverflowError if `new` does not fit into signed 64 bits, TypeError if one of the two is no int.\n\n"
     ">>> from pyferris.safe_thread import SafeCounter\n"
     ">>> c = SafeCounter(5)\n"
     ">>> c.compare_exchange(5, 8), c.compare_exchange(5, 9), c\n"
     "(True, False, SafeCounter(8))\n"},
    {"__format__", format, METH_O, "__format__($self, format_spec, /)\n--\n\nFormats the value as an int."},
    {"__reduce__", reduce, METH_NOARGS, "__reduce__($self, /)\n--\n\nA handle, for interpreters of this process."},
    {"__copy__", refuse_copy, METH_NOARGS, "__copy__($self, /)\n--\n\nTypeError: a counter is shared, not copied."},
    {"__deepcopy__", refuse_copy, METH_O, "__deepcopy__($self, memo, /)\n--\n\nAs `__copy__`."},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(CounterObject, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_new, as_slot(make)},
    {Py_tp_init, as_slot(init)},
    {Py_tp_dealloc, as_slot(dealloc)},
    {Py_tp_repr, as_slot(repr)},
    {Py_tp_str, as_slot(text)},
    {Py_tp_richcompare, as_slot(compare)},
    {Py_tp_hash, as_slot(PyObject_HashNotImplemented)},
    {Py_tp_methods, static_cast<void*>(methods)},
    {Py_tp_members, static_cast<void*>(members)},
    {Py_tp_doc, const_cast<char*>(kDoc)},
    {Py_nb_int, as_slot(value_of)},
    {Py_nb_index, as_slot(value_of)},
    {Py_nb_float, as_slot(unary<PyNumber_Float>)},
    {Py_nb_bool, as_slot(is_not_zero)},
    {Py_nb_negative, as_slot(unary<PyNumber_Negative>)},
    {Py_nb_positive, as_slot(unary<PyNumber_Positive>)},
    {Py_nb_absolute, as_slot(unary<PyNumber_Absolute>)},
    {Py_nb_invert, as_slot(unary<PyNumber_Invert>)},
    {Py_nb_add, as_slot(binary<PyNumber_Add>)},
    {Py_nb_subtract, as_slot(binary<PyNumber_Subtract>)},
    {Py_nb_multiply, as_slot(binary<PyNumber_Multiply>)},
    {Py_nb_true_divide, as_slot(binary<PyNumber_TrueDivide>)},
    {Py_nb_floor_divide, as_slot(binary<PyNumber_FloorDivide>)},
    {Py_nb_remainder, as_slot(binary<PyNumber_Remainder>)},
    {Py_nb_divmod, as_slot(binary<PyNumber_Divmod>)},
    {Py_nb_power, as_slot(power)},
    {Py_nb_lshift, as_slot(binary<PyNumber_Lshift>)},
    {Py_nb_rshift, as_slot(binary<PyNumber_Rshift>)},
    {Py_nb_and, as_slot(binary<PyNumber_And>)},
    {Py_nb_or, as_slot(binary<PyNumber_Or>)},
    {Py_nb_xor, as_slot(binary<PyNumber_Xor>)},
    {Py_nb_inplace_add, as_slot(refuse_in_place)},
    {Py_nb_inplace_subtract, as_slot(refuse_in_place)},
    {Py_nb_inplace_multiply, as_slot(refuse_in_place)},
    {Py_nb_inplace_true_divide, as_slot(refuse_in_place)},
    {Py_nb_inplace_floor_divide, as_slot(refuse_in_place)},
    {Py_nb_inplace_remainder, as_slot(refuse_in_place)},
    {Py_nb_inplace_power, as_slot(refuse_in_place_power)},
    {Py_nb_inplace_lshift, as_slot(refuse_in_place)},
    {Py_nb_inplace_rshift, as_slot(refuse_in_place)},
    {Py_nb_inplace_and, as_slot(refuse_in_place)},
    {Py_nb_inplace_or, as_slot(refuse_in_place)},
    {Py_nb_inplace_xor, as_slot(refuse_in_place)},
    {0, nullptr},
};

PyType_Spec spec = {"pyferris._native.SafeCounter", sizeof(CounterObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE, slots};

}  // namespace

PyObject* attach_counter(PyTypeObject* type, std::shared_ptr<SharedState> state) {
    return make_on(type, std::static_pointer_cast<CounterState>(std::move(state)));
}

bool register_counter(PyObject* module) { return add_shared_type(module, &spec, SharedKind::counter); }

}  // namespace pyferris::python
