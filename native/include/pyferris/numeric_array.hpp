// A fixed number of 64-bit numbers, each of which many threads change; also plain memory for those who look at it as
// a buffer.
//
// No lock: each element is an atomic of its own. Two elements are never changed together. A buffer's reader or writer
// goes past the atomics: on the supported platforms an aligned 64-bit access is whole, so that it sees old or new
// values, never halves, but a buffer's `+=` is not atomic.
//
// The storage is allocated once and lives as long as the array: a pointer to it stays good for that long.
#pragma once

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "pyferris/counter.hpp"

namespace pyferris {

template <class T>
class NumericArray {
    static_assert(std::is_same_v<T, std::int64_t> || std::is_same_v<T, double>);
    static_assert(std::atomic<T>::is_always_lock_free && sizeof(std::atomic<T>) == sizeof(T),
                  "the elements must also be plain memory");

  public:
    struct Step {
        T value;
        bool overflow;  // int64 only: nothing changed, `value` could not take the step
    };

    /// All zero. Throws std::bad_alloc.
    explicit NumericArray(std::size_t length) : length_(length), elements_(new std::atomic<T>[length]()) {}
    NumericArray(const NumericArray&) = delete;
    NumericArray& operator=(const NumericArray&) = delete;

    std::size_t size() const noexcept { return length_; }
    /// The elements as plain memory, never null.
    void* data() noexcept { return elements_.get(); }

    // All of these: any thread, any lock held; they never block. `index` is below `size()`.
    T get(std::size_t index) const noexcept { return elements_[index].load(); }
    void set(std::size_t index, T value) noexcept { elements_[index].store(value); }
    Step add(std::size_t index, T amount) noexcept;
    /// Stores `desired` if the element equals `expected` (for this, NaN equals NaN: else a loop that retries until it
    /// succeeds would never end).
    bool compare_exchange(std::size_t index, T expected, T desired) noexcept;

  private:
    static bool same(T left, T right) noexcept {
        if constexpr (std::is_same_v<T, double>) {
            return left == right || (std::isnan(left) && std::isnan(right));
        } else {
            return left == right;
        }
    }

    std::size_t length_;
    std::unique_ptr<std::atomic<T>[]> elements_;
};

template <class T>
typename NumericArray<T>::Step NumericArray<T>::add(std::size_t index, T amount) noexcept {
    std::atomic<T>& element = elements_[index];
    T current = element.load();
    T next{};
    do {
        if constexpr (std::is_same_v<T, std::int64_t>) {
            if (detail::add_overflows(current, amount, &next)) return {current, true};
        } else {
            next = current + amount;
        }
    } while (!element.compare_exchange_weak(current, next));
    return {next, false};
}

template <class T>
bool NumericArray<T>::compare_exchange(std::size_t index, T expected, T desired) noexcept {
    std::atomic<T>& element = elements_[index];
    T current = element.load();
    do {
        if (!same(current, expected)) return false;
    } while (!element.compare_exchange_weak(current, desired));  // compares bits: 0.0 and -0.0 take another turn
    return true;
}

}  // namespace pyferris
