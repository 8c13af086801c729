// The storage of a SafeArray: int64 or float64 numbers in plain memory, or references to objects.
//
// Which of the three is decided once, from the initial values. Numbers are atomics; references are guarded by a mutex,
// under which they are only counted up and exchanged: making numbers, adding, comparing and dropping happen outside.
// Numbers can be seen by all interpreters; objects become bytes for that, for good.
#pragma once

#include <cstddef>
#include <cstdint>
#include <variant>

#include "object_slots.hpp"
#include "pyferris/numeric_array.hpp"

namespace pyferris::python {

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
    /// Turns objects into bytes, for good.
    bool share() override;
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
