// What a SafeDict does with its table: looking keys up, snapshots, and steps that retry until they were atomic.
//
// One mutex a dict, held for moments. Under it: index walks, reference counts going up, comparing keys of exact
// built-in types. Never under it: a key's `__hash__` or `__eq__`, dropping a reference (which may run `__del__`),
// making an object (which may collect garbage). So the mutex is never held while the GIL could change hands, and a
// thread that waits for it waits for another that runs.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "dict_table.hpp"

namespace pyferris::python {

struct DictCore {
    std::mutex mutex;
    DictTable table;  // guarded by mutex
};

struct DictObject {
    PyObject_HEAD
    DictCore core;
    PyObject* weakrefs;
};

inline DictCore& dict_core(PyObject* object) { return reinterpret_cast<DictObject*>(object)->core; }

/// One key's way into a dict. On the stack of an attached thread.
///
///   unlocked --find--> found or absent (locked) --replace, insert, remove, unlock--> unlocked --find--> ...
///                 `--> error (unlocked, error set)
class Lookup {
  public:
    enum class Result : std::uint8_t { found, absent, error };

    /// `key` is borrowed; `hash` is its hash.
    Lookup(DictCore& core, PyObject* key, Py_hash_t hash) noexcept
        : core_(core), key_(key), hash_(hash), lock_(core.mutex, std::defer_lock) {}
    Lookup(const Lookup&) = delete;
    Lookup& operator=(const Lookup&) = delete;

    /// Looks the key up, in a dict that may change meanwhile. May run the keys' `__eq__`, unlocked.
    Result find();

    // Locked, after `found`.
    /// The value, borrowed for as long as the lock is held.
    PyObject* value() const noexcept { return core_.table.at(position_).value; }
    /// A reference to the value; also remembers the entry for `replace_if`. Unlocks.
    PyRef pin();
    /// Stores `value` instead. Unlocks, and drops the old one.
    void replace(PyObject* value);
    /// Takes the entry out: its references belong to the caller now. Unlocks.
    DictTable::Entry remove() noexcept;

    // Locked, after `absent`.
    /// Adds the entry. Unlocks. False with MemoryError set.
    bool insert(PyObject* value);

    void unlock() { lock_.unlock(); }

    /// Unlocked, after `pin`: stores `value` if the entry still is the same and its value still `expected`.
    bool replace_if(PyObject* expected, PyObject* value);

  private:
    DictCore& core_;
    PyObject* const key_;
    const Py_hash_t hash_;
    DictTable::Position position_ = DictTable::kAbsent;
    PyRef stored_key_;  // of the entry that was compared or pinned last; before lock_, so that it is dropped after it
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
    /// Borrowed; the part that was not asked for is null.
    const std::vector<DictTable::Entry>& entries() const noexcept { return entries_; }
    /// The keys or the values, moved into a new list; null with an error set.
    PyRef move_to_list();

  private:
    std::vector<DictTable::Entry> entries_;
};

/// A new dict of what `core` holds. May run the keys' `__hash__` and `__eq__`. Null with an error set.
PyRef snapshot_dict(DictCore& core);

/// `dict[key] = value`. False with an error set.
bool dict_put(DictCore& core, PyObject* key, PyObject* value);
/// Removes `key`: 1 with the entry's references in `entry`, 0 if it is absent, -1 with an error set.
int dict_take(DictCore& core, PyObject* key, DictTable::Entry* entry);
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
