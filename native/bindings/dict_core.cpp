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

// The same for encoded keys: equal bytes are equal keys, and texts and bytes have one encoding each.
SameKey same_encoding(const Encoded& left, const Encoded& right) {
    if (left.data == right.data) return SameKey::yes;
    return is_literal(left) && is_literal(right) ? SameKey::no : SameKey::ask;
}

}  // namespace

DictCore::~DictCore() {
    for (const DictTable::Entry& entry : table.entries()) {
        if (!entry.key || !entry.key.is_encoded()) continue;
        entry.key.drop();
        entry.value.drop();
    }
}

bool DictCore::share() {
    try {
        CellEncoder encoder(*this);
        for (;;) {
            {
                const std::lock_guard lock(mutex);
                if (is_shared()) return true;
                encoder.reserve(2 * table.size());
                for (const DictTable::Entry& entry : table.entries()) {
                    if (!entry.key) continue;
                    encoder.want(entry.key, kDictKey);
                    encoder.want(entry.value, kDictValue);
                }
                if (encoder.is_done()) {
                    for (DictTable::Entry& entry : table.exchange_entries()) {
                        if (!entry.key) continue;
                        encoder.exchange(entry.key);
                        encoder.exchange(entry.value);
                    }
                    set_shared();
                    return true;
                }
            }
            if (!encoder.encode()) return false;
        }
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
}

bool Lookup::lock_shared(Offer* value) {
    lock_.unlock();
    shared_ = true;
    if (!key_.prepare(true) || (value != nullptr && !value->prepare(true))) return false;
    lock_.lock();
    return true;
}

Lookup::Result Lookup::find(Offer* value) {
    if (!lock_prepared(value)) return Result::error;
    DictTable::Walk walk = core_.table.begin_walk(hash_);
    for (;;) {
        position_ = core_.table.next(walk, hash_);
        if (position_ == DictTable::kAbsent) return Result::absent;
        const Cell stored = core_.table.at(position_).key;
        const SameKey same =
            shared_ ? same_encoding(*stored.encoded(), *key_.encoded()) : same_key(stored.object(), key_.object());
        if (same == SameKey::yes) return Result::found;
        if (same == SameKey::no) continue;
        CellRef previous = std::exchange(stored_key_, CellRef(stored.retain()));
        lock_.unlock();
        previous = CellRef();
        const PyRef object = decode_cell(stored);
        const int equal = object ? PyObject_RichCompareBool(object.get(), key_.object(), Py_EQ) : -1;
        if (equal < 0 || !lock_prepared(value)) return Result::error;
        if (equal > 0 && core_.table.holds(position_, stored)) return Result::found;
        if (!core_.table.is_current(walk)) walk = core_.table.begin_walk(hash_);
    }
}

PyRef Lookup::take_value() {
    const Cell value = core_.table.at(position_).value;
    if (!shared_) {
        PyRef object = PyRef::share(value.object());
        lock_.unlock();
        return object;
    }
    const CellRef kept(value.retain());
    lock_.unlock();
    return decode_cell(value);
}

PyRef Lookup::pin() {
    const DictTable::Entry& entry = core_.table.at(position_);
    const CellRef previous_key = std::exchange(stored_key_, CellRef(entry.key.retain()));
    const CellRef previous_value = std::exchange(stored_value_, CellRef(entry.value.retain()));
    lock_.unlock();
    return decode_cell(stored_value_.get());
}

void Lookup::replace(const Offer& value) {
    const Cell old = std::exchange(core_.table.at(position_).value, value.take(shared_));
    lock_.unlock();
    old.drop();
}

DictTable::Entry Lookup::remove() noexcept {
    const DictTable::Entry entry = core_.table.remove(position_);
    lock_.unlock();
    return entry;
}

bool Lookup::insert(const Offer& value) {
    try {
        core_.table.append(hash_, key_.cell(shared_), value.cell(shared_));
    } catch (const std::bad_alloc&) {
        lock_.unlock();
        PyErr_NoMemory();
        return false;
    }
    key_.take(shared_);
    value.take(shared_);
    lock_.unlock();
    return true;
}

int Lookup::replace_if(PyObject* object) {
    Offer value(object, kDictValue, core_);
    const bool shared = stored_value_.get().is_encoded();
    if (!value.prepare(shared)) return -1;
    // The pinned key and value are held, so neither address can have come to mean another.
    lock_.lock();
    const bool same =
        core_.table.holds(position_, stored_key_.get()) && core_.table.at(position_).value == stored_value_.get();
    if (same) core_.table.at(position_).value = value.take(shared);
    lock_.unlock();
    if (same) stored_value_.get().drop();  // the dict's reference
    return same ? 1 : 0;
}

DictSnapshot::~DictSnapshot() {
    if (entries_.empty() || !may_drop()) return;
    for (const DictTable::Entry& entry : entries_) {
        if (entry.key) entry.key.drop();
        if (entry.value) entry.value.drop();
    }
}

bool DictSnapshot::take(DictCore& core, Part part) {
    try {
        const std::lock_guard<std::mutex> lock(core.mutex);
        entries_.reserve(core.table.size());
        for (const DictTable::Entry& entry : core.table.entries()) {
            if (!entry.key) continue;
            entries_.push_back(DictTable::Entry{entry.hash, part == Part::values ? Cell() : entry.key.retain(),
                                                part == Part::keys ? Cell() : entry.value.retain()});
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
    for (DictTable::Entry& entry : entries_) {
        PyRef object = decode_cell(CellRef(std::exchange(entry.key ? entry.key : entry.value, Cell())));
        if (!object) return object;
        PyList_SET_ITEM(list.get(), i++, object.release());
    }
    return list;
}

PyRef snapshot_dict(DictCore& core) {
    DictSnapshot snapshot;
    if (!snapshot.take(core, DictSnapshot::Part::items)) return {};
    PyRef dict = PyRef::steal(PyDict_New());
    if (!dict) return dict;
    for (std::size_t i = 0; i < snapshot.size(); ++i) {
        const PyRef key = snapshot.key(i);
        const PyRef value = PyRef::steal(key ? snapshot.value(i).release() : nullptr);
        if (!value || PyDict_SetItem(dict.get(), key.get(), value.get()) != 0) return {};
    }
    return dict;
}

bool dict_put(DictCore& core, PyObject* key, PyObject* value) {
    const Py_hash_t hash = PyObject_Hash(key);
    if (hash == -1) return false;
    Offer offer(value, kDictValue, core);
    Lookup lookup(core, key, hash);
    switch (lookup.find(&offer)) {
        case Lookup::Result::found: lookup.replace(offer); return true;
        case Lookup::Result::absent: return lookup.insert(offer);
        default: return false;
    }
}

int dict_take(DictCore& core, PyObject* key, PyRef* value) {
    const Py_hash_t hash = PyObject_Hash(key);
    if (hash == -1) return -1;
    Lookup lookup(core, key, hash);
    switch (lookup.find()) {
        case Lookup::Result::found: {
            const DictTable::Entry entry = lookup.remove();
            const CellRef taken_key(entry.key);
            CellRef taken_value(entry.value);
            if (value == nullptr) return 1;
            *value = decode_cell(std::move(taken_value));
            return *value ? 1 : -1;
        }
        case Lookup::Result::absent: return 0;
        default: return -1;
    }
}

PyObject* dict_get_or_insert(DictCore& core, PyObject* key, PyObject* value) {
    const Py_hash_t hash = PyObject_Hash(key);
    if (hash == -1) return nullptr;
    Offer offer(value, kDictValue, core);
    Lookup lookup(core, key, hash);
    switch (lookup.find(&offer)) {
        case Lookup::Result::found: return lookup.take_value().release();
        case Lookup::Result::absent: return lookup.insert(offer) ? Py_NewRef(value) : nullptr;
        default: return nullptr;
    }
}

}  // namespace pyferris::python
