// The steps of a SafeDict that read, compute and write: atomic because they store only over what they read, and start
// again otherwise; and `update`, which is as many steps as there are entries.
#include "dict_core.hpp"
#include "type_support.hpp"

namespace pyferris::python {

namespace {

// Stores what `compute` makes of the value of `key` (null: absent) and returns it, a new reference; null with an error
// set. `compute` runs unlocked, once more for each time that another thread was faster.
template <class Compute>
PyObject* transform(DictCore& core, PyObject* key, Compute compute) {
    const Py_hash_t hash = PyObject_Hash(key);
    if (hash == -1) return nullptr;
    Lookup lookup(core, key, hash);
    for (;;) {
        switch (lookup.find()) {
            case Lookup::Result::found: {
                const PyRef current = lookup.pin();
                PyRef next = PyRef::steal(current ? compute(current.get()) : nullptr);
                const int stored = next ? lookup.replace_if(next.get()) : -1;
                if (stored < 0) return nullptr;
                if (stored > 0) return next.release();
                break;
            }
            case Lookup::Result::absent: {
                lookup.unlock();
                PyRef next = PyRef::steal(compute(nullptr));
                if (!next) return nullptr;
                Offer offer(next.get(), kDictValue, core);
                switch (lookup.find(&offer)) {
                    case Lookup::Result::found: lookup.unlock(); break;
                    case Lookup::Result::absent: return lookup.insert(offer) ? next.release() : nullptr;
                    default: return nullptr;
                }
                break;
            }
            default: return nullptr;
        }
    }
}

// Turns the TypeError of `value + amount` into one that says where the value came from.
void explain_increment(PyObject* key, PyObject* value, PyObject* amount) {
    const ErrorCause cause;
    const PyRef key_text = describe(key);
    const PyRef value_text = PyRef::steal(key_text ? describe(value).release() : nullptr);
    const PyRef amount_text = PyRef::steal(value_text ? describe(amount).release() : nullptr);
    if (!amount_text) return;
    PyErr_Format(PyExc_TypeError,
                 "cannot increment the value of key %U by %U: it is %U, of type %.200s, not a number; put() a number "
                 "there first, or compute with update_value()",
                 key_text.get(), amount_text.get(), value_text.get(), Py_TYPE(value)->tp_name);
}

PyObject* add_to(PyObject* key, PyObject* value, PyObject* amount) {
    if (value == nullptr) {
        if (PyLong_CheckExact(amount) || PyFloat_CheckExact(amount)) return Py_NewRef(amount);
        const PyRef zero = PyRef::steal(PyLong_FromLong(0));
        return zero ? PyNumber_Add(zero.get(), amount) : nullptr;
    }
    PyObject* sum = PyNumber_Add(value, amount);
    if (sum == nullptr && PyErr_ExceptionMatches(PyExc_TypeError) != 0) explain_increment(key, value, amount);
    return sum;
}

// The two objects of element `index` of what `update` was given.
bool read_pair(PyObject* element, Py_ssize_t index, PyRef* key, PyRef* value) {
    const PyRef pair = PyRef::steal(PySequence_Tuple(element));
    if (!pair) {
        if (PyErr_ExceptionMatches(PyExc_TypeError) != 0) {
            const ErrorCause cause;
            const PyRef text = describe(element);
            if (text) {
                PyErr_Format(PyExc_TypeError,
                             "element %zd of what a SafeDict is filled from is no pair of key and value: %U", index,
                             text.get());
            }
        }
        return false;
    }
    if (PyTuple_GET_SIZE(pair.get()) != 2) {
        const PyRef text = describe(element);
        if (text) {
            PyErr_Format(PyExc_ValueError,
                         "element %zd of what a SafeDict is filled from has length %zd, a pair of key and value has "
                         "2: %U",
                         index, PyTuple_GET_SIZE(pair.get()), text.get());
        }
        return false;
    }
    *key = PyRef::share(PyTuple_GET_ITEM(pair.get(), 0));
    *value = PyRef::share(PyTuple_GET_ITEM(pair.get(), 1));
    return true;
}

bool update_from_dict(DictCore& core, PyObject* other) {
    // A copy of our own, which nobody changes while keys run their `__eq__`.
    const PyRef copy = PyRef::steal(PyDict_Copy(other));
    if (!copy) return false;
    PyObject *key = nullptr, *value = nullptr;
    Py_ssize_t position = 0;
    while (PyDict_Next(copy.get(), &position, &key, &value) != 0) {
        if (!dict_put(core, key, value)) return false;
    }
    return true;
}

bool update_from_safe_dict(DictCore& core, PyObject* other) {
    DictSnapshot snapshot;
    if (!snapshot.take(dict_core(other), DictSnapshot::Part::items)) return false;
    for (std::size_t i = 0; i < snapshot.size(); ++i) {
        const PyRef key = snapshot.key(i);
        const PyRef value = PyRef::steal(key ? snapshot.value(i).release() : nullptr);
        if (!value || !dict_put(core, key.get(), value.get())) return false;
    }
    return true;
}

bool update_from_mapping(DictCore& core, PyObject* other, PyObject* keys_method) {
    const PyRef keys = PyRef::steal(PyObject_CallNoArgs(keys_method));
    const PyRef iterator = PyRef::steal(keys ? PyObject_GetIter(keys.get()) : nullptr);
    if (!iterator) return false;
    for (;;) {
        const PyRef key = PyRef::steal(PyIter_Next(iterator.get()));
        if (!key) return PyErr_Occurred() == nullptr;
        const PyRef value = PyRef::steal(PyObject_GetItem(other, key.get()));
        if (!value || !dict_put(core, key.get(), value.get())) return false;
    }
}

bool update_from_pairs(DictCore& core, PyObject* other) {
    const PyRef iterator = PyRef::steal(PyObject_GetIter(other));
    if (!iterator) {
        if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) return false;
        PyErr_Clear();
        const PyRef text = describe(other);
        if (text) {
            PyErr_Format(PyExc_TypeError,
                         "a SafeDict is filled from a mapping or an iterable of pairs of key and value, not from "
                         "%.200s: %U",
                         Py_TYPE(other)->tp_name, text.get());
        }
        return false;
    }
    for (Py_ssize_t index = 0;; ++index) {
        const PyRef element = PyRef::steal(PyIter_Next(iterator.get()));
        if (!element) return PyErr_Occurred() == nullptr;
        PyRef key, value;
        if (!read_pair(element.get(), index, &key, &value) || !dict_put(core, key.get(), value.get())) return false;
    }
}

}  // namespace

bool dict_update(DictCore& core, PyObject* other) {
    if (PyDict_CheckExact(other)) return update_from_dict(core, other);
    if (is_safe_dict(other)) return update_from_safe_dict(core, other);
    const PyRef keys = PyRef::steal(PyObject_GetAttrString(other, "keys"));
    if (keys) return update_from_mapping(core, other, keys.get());
    if (PyErr_ExceptionMatches(PyExc_AttributeError) == 0) return false;
    PyErr_Clear();
    return update_from_pairs(core, other);
}

PyObject* dict_increment(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static constexpr Parameters<2> kParameters{"increment", {"key", "n"}, 1};
    std::array<PyObject*, 2> given;
    if (!kParameters.read(args, count, keywords, &given)) return nullptr;
    const PyRef one = PyRef::steal(given[1] == nullptr ? PyLong_FromLong(1) : nullptr);
    PyObject* amount = given[1] != nullptr ? given[1] : one.get();
    if (amount == nullptr) return nullptr;
    if (PyNumber_Check(amount) == 0) {
        const PyRef text = describe(amount);
        if (text) {
            PyErr_Format(PyExc_TypeError, "increment() takes a number as n, not %.200s: %U", Py_TYPE(amount)->tp_name,
                         text.get());
        }
        return nullptr;
    }
    PyObject* key = given[0];
    return transform(dict_core(self), key, [=](PyObject* value) { return add_to(key, value, amount); });
}

PyObject* dict_update_value(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static constexpr Parameters<3> kParameters{"update_value", {"key", "fn", "default"}, 3};
    std::array<PyObject*, 3> given;
    if (!kParameters.read(args, count, keywords, &given)) return nullptr;
    PyObject* fn = given[1];
    PyObject* fallback = given[2];
    if (PyCallable_Check(fn) == 0) {
        const PyRef text = describe(fn);
        if (text) {
            PyErr_Format(PyExc_TypeError, "update_value() takes a callable as fn, not %.200s: %U", Py_TYPE(fn)->tp_name,
                         text.get());
        }
        return nullptr;
    }
    return transform(dict_core(self), given[0],
                     [=](PyObject* value) { return PyObject_CallOneArg(fn, value != nullptr ? value : fallback); });
}

PyObject* dict_compare_exchange(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static constexpr Parameters<3> kParameters{"compare_exchange", {"key", "expected", "new"}, 3};
    std::array<PyObject*, 3> given;
    if (!kParameters.read(args, count, keywords, &given)) return nullptr;
    const Py_hash_t hash = PyObject_Hash(given[0]);
    if (hash == -1) return nullptr;
    Offer desired(given[2], kDictValue, dict_core(self));
    Lookup lookup(dict_core(self), given[0], hash);
    for (;;) {
        const Lookup::Result result = lookup.find(&desired);
        if (result == Lookup::Result::error) return nullptr;
        if (result == Lookup::Result::absent) {
            lookup.unlock();
            Py_RETURN_FALSE;
        }
        if (lookup.is_value(given[1])) {
            lookup.replace(desired);
            Py_RETURN_TRUE;
        }
        const PyRef current = lookup.pin();
        const int equal = current ? PyObject_RichCompareBool(current.get(), given[1], Py_EQ) : -1;
        if (equal < 0) return nullptr;
        if (equal == 0) Py_RETURN_FALSE;
        const int stored = lookup.replace_if(given[2]);
        if (stored < 0) return nullptr;
        if (stored > 0) Py_RETURN_TRUE;
    }
}

}  // namespace pyferris::python
