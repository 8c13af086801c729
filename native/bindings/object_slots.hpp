// A fixed number of references to objects that threads exchange; or objects in bytes, once they are shared.
//
// A mutex guards them, under which they are only counted up and exchanged: encoding, decoding, comparing and dropping
// happen outside.
#pragma once

#include <atomic>
#include <cstddef>
#include <mutex>
#include <vector>

#include "shared_cell.hpp"

namespace pyferris::python {

/// Some of the elements: as many as `count`, from `start` on, `step` apart. All of them exist.
struct ElementRange {
    Py_ssize_t start;
    Py_ssize_t step;
    Py_ssize_t count;

    std::size_t operator[](Py_ssize_t i) const noexcept { return static_cast<std::size_t>(start + i * step); }
};

/// A null reference is None. Attached threads.
class ObjectSlots {
  public:
    /// Takes over the references of `owner`, before anybody else sees them.
    ObjectSlots(std::vector<Cell> cells, const SharedState& owner) noexcept : owner_(owner), cells_(std::move(cells)) {}
    ObjectSlots(const ObjectSlots&) = delete;
    ObjectSlots& operator=(const ObjectSlots&) = delete;
    ~ObjectSlots();

    CellRef get(std::size_t index);
    /// False with an error set: it cannot be encoded.
    bool set(std::size_t index, PyObject* value);
    /// Stores `value` if `expected` itself, which the caller holds, is there still: 1, else 0; -1 with an error set.
    int replace_if(std::size_t index, Cell expected, PyObject* value);
    /// A range of them as of one moment, owned by the caller. Throws std::bad_alloc.
    std::vector<Cell> copy(const ElementRange& range);
    /// Makes all references None; leaves bytes alone.
    void clear();
    /// Turns the objects into bytes. False with an error set; then nothing changed.
    bool share();
    bool is_encoded() const noexcept { return encoded_.load(std::memory_order_acquire); }
    /// For the collector, while they are not bytes: no lock, as no thread is inside a locked part while it runs.
    const std::vector<Cell>& unlocked() const noexcept { return cells_; }

  private:
    const SharedState& owner_;
    std::mutex mutex_;
    std::vector<Cell> cells_;           // the elements are guarded by mutex_; their number never changes
    std::atomic<bool> encoded_{false};  // changed under mutex_
};

}  // namespace pyferris::python
