// What a SafeDict does with its table: looking keys up, snapshots, and steps that retry until they were atomic.
//
// One mutex a dict, held for moments. Under it: index walks, reference counts going up, comparing keys of exact
// built-in types. Never under it: a key's `__hash__` or `__eq__`, dropping a reference (which may run `__del__`),
// making an object (which may collect garbage). So the mutex is never held while the GIL could change hands, and a
// thread that waits for it waits for another that runs.
//
// Once the dict is shared its keys and values are bytes. Hashes stay: a key has one hash in all interpreters, which
// share the seed. Equal bytes are equal keys; others are decoded to be compared.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "dict_table.hpp"

namespace pyferris::python {

struct DictCore final : SharedState {
    DictCore() noexcept : SharedState(SharedKind::dict, false) {}
    ~DictCore() override;

    std::mutex mutex;
    DictTable table;  // guarded by mutex

    /// Turns the keys and values into bytes, for good.
    bool share() override;
};

struct DictObject {
    PyObject_HEAD
    std::shared_ptr<DictCore> core;
    PyObject* weakrefs;
};

inline DictCore& dict_core(PyObject* object) { return *reinterpret_cast<DictObject*>(object)->core; }

inline constexpr const char* kDictKey = "a key of a SafeDict";
inline constexpr const char* kDictValue = "a value of a SafeDict";

/// One key's way into a dict. On the stack of an attached thread.
///
///   unlocked --find--> found or absent (locked) --replace, insert, remove, unlock--> unlocked --find--> ...
///                 `--> error (unlocked, error set)
class Lookup {
  public:
    enum class Result : std::uint8_t { found, absent, error };

    /// `key` is borrowed; `hash` is its hash.
    Lookup(DictCore& core, PyObject* key, Py_hash_t hash) noexcept
        : core_(core), key_(key, kDictKey, core), hash_(hash), lock_(core.mutex, std::defer_lock) {}
    Lookup(const Lookup&) = delete;
    Lookup& operator=(const Lookup&) = delete;

    /// Looks the key up, in a dict that may change meanwhile. May run the keys' `__eq__`, unlocked. With a `value` (or
    /// null), which `replace` or `insert` may store then.
    Result find(Offer* value = nullptr);

    // Locked, after `found`.
    /// True if the value is `object` itself.
    bool is_value(PyObject* object) const noexcept { return core_.table.at(position_).value == Cell(object); }
    /// A reference to the value; null with an error set. Unlocks.
    PyRef take_value();
    /// The same; also remembers the entry for `replace_if`. Unlocks.
    PyRef pin();
    /// Stores the value that `find` was given instead. Unlocks, and drops the old one.
    void replace(const Offer& value);
    /// Takes the entry out: its references belong to the caller now. Unlocks.
    DictTable::Entry remove() noexcept;

    // Locked, after `absent`.
    /// Adds the entry with the value that `find` was given. Unlocks. False with MemoryError set.
    bool insert(const Offer& value);

    void unlock() { lock_.unlock(); }

    /// Unlocked, after `pin`: stores `value` if the entry still is the same and its value still the pinned one: 1,
    /// else 0; -1 with an error set.
    int replace_if(PyObject* value);

  private:
    /// Takes the lock, with the key and the value in the form that the dict has. False with an error set, unlocked.
    bool lock_prepared(Offer* value) {
        lock_.lock();
        return !core_.is_shared() || lock_shared(value);
    }
    bool lock_shared(Offer* value);

    DictCore& core_;
    Offer key_;
    const Py_hash_t hash_;
    bool shared_ = false;  // the dict, when the lock was taken
    DictTable::Position position_ = DictTable::kAbsent;
    CellRef stored_key_;  // of the entry that was compared or pinned last; before lock_, so that it is dropped after it
    CellRef stored_value_;  // that was pinned last
    std::unique_lock<std::mutex> lock_;
};

/// References to all that a dict held at one moment.
class DictSnapshot {
  public:
    enum class Part : std::uint8_t { keys, values, items };

    DictSnapshot() = default;
    DictSnapshot(const DictSnapshot&) = delete;
    DictSnapshot& operator=(const DictSnapshot&) = delete;
    ~DictSnapshot();

    /// Once. False with MemoryError set.
    bool take(DictCore& core, Part part);
    std::size_t size() const noexcept { return entries_.size(); }
    /// New references; null with an error set. Of a part that was asked for.
    PyRef key(std::size_t index) const { return decode_cell(entries_[index].key); }
    PyRef value(std::size_t index) const { return decode_cell(entries_[index].value); }
    /// The keys or the values, moved into a new list; null with an error set.
    PyRef move_to_list();

  private:
    std::vector<DictTable::Entry> entries_;
};

/// A new dict of what `core` holds. May run the keys' `__hash__` and `__eq__`. Null with an error set.
PyRef snapshot_dict(DictCore& core);

/// `dict[key] = value`. False with an error set.
bool dict_put(DictCore& core, PyObject* key, PyObject* value);
/// Removes `key`: 1 with its value in `value`, 0 if it is absent, -1 with an error set. Without `value`: 1 all the
/// same.
int dict_take(DictCore& core, PyObject* key, PyRef* value);
/// The value of `key`, or `value` stored there if it was absent. Null with an error set.
PyObject* dict_get_or_insert(DictCore& core, PyObject* key, PyObject* value);
/// `dict.update(other)`, entry by entry. False with an error set.
bool dict_update(DictCore& core, PyObject* other);
/// True for a SafeDict.
bool is_safe_dict(PyObject* object);

// Methods with keyword arguments that retry until what they computed outside of the lock still fits.
PyObject* dict_increment(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords);
PyObject* dict_update_value(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords);
PyObject* dict_compare_exchange(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords);

}  // namespace pyferris::python
