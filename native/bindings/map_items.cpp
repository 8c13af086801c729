// Where the items of a map are until they run: in its slots, in a range, or in a list that stays where it is.
#include <algorithm>
#include <utility>

#include "map_run.hpp"
#include "py_compat.hpp"

namespace pyferris::python {

bool MapRun::has_room(std::uint64_t read, std::uint64_t count) const noexcept {
    const std::uint64_t index = added();
    return index - read + count <= capacity_ && slot(index).load(std::memory_order_acquire) == 0;
}

void MapRun::put(PyObject* item) noexcept {
    const std::uint64_t index = added();
    slot(index).store(tagged(item, 0), std::memory_order_release);
    added_.store(index + 1, std::memory_order_release);
}

void MapRun::put_range(long long start, long long step, std::uint64_t count) noexcept {
    start_ = start;
    step_ = step;
    added_.store(count, std::memory_order_release);
}

// Each object is another piece of memory to be fetched: those that come next are asked for beforehand.
void MapRun::put_all(PyObject* const* items, std::uint64_t count) noexcept {
    constexpr std::uint64_t kAhead = 16;
    for (std::uint64_t i = 0; i < count; ++i) {
        if (i + kAhead < count) __builtin_prefetch(items[i + kAhead], 1);
        slots_[i].store(tagged(Py_NewRef(items[i]), 0), std::memory_order_relaxed);
    }
    added_.store(count, std::memory_order_release);
}

void MapRun::put_source(PyObject* items, std::uint64_t first, std::uint64_t count) noexcept {
    source_ = Py_NewRef(items);
    source_first_ = first;
    source_owned_ = PyTuple_CheckExact(items) || !kOneIsAttached;  // without a GIL it is given a copy
    added_.store(count, std::memory_order_release);
}

PyObject* MapRun::own_items() {
    if (source_ == nullptr) Py_RETURN_NONE;
    if (source_owned_ && source_first_ == 0) return Py_NewRef(source_);
    const auto first = static_cast<Py_ssize_t>(source_first_);
    PyObject* items = PySequence_GetSlice(source_, first, first + static_cast<Py_ssize_t>(added()));
    if (items == nullptr) return nullptr;
    const PyRef before = PyRef::steal(std::exchange(source_, items));
    source_first_ = 0;
    source_owned_ = true;
    const auto size = static_cast<std::uint64_t>(PySequence_Fast_GET_SIZE(items));
    if (size < added()) end_at(std::max(size, claims_.claimed()));
    return Py_NewRef(items);
}

// The map has no more items than these, all of which somebody has claimed.
void MapRun::end_at(std::uint64_t count) noexcept {
    shared_->active.fetch_sub(static_cast<std::int64_t>(added() - count), std::memory_order_relaxed);
    claims_.limit(count);
    added_.store(count, std::memory_order_release);
}

}  // namespace pyferris::python
