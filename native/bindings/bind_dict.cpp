// SafeDict: the Python type over dict_core.hpp. Docstrings are in dict_doc.hpp.
#include "dict_core.hpp"
#include "dict_doc.hpp"
#include "module_state.hpp"
#include "structmember.h"
#include "type_support.hpp"

namespace pyferris::python {

namespace {

// Attached, unlocked.
void drop_entries(const std::vector<DictTable::Entry>& entries) {
    for (const DictTable::Entry& entry : entries) {
        if (!entry.key) continue;
        entry.key.drop();
        entry.value.drop();
    }
}

std::vector<DictTable::Entry> take_all(DictCore& core) {
    const std::lock_guard<std::mutex> lock(core.mutex);
    return core.table.take_all();
}

int traverse(PyObject* object, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(object));
    // No lock: the collector runs while no thread is inside a method's locked part (see dict_core.hpp; without a GIL
    // it stops all threads first).
    if (dict_core(object).is_shared()) return 0;
    for (const DictTable::Entry& entry : dict_core(object).table.entries()) {
        Py_VISIT(entry.key.object());
        Py_VISIT(entry.value.object());
    }
    return 0;
}

// A shared dict refers to no object, and may be other interpreters' still.
int clear_references(PyObject* object) {
    if (!dict_core(object).is_shared()) drop_entries(take_all(dict_core(object)));
    return 0;
}

void dealloc(PyObject* object) {
    auto* self = reinterpret_cast<DictObject*>(object);
    PyTypeObject* type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    Py_TRASHCAN_BEGIN(object, dealloc)  // dicts in dicts in dicts: bounds the depth of the stack
        if (self->weakrefs != nullptr) PyObject_ClearWeakRefs(object);
    clear_references(object);
    self->core.~shared_ptr();
    type->tp_free(object);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

PyObject* make_on(PyTypeObject* type, std::shared_ptr<DictCore> core) {
    PyObject* object = type->tp_alloc(type, 0);
    auto* self = reinterpret_cast<DictObject*>(object);
    if (self != nullptr) new (&self->core) std::shared_ptr<DictCore>(std::move(core));
    return object;
}

PyObject* make(PyTypeObject* type, PyObject* /*args*/, PyObject* /*kwargs*/) {
    try {
        return make_on(type, std::make_shared<DictCore>());
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
}

int init(PyObject* object, PyObject* args, PyObject* kwargs) {
    static const char* names[] = {"initial", nullptr};
    PyObject* initial = nullptr;
    if (PyArg_ParseTupleAndKeywords(args, kwargs, "|O:SafeDict", const_cast<char**>(names), &initial) == 0) return -1;
    return initial == nullptr || initial == Py_None || dict_update(dict_core(object), initial) ? 0 : -1;
}

// The value of `key`: 1 with a new reference, 0 if it is absent, -1 with an error set.
int look_up(PyObject* object, PyObject* key, PyObject** value) {
    const Py_hash_t hash = PyObject_Hash(key);
    if (hash == -1) return -1;
    Lookup lookup(dict_core(object), key, hash);
    switch (lookup.find()) {
        case Lookup::Result::found: *value = lookup.take_value().release(); return *value != nullptr ? 1 : -1;
        case Lookup::Result::absent: return 0;
        default: return -1;
    }
}

PyObject* subscript(PyObject* object, PyObject* key) {
    PyObject* value = nullptr;
    const int found = look_up(object, key, &value);
    if (found == 0) raise_key_error(key);
    return value;
}

int assign_subscript(PyObject* object, PyObject* key, PyObject* value) {
    if (value != nullptr) return dict_put(dict_core(object), key, value) ? 0 : -1;
    const int found = dict_take(dict_core(object), key, nullptr);
    if (found == 0) raise_key_error(key);
    return found > 0 ? 0 : -1;
}

int contains(PyObject* object, PyObject* key) {
    const Py_hash_t hash = PyObject_Hash(key);
    if (hash == -1) return -1;
    Lookup lookup(dict_core(object), key, hash);
    switch (lookup.find()) {
        case Lookup::Result::found: return 1;
        case Lookup::Result::absent: return 0;
        default: return -1;
    }
}

Py_ssize_t length(PyObject* object) {
    DictCore& core = dict_core(object);
    const std::lock_guard<std::mutex> lock(core.mutex);
    return static_cast<Py_ssize_t>(core.table.size());
}

PyObject* size(PyObject* object, PyObject* /*unused*/) { return PyLong_FromSsize_t(length(object)); }

PyObject* get(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static constexpr Parameters<2> kParameters{"get", {"key", "default"}, 1};
    std::array<PyObject*, 2> given;
    if (!kParameters.read(args, count, keywords, &given)) return nullptr;
    PyObject* value = nullptr;
    if (look_up(object, given[0], &value) != 0) return value;
    return Py_NewRef(given[1] != nullptr ? given[1] : Py_None);
}

PyObject* put(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static constexpr Parameters<2> kParameters{"put", {"key", "value"}, 2};
    std::array<PyObject*, 2> given;
    if (!kParameters.read(args, count, keywords, &given)) return nullptr;
    if (!dict_put(dict_core(object), given[0], given[1])) return nullptr;
    Py_RETURN_NONE;
}

PyObject* pop(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static constexpr Parameters<2> kParameters{"pop", {"key", "default"}, 1};
    std::array<PyObject*, 2> given;
    if (!kParameters.read(args, count, keywords, &given)) return nullptr;
    PyRef value;
    const int found = dict_take(dict_core(object), given[0], &value);
    if (found != 0) return value.release();
    if (given[1] != nullptr) return Py_NewRef(given[1]);
    raise_key_error(given[0]);
    return nullptr;
}

PyObject* pop_item(PyObject* object, PyObject* /*unused*/) {
    PyRef pair = PyRef::steal(PyTuple_New(2));  // first, so that nothing is lost where there is no memory
    if (!pair) return nullptr;
    DictTable::Entry entry{};
    {
        DictCore& core = dict_core(object);
        const std::lock_guard<std::mutex> lock(core.mutex);
        const DictTable::Position last = core.table.last();
        if (last != DictTable::kAbsent) entry = core.table.remove(last);
    }
    if (!entry.key) {
        PyErr_SetString(PyExc_KeyError, "popitem(): the SafeDict is empty");
        return nullptr;
    }
    CellRef stored_key(entry.key);
    CellRef stored_value(entry.value);
    PyRef key = decode_cell(std::move(stored_key));
    PyRef value = PyRef::steal(key ? decode_cell(std::move(stored_value)).release() : nullptr);
    if (!value) return nullptr;
    PyTuple_SET_ITEM(pair.get(), 0, key.release());
    PyTuple_SET_ITEM(pair.get(), 1, value.release());
    return pair.release();
}

PyObject* set_default(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static constexpr Parameters<2> kParameters{"setdefault", {"key", "default"}, 1};
    std::array<PyObject*, 2> given;
    if (!kParameters.read(args, count, keywords, &given)) return nullptr;
    return dict_get_or_insert(dict_core(object), given[0], given[1] != nullptr ? given[1] : Py_None);
}

PyObject* get_or_insert(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static constexpr Parameters<2> kParameters{"get_or_insert", {"key", "value"}, 2};
    std::array<PyObject*, 2> given;
    if (!kParameters.read(args, count, keywords, &given)) return nullptr;
    return dict_get_or_insert(dict_core(object), given[0], given[1]);
}

PyObject* update(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    // As of every mapping: `update(other, name=value)`, so no parameter has a name.
    if (count > 1) {
        PyErr_Format(PyExc_TypeError, "update() takes at most 1 positional argument (%zd given)", count);
        return nullptr;
    }
    if (count == 1 && !dict_update(dict_core(object), args[0])) return nullptr;
    const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
    for (Py_ssize_t i = 0; i < named; ++i) {
        if (!dict_put(dict_core(object), PyTuple_GET_ITEM(keywords, i), args[count + i])) return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* clear(PyObject* object, PyObject* /*unused*/) {
    drop_entries(take_all(dict_core(object)));
    Py_RETURN_NONE;
}

PyObject* copy(PyObject* object, PyObject* /*unused*/) {
    PyTypeObject* type = Py_TYPE(object);
    while (type->tp_dealloc != dealloc) type = type->tp_base;  // as dict's: a copy is no instance of a subclass
    PyRef result = PyRef::steal(make(type, nullptr, nullptr));
    if (!result) return nullptr;
    DictCore& core = dict_core(object);
    DictTable& table = dict_core(result.get()).table;  // nobody else's yet
    try {
        const std::lock_guard<std::mutex> lock(core.mutex);
        if (!core.is_shared()) {
            table.assign(core.table);
            for (const DictTable::Entry& entry : table.entries()) {
                entry.key.retain();
                entry.value.retain();
            }
            return result.release();
        }
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
    return dict_update(dict_core(result.get()), object) ? result.release() : nullptr;  // private, of objects
}

PyObject* snapshot_view(PyObject* object, const char* view) {
    const PyRef dict = snapshot_dict(dict_core(object));
    return dict ? PyObject_CallMethod(dict.get(), view, nullptr) : nullptr;
}

PyObject* keys(PyObject* object, PyObject* /*unused*/) { return snapshot_view(object, "keys"); }
PyObject* values(PyObject* object, PyObject* /*unused*/) { return snapshot_view(object, "values"); }
PyObject* items(PyObject* object, PyObject* /*unused*/) { return snapshot_view(object, "items"); }

PyObject* iterate(PyObject* object) {
    DictSnapshot snapshot;
    if (!snapshot.take(dict_core(object), DictSnapshot::Part::keys)) return nullptr;
    const PyRef list = snapshot.move_to_list();
    return list ? PyObject_GetIter(list.get()) : nullptr;
}

PyObject* compare(PyObject* left, PyObject* right, int operation) {
    if ((operation != Py_EQ && operation != Py_NE) || (PyDict_Check(right) == 0 && !is_safe_dict(right))) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    const PyRef mine = snapshot_dict(dict_core(left));
    if (!mine) return nullptr;
    const PyRef theirs = PyDict_Check(right) != 0 ? PyRef::share(right) : snapshot_dict(dict_core(right));
    return theirs ? PyObject_RichCompare(mine.get(), theirs.get(), operation) : nullptr;
}

PyObject* repr(PyObject* object) {
    const char* name = short_name(Py_TYPE(object));
    const Visit visit(dict_core(object), Visit::Purpose::show);
    if (visit.is_nested()) return PyUnicode_FromFormat("%s({...})", name);
    const PyRef dict = snapshot_dict(dict_core(object));
    if (!dict) return nullptr;
    return PyUnicode_FromFormat(PyDict_GET_SIZE(dict.get()) == 0 ? "%s()" : "%s(%R)", name, dict.get());
}

PyObject* reduce(PyObject* self, PyObject* /*unused*/) {
    return reduce_to_handle(self, reinterpret_cast<DictObject*>(self)->core);
}

constexpr int kNamed = METH_FASTCALL | METH_KEYWORDS;

PyMethodDef methods[] = {
    {"get", as_method(get), kNamed, kGetDoc},
    {"put", as_method(put), kNamed, kPutDoc},
    {"size", size, METH_NOARGS, kSizeDoc},
    {"increment", as_method(dict_increment), kNamed, kIncrementDoc},
    {"update_value", as_method(dict_update_value), kNamed, kUpdateValueDoc},
    {"get_or_insert", as_method(get_or_insert), kNamed, kGetOrInsertDoc},
    {"compare_exchange", as_method(dict_compare_exchange), kNamed, kCompareExchangeDoc},
    {"setdefault", as_method(set_default), kNamed, kSetDefaultDoc},
    {"pop", as_method(pop), kNamed, kPopDoc},
    {"popitem", pop_item, METH_NOARGS, kPopItemDoc},
    {"update", as_method(update), kNamed, kUpdateDoc},
    {"clear", clear, METH_NOARGS, kClearDoc},
    {"copy", copy, METH_NOARGS, kCopyDoc},
    {"keys", keys, METH_NOARGS, kKeysDoc},
    {"values", values, METH_NOARGS, kValuesDoc},
    {"items", items, METH_NOARGS, kItemsDoc},
    {"__copy__", copy, METH_NOARGS, "__copy__($self, /)\n--\n\nAs `copy`."},
    {"__reduce__", reduce, METH_NOARGS, "__reduce__($self, /)\n--\n\nA handle, for interpreters of this process."},
    {"__deepcopy__", refuse_copy, METH_O, "__deepcopy__($self, memo, /)\n--\n\nTypeError: pass dict(it) instead."},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,
     "__class_getitem__($cls, item, /)\n--\n\n`SafeDict[K, V]`, for annotations."},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(DictObject, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_new, as_slot(make)},
    {Py_tp_init, as_slot(init)},
    {Py_tp_dealloc, as_slot(dealloc)},
    {Py_tp_traverse, as_slot(traverse)},
    {Py_tp_clear, as_slot(clear_references)},
    {Py_tp_repr, as_slot(repr)},
    {Py_tp_richcompare, as_slot(compare)},
    {Py_tp_hash, as_slot(PyObject_HashNotImplemented)},
    {Py_tp_iter, as_slot(iterate)},
    {Py_tp_methods, static_cast<void*>(methods)},
    {Py_tp_members, static_cast<void*>(members)},
    {Py_tp_doc, const_cast<char*>(kSafeDictDoc)},
    {Py_mp_length, as_slot(length)},
    {Py_mp_subscript, as_slot(subscript)},
    {Py_mp_ass_subscript, as_slot(assign_subscript)},
    {Py_sq_contains, as_slot(contains)},
    {0, nullptr},
};

PyType_Spec spec = {
    "pyferris._native.SafeDict", sizeof(DictObject), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_MAPPING,
    slots};

}  // namespace

bool is_safe_dict(PyObject* object) { return is_dealloced_by(object, dealloc); }

PyObject* attach_dict(PyTypeObject* type, std::shared_ptr<SharedState> state) {
    return make_on(type, std::static_pointer_cast<DictCore>(std::move(state)));
}

bool register_dict(PyObject* module) { return add_shared_type(module, &spec, SharedKind::dict); }

}  // namespace pyferris::python
