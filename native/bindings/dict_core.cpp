#include "dict_core.hpp"

#include <cstring>
#include <new>
#include <utility>

namespace pyferris::python {

namespace {

enum class KeyKind : std::uint8_t { other, text, bytes, integer, real };
enum class SameKey : std::uint8_t { no, yes, ask };

KeyKind kind_of(PyObject* key) {
    if (PyUnicode_CheckExact(key)) return KeyKind::text;
    if (PyLong_CheckExact(key) || PyBool_Check(key)) return KeyKind::integer;
    if (PyBytes_CheckExact(key)) return KeyKind::bytes;
    if (PyFloat_CheckExact(key)) return KeyKind::real;
    return KeyKind::other;
}

bool same_text(PyObject* left, PyObject* right) {
    // Both were hashed, so both are ready; equal texts are stored equally.
    const Py_ssize_t length = PyUnicode_GET_LENGTH(left);
    const auto kind = PyUnicode_KIND(left);
    return length == PyUnicode_GET_LENGTH(right) && kind == PyUnicode_KIND(right) &&
           std::memcmp(PyUnicode_DATA(left), PyUnicode_DATA(right),
                       static_cast<std::size_t>(length) * static_cast<std::size_t>(kind)) == 0;
}

bool same_bytes(PyObject* left, PyObject* right) {
    const Py_ssize_t length = PyBytes_GET_SIZE(left);
    return length == PyBytes_GET_SIZE(right) &&
           std::memcmp(PyBytes_AS_STRING(left), PyBytes_AS_STRING(right), static_cast<std::size_t>(length)) == 0;
}

bool same_integer(PyObject* left, PyObject* right) {
    PyObject* same = PyLong_Type.tp_richcompare(left, right, Py_EQ);  // makes no object, cannot fail
    Py_DECREF(same);
    return same == Py_True;
}

// Compares keys as far as that needs no user code. The dict's mutex is held.
SameKey same_key(PyObject* left, PyObject* right) {
    if (left == right) return SameKey::yes;
    const KeyKind kind = kind_of(left);
    if (kind == KeyKind::other) return SameKey::ask;
    if (kind != kind_of(right)) {
        const bool numbers = kind >= KeyKind::integer && kind_of(right) >= KeyKind::integer;
        return numbers || kind_of(right) == KeyKind::other ? SameKey::ask : SameKey::no;
    }
    bool same = false;
    switch (kind) {
        case KeyKind::text: same = same_text(left, right); break;
        case KeyKind::bytes: same = same_bytes(left, right); break;
        case KeyKind::integer: same = same_integer(left, right); break;
        default: same = PyFloat_AS_DOUBLE(left) == PyFloat_AS_DOUBLE(right); break;
    }
    return same ? SameKey::yes : SameKey::no;
}

}  // namespace

Lookup::Result Lookup::find() {
    if (!lock_.owns_lock()) lock_.lock();
    DictTable::Walk walk = core_.table.begin_walk(hash_);
    for (;;) {
        position_ = core_.table.next(walk, hash_);
        if (position_ == DictTable::kAbsent) return Result::absent;
        PyObject* stored = core_.table.at(position_).key;
        const SameKey same = same_key(stored, key_);
        if (same == SameKey::yes) return Result::found;
        if (same == SameKey::no) continue;
        PyRef previous = std::exchange(stored_key_, PyRef::share(stored));
        lock_.unlock();
        previous = PyRef();
        const int equal = PyObject_RichCompareBool(stored, key_, Py_EQ);
        if (equal < 0) return Result::error;
        lock_.lock();
        if (equal > 0 && core_.table.holds(position_, stored)) return Result::found;
        if (!core_.table.is_current(walk)) walk = core_.table.begin_walk(hash_);
    }
}

PyRef Lookup::pin() {
    const DictTable::Entry& entry = core_.table.at(position_);
    PyRef previous = std::exchange(stored_key_, PyRef::share(entry.key));
    PyRef pinned = PyRef::share(entry.value);
    lock_.unlock();
    return pinned;
}

void Lookup::replace(PyObject* value) {
    PyObject* old = std::exchange(core_.table.at(position_).value, Py_NewRef(value));
    lock_.unlock();
    Py_DECREF(old);
}

DictTable::Entry Lookup::remove() noexcept {
    const DictTable::Entry entry = core_.table.remove(position_);
    lock_.unlock();
    return entry;
}

bool Lookup::insert(PyObject* value) {
    try {
        core_.table.append(hash_, key_, value);
    } catch (const std::bad_alloc&) {
        lock_.unlock();
        PyErr_NoMemory();
        return false;
    }
    Py_INCREF(key_);
    Py_INCREF(value);
    lock_.unlock();
    return true;
}

bool Lookup::replace_if(PyObject* expected, PyObject* value) {
    // `stored_key_` and `expected` are held, so neither address can have come to mean another object.
    lock_.lock();
    const bool same = core_.table.holds(position_, stored_key_.get()) && core_.table.at(position_).value == expected;
    if (same) core_.table.at(position_).value = Py_NewRef(value);
    lock_.unlock();
    if (same) Py_DECREF(expected);  // the dict's reference
    return same;
}

DictSnapshot::~DictSnapshot() {
    if (entries_.empty() || !may_drop()) return;
    for (const DictTable::Entry& entry : entries_) {
        Py_XDECREF(entry.key);
        Py_XDECREF(entry.value);
    }
}

bool DictSnapshot::take(DictCore& core, Part part) {
    try {
        const std::lock_guard<std::mutex> lock(core.mutex);
        entries_.reserve(core.table.size());
        for (const DictTable::Entry& entry : core.table.entries()) {
            if (entry.key == nullptr) continue;
            entries_.push_back(DictTable::Entry{entry.hash, part == Part::values ? nullptr : Py_NewRef(entry.key),
                                                part == Part::keys ? nullptr : Py_NewRef(entry.value)});
        }
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
    return true;
}

PyRef DictSnapshot::move_to_list() {
    PyRef list = PyRef::steal(PyList_New(static_cast<Py_ssize_t>(entries_.size())));
    if (!list) return list;
    Py_ssize_t i = 0;
    for (const DictTable::Entry& entry : entries_) {
        PyList_SET_ITEM(list.get(), i++, entry.key != nullptr ? entry.key : entry.value);
    }
    entries_.clear();
    return list;
}

PyRef snapshot_dict(DictCore& core) {
    DictSnapshot snapshot;
    if (!snapshot.take(core, DictSnapshot::Part::items)) return {};
    PyRef dict = PyRef::steal(PyDict_New());
    if (!dict) return dict;
    for (const DictTable::Entry& entry : snapshot.entries()) {
        if (PyDict_SetItem(dict.get(), entry.key, entry.value) != 0) return {};
    }
    return dict;
}

bool dict_put(DictCore& core, PyObject* key, PyObject* value) {
    const Py_hash_t hash = PyObject_Hash(key);
    if (hash == -1) return false;
    Lookup lookup(core, key, hash);
    switch (lookup.find()) {
        case Lookup::Result::found: lookup.replace(value); return true;
        case Lookup::Result::absent: return lookup.insert(value);
        default: return false;
    }
}

int dict_take(DictCore& core, PyObject* key, DictTable::Entry* entry) {
    const Py_hash_t hash = PyObject_Hash(key);
    if (hash == -1) return -1;
    Lookup lookup(core, key, hash);
    switch (lookup.find()) {
        case Lookup::Result::found: *entry = lookup.remove(); return 1;
        case Lookup::Result::absent: return 0;
        default: return -1;
    }
}

PyObject* dict_get_or_insert(DictCore& core, PyObject* key, PyObject* value) {
    const Py_hash_t hash = PyObject_Hash(key);
    if (hash == -1) return nullptr;
    Lookup lookup(core, key, hash);
    switch (lookup.find()) {
        case Lookup::Result::found: return Py_NewRef(lookup.value());
        case Lookup::Result::absent: return lookup.insert(value) ? Py_NewRef(value) : nullptr;
        default: return nullptr;
    }
}

}  // namespace pyferris::python
