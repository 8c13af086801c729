// The storage of a SafeArray: int64 or float64 numbers in plain memory, or references to objects.
//
// Which of the three is decided once, from the initial values. Numbers are atomics; references are guarded by a mutex,
// under which they are only counted up and exchanged: making numbers, adding, comparing and dropping happen outside.
// Numbers can be seen by all interpreters; objects become bytes for that, for good.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <variant>
#include <vector>

#include "py_ref.hpp"
#include "pyferris/numeric_array.hpp"
#include "shared_cell.hpp"

namespace pyferris::python {

/// Some of the elements: as many as `count`, from `start` on, `step` apart. All of them exist.
struct ElementRange {
    Py_ssize_t start;
    Py_ssize_t step;
    Py_ssize_t count;

    std::size_t operator[](Py_ssize_t i) const noexcept { return static_cast<std::size_t>(start + i * step); }
};

/// References to objects, null is None; or objects in bytes. Attached threads.
class ObjectSlots {
  public:
    /// Takes over the references of `owner`, before anybody else sees them.
    ObjectSlots(std::vector<Cell> cells, const SharedState& owner) noexcept
        : owner_(owner), cells_(std::move(cells)) {}
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

enum class ElementType : std::uint8_t { int64, float64, object };

const char* name_of(ElementType type);

class ArrayStorage final : public SharedState {
  public:
    ArrayStorage() noexcept : SharedState(SharedKind::array, false) {}

    using Ints = NumericArray<std::int64_t>;
    using Reals = NumericArray<double>;

    /// Takes the initial values, once, before anybody else sees the array. `dtype` is the name of a type, or None for
    /// the one that suits the values. False with an error set.
    bool fill(PyObject* initial, PyObject* dtype);

    ElementType type() const noexcept { return type_; }
    std::size_t size() const noexcept { return size_; }
    /// The numbers as plain memory; null for objects.
    void* memory() noexcept;
    /// Makes it fit to be seen by other interpreters. False with an error set; then nothing changed.
    bool share();
    /// Null for numbers.
    ObjectSlots* objects() noexcept { return std::get_if<ObjectSlots>(&store_); }

    // All of these: any attached thread. Null, false and -1 come with an error set.
    PyRef get(std::size_t index);
    bool set(std::size_t index, PyObject* value);
    /// The new value.
    PyRef add(std::size_t index, PyObject* amount);
    /// 1 if `desired` was stored, 0 if the element was not equal to `expected`.
    int compare_exchange(std::size_t index, PyObject* expected, PyObject* desired);
    PyRef to_list(const ElementRange& range);
    /// Stores the elements of a list of as many values; checks all of them before the first is stored.
    bool set_range(const ElementRange& range, PyObject* values);

  private:
    ElementType type_ = ElementType::int64;
    std::size_t size_ = 0;
    std::variant<std::monostate, Ints, Reals, ObjectSlots> store_;  // of type_, once filled
};

}  // namespace pyferris::python
