#include "shipping.hpp"

#include <mutex>
#include <string_view>
#include <unordered_map>

#include "module_state.hpp"
#include "py_compat.hpp"
#include "shared_state.hpp"

namespace pyferris::python {

namespace {

constexpr std::size_t kMostFunctions = 256;  // whose bytes are remembered

/// One thing that must be as it was. Strong references, but to the function itself, and to what lives as long as it
/// does: it would never go otherwise.
struct Check {
    enum class Kind : char { entry, cell, code, defaults, kwdefaults, closure, attribute };
    Kind kind;
    PyObject* owner;
    PyObject* key;    // null for cells and functions' own parts
    PyObject* value;  // null: it was missing
    bool borrows_owner;
    bool borrows_value;
};

struct Shipped {
    PyObject* function = nullptr;   // borrowed, no longer than it lives; null once this was dropped
    PyObject* reference = nullptr;  // a weak one to the function, strong itself
    std::shared_ptr<const Shipment> shipment;
    std::vector<Check> checks;
};

struct Store {
    std::mutex mutex;  // guards all below; no Python under it
    std::unordered_map<PyObject*, std::shared_ptr<Shipped>> by_function;
    std::unordered_map<std::string_view, std::weak_ptr<const Shipment>> by_bytes;  // keys lie in the shipments
    std::uint64_t next = 1;

    // Guarded by the GIL: the entry of `by_function` that was looked up last. Most ship one function again and again.
    PyObject* last_function = nullptr;
    std::shared_ptr<Shipped> last;
};

Store& store() {
    static auto* const instance = new Store();
    return *instance;
}

void forget_last() {
#ifndef Py_GIL_DISABLED
    store().last_function = nullptr;
    store().last.reset();
#endif
}

// It was taken out of the store.
void drop(Shipped& shipped) {
    forget_last();
    Py_XDECREF(shipped.reference);
    for (const Check& check : shipped.checks) {
        if (!check.borrows_owner) Py_DECREF(check.owner);
        Py_XDECREF(check.key);
        if (!check.borrows_value) Py_XDECREF(check.value);
    }
    shipped.checks.clear();
    shipped.function = nullptr;
}

PyObject* function_part(PyObject* function, Check::Kind kind) {
    auto* object = reinterpret_cast<PyFunctionObject*>(function);
    switch (kind) {
        case Check::Kind::code: return object->func_code;
        case Check::Kind::defaults: return object->func_defaults;
        case Check::Kind::kwdefaults: return object->func_kwdefaults;
        default: return object->func_closure;
    }
}

bool holds(const Check& check) {
    switch (check.kind) {
        case Check::Kind::entry: {
            PyObject* found = PyDict_GetItemWithError(check.owner, check.key);
            if (found == nullptr && PyErr_Occurred() != nullptr) PyErr_Clear();
            return found == check.value;
        }
        case Check::Kind::cell: return PyCell_GET(check.owner) == check.value;
        case Check::Kind::attribute: {
            // Which may run Python code, and that code drop what is checked here.
            const PyRef owner = PyRef::share(check.owner);
            const PyRef key = PyRef::share(check.key);
            const PyRef found = PyRef::steal(PyObject_GetAttr(owner.get(), key.get()));
            if (!found) PyErr_Clear();
            return found.get() == check.value;
        }
        default: {
            PyObject* part = function_part(check.owner, check.kind);
            return (part == nullptr ? Py_None : part) == check.value;
        }
    }
}

// Whether it is the function, its closure, or a cell of that: these are never replaced.
bool lives_with(PyObject* object, PyObject* function) {
    if (object == function) return true;
    PyObject* closure = PyFunction_Check(function) ? PyFunction_GET_CLOSURE(function) : nullptr;
    if (closure == nullptr) return false;
    const Py_ssize_t size = PyTuple_GET_SIZE(closure);
    for (Py_ssize_t i = 0; i < size; ++i) {
        if (PyTuple_GET_ITEM(closure, i) == object) return true;
    }
    return object == closure;
}

bool read_check(PyObject* tuple, PyObject* function, Check* check) {
    const char* kind = nullptr;
    PyObject *owner = nullptr, *second = nullptr, *third = nullptr;
    if (PyArg_ParseTuple(tuple, "sOO|O", &kind, &owner, &second, &third) == 0) return false;
    const std::string_view name = kind;
    PyObject* value = third == nullptr ? second : third;
    if (value == module_state().missing) value = nullptr;
    PyObject* key = third == nullptr ? nullptr : second;
    check->kind = Check::Kind::attribute;
    if (name == "dict") check->kind = Check::Kind::entry;
    if (name == "cell") check->kind = Check::Kind::cell;
    if (name == "attr" && PyFunction_Check(owner)) {
        const char* attribute = PyUnicode_AsUTF8(key);
        if (attribute == nullptr) return false;
        const std::string_view part = attribute;
        if (part == "__code__") check->kind = Check::Kind::code;
        if (part == "__defaults__") check->kind = Check::Kind::defaults;
        if (part == "__kwdefaults__") check->kind = Check::Kind::kwdefaults;
        if (part == "__closure__") check->kind = Check::Kind::closure;
    }
    check->borrows_owner = lives_with(owner, function);
    check->borrows_value = lives_with(value, function);
    check->owner = check->borrows_owner ? owner : Py_NewRef(owner);
    check->key = Py_XNewRef(key);
    check->value = check->borrows_value ? value : Py_XNewRef(value);
    return true;
}

std::string name_of(PyObject* function) {
    const PyRef name = PyRef::steal(PyObject_GetAttrString(function, "__qualname__"));
    const char* text = name && PyUnicode_Check(name.get()) ? PyUnicode_AsUTF8(name.get()) : nullptr;
    std::string result = text != nullptr ? std::string(text) + "()" : Py_TYPE(function)->tp_name;
    PyErr_Clear();
    return result;
}

// The shipment of these bytes: the one there is, or a new one.
std::shared_ptr<const Shipment> intern(std::string blob, std::string name, std::vector<std::shared_ptr<void>> handles) {
    Store& all = store();
    const std::lock_guard lock(all.mutex);
    if (const auto found = all.by_bytes.find(blob); found != all.by_bytes.end()) {
        if (auto shipment = found->second.lock()) return shipment;
        all.by_bytes.erase(found);
    }
    // Its entry goes before its bytes do.
    std::shared_ptr<Shipment> made(new Shipment(), [](Shipment* shipment) {
        {
            Store& known = store();
            const std::lock_guard held(known.mutex);
            const auto mine = known.by_bytes.find(shipment->blob);
            if (mine != known.by_bytes.end() && mine->second.expired()) known.by_bytes.erase(mine);
        }
        delete shipment;
    });
    made->number = all.next++;
    made->blob = std::move(blob);
    made->name = std::move(name);
    made->handles = std::move(handles);
    all.by_bytes.emplace(made->blob, made);
    return made;
}

// The function has gone: called with its weak reference, whose number of the function lies in `self`.
PyObject* forget(PyObject* self, PyObject* /*reference*/) {
    auto* function = static_cast<PyObject*>(PyLong_AsVoidPtr(self));
    std::shared_ptr<Shipped> gone;
    {
        Store& all = store();
        const std::lock_guard lock(all.mutex);
        const auto found = all.by_function.find(function);
        if (found != all.by_function.end()) {
            gone = std::move(found->second);
            all.by_function.erase(found);
        }
    }
    if (gone != nullptr) drop(*gone);
    Py_RETURN_NONE;
}

PyMethodDef forget_def = {"forget", forget, METH_O, nullptr};

PyObject* refer_weakly(PyObject* function) {
    const PyRef number = PyRef::steal(PyLong_FromVoidPtr(function));
    const PyRef callback = PyRef::steal(number ? PyCFunction_New(&forget_def, number.get()) : nullptr);
    return callback ? PyWeakref_NewRef(function, callback.get()) : nullptr;
}

// Remembers the bytes of a function for as long as the checks hold.
void remember(PyObject* function, const std::shared_ptr<const Shipment>& shipment, PyObject* checks) {
    auto shipped = std::make_shared<Shipped>();
    shipped->shipment = shipment;
    shipped->function = function;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(checks); ++i) {
        Check check{};
        if (!read_check(PyList_GET_ITEM(checks, i), function, &check)) {
            PyErr_Clear();
            drop(*shipped);
            return;
        }
        shipped->checks.push_back(check);
    }
    shipped->reference = refer_weakly(function);
    if (shipped->reference == nullptr) {  // it takes no weak references
        PyErr_Clear();
        drop(*shipped);
        return;
    }
    std::vector<std::shared_ptr<Shipped>> gone;
    {
        Store& all = store();
        const std::lock_guard lock(all.mutex);
        std::swap(all.by_function[function], shipped);
        gone.push_back(std::move(shipped));
        if (all.by_function.size() > kMostFunctions) {  // functions that refer to each other would keep each other
            for (auto& [other, known] : all.by_function) {
                if (other != function) gone.push_back(std::move(known));
            }
            std::erase_if(all.by_function, [](const auto& each) { return each.second == nullptr; });
        }
    }
    for (const auto& each : gone) {
        if (each != nullptr) drop(*each);
    }
}

std::shared_ptr<Shipped> find(PyObject* function) {
    Store& all = store();
#ifndef Py_GIL_DISABLED
    if (all.last_function == function) return all.last;
#endif
    std::shared_ptr<Shipped> known;
    {
        const std::lock_guard lock(all.mutex);
        const auto found = all.by_function.find(function);
        if (found != all.by_function.end()) known = found->second;
    }
#ifndef Py_GIL_DISABLED
    if (known != nullptr) {
        all.last_function = function;
        all.last = known;
    }
#endif
    return known;
}

}  // namespace

std::shared_ptr<const Shipment> ship(PyObject* function) {
    if (const std::shared_ptr<Shipped> known = find(function); known != nullptr) {
        bool current = true;
        for (std::size_t i = 0; current && i < known->checks.size(); ++i) current = holds(Check(known->checks[i]));
        if (current && known->function != nullptr) return known->shipment;
    }
    HandleScope scope;
    const PyRef shipped = PyRef::steal(PyObject_CallOneArg(module_state().ship, function));
    if (!shipped) return nullptr;
    const PyRef blob = PyRef::steal(PyObject_GetAttrString(shipped.get(), "blob"));
    const PyRef checks = PyRef::steal(PyObject_GetAttrString(shipped.get(), "checks"));
    if (!blob || !checks) return nullptr;
    if (!PyBytes_CheckExact(blob.get())) {
        PyErr_SetString(PyExc_TypeError, "a shipment's blob must be bytes");
        return nullptr;
    }
    std::string bytes;
    if (!copy_bytes(blob.get(), &bytes)) return nullptr;
    auto shipment = intern(std::move(bytes), name_of(function), scope.take());
    if (PyList_CheckExact(checks.get())) remember(function, shipment, checks.get());
    return shipment;
}

}  // namespace pyferris::python
