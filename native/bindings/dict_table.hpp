// The storage of a SafeDict: entries in the order of insertion, and an open-addressed index of them by hash.
//
// It compares no keys and counts no references: whoever uses it walks the entries that have a key's hash and decides.
// Every method is called with the owner's mutex held; none calls into Python.
//
// A walk may be interrupted (the mutex released to run a key's `__eq__`) and taken up again. For this to be sound, the
// index slot of a removed entry stays in use until the index is rebuilt: an equal key that is inserted meanwhile gets a
// slot further along the same walk. `generation` tells whether it was rebuilt, which is when a walk starts anew.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "shared_cell.hpp"

namespace pyferris::python {

class DictTable {
  public:
    struct Entry {
        Py_hash_t hash;
        Cell key;  // empty: removed
        Cell value;
    };
    using Position = std::int32_t;
    static constexpr Position kAbsent = -1;

    /// A walk along the index slots that may refer to one hash.
    class Walk {
      private:
        friend class DictTable;
        std::uint64_t generation = 0;
        std::size_t slot = 0;
        std::size_t perturb = 0;
        bool started = false;
    };

    std::size_t size() const noexcept { return live_; }
    /// All entries in order, removed ones among them.
    const std::vector<Entry>& entries() const noexcept { return entries_; }
    Entry& at(Position position) noexcept { return entries_[static_cast<std::size_t>(position)]; }
    /// True if `key` itself is the key of the entry there.
    bool holds(Position position, Cell key) const noexcept {
        return static_cast<std::size_t>(position) < entries_.size() &&
               entries_[static_cast<std::size_t>(position)].key == key;
    }

    Walk begin_walk(Py_hash_t hash) const noexcept;
    bool is_current(const Walk& walk) const noexcept { return walk.generation == generation_; }
    /// The next entry whose hash is `hash`; `kAbsent` at the end, where a new one belongs.
    Position next(Walk& walk, Py_hash_t hash) const noexcept;

    /// Appends an entry; its key must be absent. Takes over both references. Throws std::bad_alloc, then nothing
    /// changed.
    void append(Py_hash_t hash, Cell key, Cell value);
    /// Takes an entry out: its references belong to the caller now.
    Entry remove(Position position) noexcept;
    /// The position of the last entry; `kAbsent` if there is none.
    Position last() const noexcept;
    /// Takes all entries out, removed ones among them.
    std::vector<Entry> take_all() noexcept;
    /// All entries, to be given other keys and values of the same meaning; walks start anew.
    std::vector<Entry>& exchange_entries() noexcept {
        ++generation_;
        return entries_;
    }
    /// Makes this empty table a copy of `other`, without references of its own yet. Throws std::bad_alloc.
    void assign(const DictTable& other);

  private:
    static constexpr Position kFree = -1;     // a slot never used since the last rebuild: ends a walk
    static constexpr Position kRemoved = -2;  // its entry was removed: a walk goes on

    std::size_t mask() const noexcept { return index_.size() - 1; }
    static std::size_t free_slot(const std::vector<Position>& index, Py_hash_t hash) noexcept;
    void rebuild(std::size_t room);

    std::vector<Entry> entries_;    // the last one is never a removed one
    std::vector<Position> index_;   // a power of two slots, or none
    std::size_t used_ = 0;          // slots that are not free
    std::size_t live_ = 0;          // entries that are not removed
    std::uint64_t generation_ = 0;  // counts rebuilds
};

}  // namespace pyferris::python
