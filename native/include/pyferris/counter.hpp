// One signed 64-bit number that many threads change. It never wraps: a step that would leave the range is refused and
// changes nothing.
//
// No lock: each operation is one atomic load, store or compare-and-swap loop, and all of them are in one total order,
// so that a program may use the counter to publish what it wrote before.
#pragma once

#include <atomic>
#include <cstdint>

namespace pyferris {

class Counter {
  public:
    /// What a step came to. `overflow`: nothing changed, and `value` is the one that could not take the step.
    struct Step {
        std::int64_t value;
        bool overflow;
    };

    explicit Counter(std::int64_t initial = 0) noexcept : value_(initial) {}
    Counter(const Counter&) = delete;
    Counter& operator=(const Counter&) = delete;

    // All of these: any thread, any lock held; they never block.
    std::int64_t get() const noexcept { return value_.load(); }
    void set(std::int64_t value) noexcept { value_.store(value); }
    Step add(std::int64_t amount) noexcept;
    /// Not `add(-amount)`: the smallest number has no opposite.
    Step subtract(std::int64_t amount) noexcept;
    /// Stores `desired` if the value is `expected`; true if it was.
    bool compare_exchange(std::int64_t expected, std::int64_t desired) noexcept {
        return value_.compare_exchange_strong(expected, desired);
    }

  private:
    std::atomic<std::int64_t> value_;
};

namespace detail {

// Two's complement without undefined behaviour: the sum wraps as unsigned, and overflowed if its sign is one that
// neither (add) or only the subtrahend (subtract) accounts for.
inline bool add_overflows(std::int64_t left, std::int64_t right, std::int64_t* sum) noexcept {
    *sum = static_cast<std::int64_t>(static_cast<std::uint64_t>(left) + static_cast<std::uint64_t>(right));
    return ((left ^ *sum) & (right ^ *sum)) < 0;
}

inline bool subtract_overflows(std::int64_t left, std::int64_t right, std::int64_t* difference) noexcept {
    *difference = static_cast<std::int64_t>(static_cast<std::uint64_t>(left) - static_cast<std::uint64_t>(right));
    return ((left ^ right) & (left ^ *difference)) < 0;
}

}  // namespace detail

inline Counter::Step Counter::add(std::int64_t amount) noexcept {
    std::int64_t current = value_.load();
    std::int64_t next = 0;
    do {
        if (detail::add_overflows(current, amount, &next)) return {current, true};
    } while (!value_.compare_exchange_weak(current, next));
    return {next, false};
}

inline Counter::Step Counter::subtract(std::int64_t amount) noexcept {
    std::int64_t current = value_.load();
    std::int64_t next = 0;
    do {
        if (detail::subtract_overflows(current, amount, &next)) return {current, true};
    } while (!value_.compare_exchange_weak(current, next));
    return {next, false};
}

}  // namespace pyferris
