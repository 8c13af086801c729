// What `isolation="auto"` steers a running map by, and what it goes by.
#include <algorithm>
#include <chrono>
#include <thread>
#include <unordered_set>

#include "map_reader.hpp"
#include "py_compat.hpp"

namespace pyferris::python {

namespace {

constexpr std::uint64_t kBeginsWithinNs = 150'000;  // mostly

}  // namespace

// `_widen(lanes)`: who calls it waits for the map.
PyObject* map_widen(PyObject* self, PyObject* lanes) {
    const std::size_t count = PyLong_AsSize_t(lanes);
    const std::shared_ptr<MapRun> run = as_map(self)->run;
    if (run_of(as_map(self)) == nullptr || PyErr_Occurred() != nullptr) return nullptr;
    if (count > 1 && !PyRef::steal(run->own_items())) return nullptr;
    if (!run->widen(count)) Py_RETURN_NONE;
    PyThreadState* state = PyEval_SaveThread();
    std::this_thread::sleep_for(std::chrono::nanoseconds(kBeginsWithinNs));
    run->spread();
    PyEval_RestoreThread(state);
    Py_RETURN_NONE;
}

// `_run_by(batch or None)`
PyObject* map_run_by(PyObject* self, PyObject* batch) {
    MapRun* const run = run_of(as_map(self));
    if (run == nullptr) return nullptr;
    if (batch != Py_None && !PyRef::steal(run->own_items())) return nullptr;
    run->run_by(batch == Py_None ? nullptr : batch);
    Py_RETURN_NONE;
}

// `_own_items()`: the map's items where nobody changes them any more; None where they were taken at its start.
PyObject* map_own_items(PyObject* self, PyObject* /*unused*/) {
    MapRun* const run = run_of(as_map(self));
    return run == nullptr ? nullptr : run->own_items();
}

// `_watch(pause, longest, item, rest, held, busy, worth, passed)`: waits, without the interpreter, and returns (over,
// late, computed).
//
// As long as an item takes less than `item` seconds, or all that are left less than `rest`, and less than `worth` as
// well by what those before took, `passed` seconds so far, nobody looks. Else, after `pause` seconds, the interpreter
// is asked for, but where it can be seen that the workers have it: to ask would stop them. Who gets it late, after more
// than `held` seconds, finds it held; where the workers have computed on `busy` cores or more meanwhile, it is they who
// hold it, and the next look comes after twice that pause, `longest` at most. Returns where they do not, where it was
// free twice, where it is held and what is left is worth `worth`, and once the map is over, or its time; `late` is
// whether it was found held last, `computed` on how many cores they have computed since.
PyObject* map_watch(PyObject* self, PyObject* args) {
    double pause = 0, longest = 0, item = 0, rest = 0, held = 0, busy = 0, worth = 0, passed = 0;
    if (PyArg_ParseTuple(args, "dddddddd", &pause, &longest, &item, &rest, &held, &busy, &worth, &passed) == 0) {
        return nullptr;
    }
    const std::shared_ptr<MapRun> run = as_map(self)->run;
    if (run_of(as_map(self)) == nullptr) return nullptr;
    const PyRef promise = PyRef::steal(run->promise(MapRun::kAll));
    if (!promise) return nullptr;
    bool late = false;
    bool free_before = false;
    bool worthy = false;
    double computed = 0;
    std::uint64_t finished = run->finished();
    const std::uint64_t first = now_ns();
    int done = 0;
    for (;;) {
        const std::uint64_t began = now_ns();
        const std::uint64_t until = began + static_cast<std::uint64_t>(pause * 1e9);
        const std::uint64_t computed_before = run->computed_ns();
        std::uint64_t asked = began;
        const auto cores = [&](std::uint64_t now) {
            return static_cast<double>(run->computed_ns() - computed_before) / static_cast<double>(now - began);
        };
        done = wait_final_while(as_future(promise.get()), as_map(self)->deadline, [&] {
            const std::uint64_t now = now_ns();
            const auto took = static_cast<double>(now - std::exchange(asked, now)) / 1e9;
            const std::uint64_t before = std::exchange(finished, run->finished());
            const auto count = static_cast<double>(finished - before);
            const auto left = static_cast<double>(run->added() - finished);
            const double since = passed + static_cast<double>(now - first) / 1e9;
            worthy = finished != 0 && left * since >= worth * static_cast<double>(finished);
            const bool may_scale = took >= item * count && took * left >= rest * count;
            if (now < until || (!may_scale && !worthy)) return true;
            if (!kCanPeek) return false;
            late = run->holds_interpreter();
            return late ? !worthy && cores(now) >= busy : !may_scale;
        });
        const std::uint64_t now = now_ns();
        if (done != 0 || now >= as_map(self)->deadline) break;
        computed = cores(now);
        late = static_cast<double>(now - asked) / 1e9 > held;
        if (late ? worthy || computed < busy : free_before) break;
        free_before = !late;
        if (late) pause = std::min(2 * pause, longest);
    }
    run->forget(promise.get());
    if (done < 0) return nullptr;
    const bool over = done > 0 || now_ns() >= as_map(self)->deadline;
    return Py_BuildValue("NNd", PyBool_FromLong(over ? 1 : 0), PyBool_FromLong(late ? 1 : 0), computed);
}

// `_samples()`: (index, nanoseconds) of some of the first items.
PyObject* map_samples(PyObject* self, PyObject* /*unused*/) {
    MapRun* const run = run_of(as_map(self));
    if (run == nullptr) return nullptr;
    PyRef list = PyRef::steal(PyList_New(0));
    for (const auto& [index, took] : run->samples()) {
        const PyRef pair = PyRef::steal(
            Py_BuildValue("KK", static_cast<unsigned long long>(index), static_cast<unsigned long long>(took)));
        if (!list || !pair || PyList_Append(list.get(), pair.get()) != 0) return nullptr;
    }
    return list.release();
}

namespace {

constexpr std::uint64_t kLookEveryNs = 100'000;  // whether there is still something to wait for

// `gil_delay(seconds, future=None)`: lets others run for so long, or until the future is done; then how many seconds it
// took to have the interpreter back. As long as the switch interval, or longer, where somebody computes in it.
PyObject* gil_delay(PyObject* /*module*/, PyObject* args) {
    double pause = 0;
    PyObject* future = nullptr;
    if (PyArg_ParseTuple(args, "d|O!", &pause, module_state().future_core, &future) == 0) return nullptr;
    PyThreadState* self = PyEval_SaveThread();
    const std::uint64_t end = now_ns() + static_cast<std::uint64_t>(pause * 1e9);
    for (std::uint64_t now = now_ns(); now < end; now = now_ns()) {
        if (future != nullptr && as_future(future)->state.is_final()) break;
        std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(kLookEveryNs, end - now)));
    }
    const std::uint64_t asked = now_ns();
    PyEval_RestoreThread(self);
    return PyFloat_FromDouble(static_cast<double>(now_ns() - asked) / 1e9);
}

PyObject* item_of(PyObject* items, Py_ssize_t index) {
#ifndef Py_GIL_DISABLED
    if (PyList_CheckExact(items) && index < PyList_GET_SIZE(items)) return Py_NewRef(PyList_GET_ITEM(items, index));
#endif
    if (PyTuple_CheckExact(items) && index < PyTuple_GET_SIZE(items)) return Py_NewRef(PyTuple_GET_ITEM(items, index));
    return PySequence_GetItem(items, index);
}

// A range counts much faster than it is asked for its members.
PyObject* counter_of(PyObject* items, Py_ssize_t begin, Py_ssize_t end) {
    const PyRef part = PyRef::steal(PySequence_GetSlice(items, begin, end));
    return part ? PyObject_GetIter(part.get()) : nullptr;
}

bool is_atom(PyObject* object) {
    const PyTypeObject* const type = Py_TYPE(object);
    return type == &PyLong_Type || type == &PyUnicode_Type || type == &PyFloat_Type || type == &PyBytes_Type ||
           type == &PyBool_Type || object == Py_None || type == &PyComplex_Type || object == Py_Ellipsis ||
           type == &PyRange_Type;
}

// Whether all of a tuple's elements, or a list's, are atoms. Runs no code of others.
bool are_atoms(PyObject* const* elements, Py_ssize_t size) {
    const PyTypeObject* known = &PyLong_Type;
    for (Py_ssize_t i = 0; i < size; ++i) {
        const PyTypeObject* const type = Py_TYPE(elements[i]);
        if (type == known || type == &PyUnicode_Type) continue;
        if (!is_atom(elements[i])) return false;
        known = type;
    }
    return true;
}

constexpr int kDeepestItem = 100;
// What it takes to look at something, in elements of a list.
constexpr Py_ssize_t kContainer = 4;
constexpr Py_ssize_t kPair = 4;       // of a dict
constexpr Py_ssize_t kSetMember = 6;  // which is copied first

// Whether it is data of exact built-in types, of `*most` elements at most, which are counted down.
bool is_small_data(PyObject* object, Py_ssize_t* most, int depth = 0);

bool are_small_data(PyObject* const* elements, Py_ssize_t size, Py_ssize_t* most, int depth) {
    if ((*most -= size) < 0) return false;
    if (are_atoms(elements, size)) return true;
    for (Py_ssize_t i = 0; i < size; ++i) {
        if (!is_small_data(elements[i], most, depth + 1)) return false;
    }
    return true;
}

bool is_small_dict(PyObject* dict, Py_ssize_t* most, int depth) {
    if ((*most -= kPair * PyDict_GET_SIZE(dict)) < 0) return false;
    Py_ssize_t position = 0;
    PyObject *key = nullptr, *value = nullptr;
    while (PyDict_Next(dict, &position, &key, &value) != 0) {
        if (!is_small_data(key, most, depth + 1) || !is_small_data(value, most, depth + 1)) return false;
    }
    return true;
}

// No code of others runs meanwhile. Where threads do not take turns, another one may change what can be changed: then a
// copy is looked at.
bool is_small_data(PyObject* object, Py_ssize_t* most, int depth) {
    const bool is_tuple = PyTuple_CheckExact(object);  // first, as many items are
    if (!is_tuple && is_atom(object)) return true;
    if ((*most -= kContainer) < 0 || depth == kDeepestItem) return false;
    if (is_tuple) {
        return are_small_data(&PyTuple_GET_ITEM(object, 0), PyTuple_GET_SIZE(object), most, depth);
    }
    if (PyByteArray_CheckExact(object)) return true;
    if (PyDict_CheckExact(object)) {
        if (kOneIsAttached) return is_small_dict(object, most, depth);
        const PyRef copy = PyRef::steal(kPair * PyDict_GET_SIZE(object) > *most ? nullptr : PyDict_Copy(object));
        return copy && is_small_dict(copy.get(), most, depth);
    }
    if (PyAnySet_CheckExact(object)) {
        if ((*most -= (kSetMember - 1) * PySet_GET_SIZE(object)) < 0) return false;
    } else if (!PyList_CheckExact(object)) {
        return false;
    } else if (kOneIsAttached) {
        return are_small_data(PySequence_Fast_ITEMS(object), PyList_GET_SIZE(object), most, depth);
    } else if (PyList_GET_SIZE(object) > *most) {
        return false;
    }
    const PyRef elements = PyRef::steal(PySequence_Tuple(object));
    return elements &&
           are_small_data(&PyTuple_GET_ITEM(elements.get(), 0), PyTuple_GET_SIZE(elements.get()), most, depth);
}

constexpr int kMostUnseen = 64;                 // items between two looks at the clock
constexpr std::uint64_t kShortUnseen = 50'000;  // ns that as many may take for twice as many the next time

// Takes over the reference to `result`. False with an error set: there is no memory for it.
bool append(PyObject* list, PyObject* result) {
#ifndef Py_GIL_DISABLED
    const Py_ssize_t size = PyList_GET_SIZE(list);
    if (size < reinterpret_cast<PyListObject*>(list)->allocated) {
        PyList_SET_ITEM(list, size, result);
        Py_SET_SIZE(reinterpret_cast<PyVarObject*>(list), size + 1);
        return true;
    }
#endif
    const PyRef taken = PyRef::steal(result);
    return PyList_Append(list, result) == 0;
}

// `extend_by(results, function, items, end, most, seconds)`: appends `function(items[i])` for each i from len(results)
// to `end`, or to the end of the items, which another thread may change, or until so many seconds are over. True where
// it has stopped before an item that is no data of exact built-in types with `most` elements at most; negative: any is.
PyObject* extend_by(PyObject* /*module*/, PyObject* args) {
    PyObject* results = nullptr;
    PyObject* function = nullptr;
    PyObject* items = nullptr;
    Py_ssize_t end = 0;
    Py_ssize_t most = 0;
    double seconds = 0;
    if (PyArg_ParseTuple(args, "O!OOnnd", &PyList_Type, &results, &function, &items, &end, &most, &seconds) == 0) {
        return nullptr;
    }
    const vectorcallfunc call = PyVectorcall_Function(function);
    const Py_ssize_t begin = PyList_GET_SIZE(results);
    const PyRef counter = PyRef::steal(PyRange_Check(items) ? counter_of(items, begin, end) : nullptr);
    if (PyErr_Occurred() != nullptr) return nullptr;
    std::uint64_t seen = now_ns();
    const Deadline until = seen + static_cast<std::uint64_t>(seconds * 1e9);
    int unseen = 0;
    int most_unseen = 1;
    for (Py_ssize_t i = begin; i < end; ++i) {
        if (unseen++ == most_unseen) {
            const std::uint64_t now = now_ns();
            if (now >= until) break;
            most_unseen = now - seen < kShortUnseen ? std::min(2 * most_unseen, kMostUnseen) : 1;
            seen = now;
            unseen = 1;
        }
        const PyRef item = PyRef::steal(counter ? PyIter_Next(counter.get()) : item_of(items, i));
        if (!item && PyErr_Occurred() == nullptr) break;
        if (!item && PyErr_ExceptionMatches(PyExc_IndexError) != 0) {
            PyErr_Clear();
            break;
        }
        if (!item) return nullptr;
        Py_ssize_t left = most;
        if (most >= 0 && !is_atom(item.get()) && !is_small_data(item.get(), &left)) {
            if (PyErr_Occurred() != nullptr) PyErr_Clear();
            Py_RETURN_TRUE;
        }
        PyObject* given[2] = {nullptr, item.get()};  // room for a self, as the flag promises
        PyObject* const result = call != nullptr
                                     ? call(function, given + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr)
                                     : PyObject_CallOneArg(function, item.get());
        if (result == nullptr || !append(results, result)) return nullptr;
    }
    Py_RETURN_FALSE;
}

// `is_small_data(object, most)`: whether it is data of exact built-in types, of `most` elements at most.
PyObject* is_small_data_method(PyObject* /*module*/, PyObject* args) {
    PyObject* object = nullptr;
    Py_ssize_t most = 0;
    if (PyArg_ParseTuple(args, "On", &object, &most) == 0) return nullptr;
    const bool small = is_small_data(object, &most);
    if (PyErr_Occurred() != nullptr) PyErr_Clear();  // changed by another thread meanwhile
    return PyBool_FromLong(small ? 1 : 0);
}

// `name_item(error, number)`: says on the error which item raised it, as maps do.
PyObject* name_item_method(PyObject* /*module*/, PyObject* args) {
    PyObject* error = nullptr;
    unsigned long long number = 0;
    if (PyArg_ParseTuple(args, "OK", &error, &number) == 0) return nullptr;
    name_item(error, number);
    Py_RETURN_NONE;
}

// Looks for what two items share and a call could change, and for what is not known to be plain.
class Division {
  public:
    // Whether the tree is plain.
    bool add_item(PyObject* item) {
        current_.clear();
        if (!add(item, 0)) return false;
        for (PyObject* each : current_) apart_ = seen_.insert(each).second && apart_;
        return true;
    }
    // Whether no item has had anything that can change of those before.
    bool apart() const noexcept { return apart_; }

  private:
    static constexpr int kDeepest = 100;

    bool add(PyObject* object, int depth) {
        if (is_atom(object)) return true;
        if (depth == kDeepest) return false;
        if (PyTuple_CheckExact(object)) {
            for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(object); ++i) {
                if (!add(PyTuple_GET_ITEM(object, i), depth + 1)) return false;
            }
            return true;
        }
        if (PyFrozenSet_CheckExact(object)) return add_each(object, depth);
        if (!PyList_CheckExact(object) && !PyDict_CheckExact(object) && !PyAnySet_CheckExact(object)) {
            if (PyObject_CheckBuffer(object) == 0) return false;
            current_.insert(object);
            return true;
        }
        if (!current_.insert(object).second) return true;
        if (!PyDict_CheckExact(object)) return add_each(object, depth);
        const PyRef values = PyRef::steal(PyDict_Values(object));
        return values && add_each(object, depth) && add_each(values.get(), depth);
    }

    bool add_each(PyObject* container, int depth) {
        const PyRef iterator = PyRef::steal(PyObject_GetIter(container));
        while (iterator) {
            const PyRef each = PyRef::steal(PyIter_Next(iterator.get()));
            if (!each) return PyErr_Occurred() == nullptr;
            if (!add(each.get(), depth + 1)) return false;
        }
        return false;
    }

    std::unordered_set<PyObject*> current_;  // of this item: borrowed, as it is alive
    std::unordered_set<PyObject*> seen_;     // of all before; for comparison
    bool apart_ = true;
};

// `are_apart(items)`: of trees of exact built-in types, and buffers, whether no two have a part in common that can
// change; None where something else is among them, of which nobody knows what it shares.
PyObject* are_apart(PyObject* /*module*/, PyObject* items) {
    if (PyRange_Check(items)) Py_RETURN_TRUE;
    Division division;
    bool plain = true;
    for (Py_ssize_t i = 0; plain && i < PySequence_Size(items); ++i) {
        const PyRef item = PyRef::steal(item_of(items, i));
        plain = item && division.add_item(item.get());
    }
    if (PyErr_Occurred() != nullptr) {  // a list that another thread changes
        PyErr_Clear();
        plain = false;
    }
    if (!plain) Py_RETURN_NONE;
    return PyBool_FromLong(division.apart() ? 1 : 0);
}

PyMethodDef functions[] = {
    {"are_apart", are_apart, METH_O, nullptr},
    {"extend_by", extend_by, METH_VARARGS, nullptr},
    {"gil_delay", gil_delay, METH_VARARGS, nullptr},
    {"is_small_data", is_small_data_method, METH_VARARGS, nullptr},
    {"name_item", name_item_method, METH_VARARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

bool register_map_lanes(PyObject* module) { return PyModule_AddFunctions(module, functions) == 0; }

}  // namespace pyferris::python
