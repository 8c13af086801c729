// Who runs which item of a map: each exactly once, in order as far as it goes, none held back by another.
//
// The items have indexes 0, 1, 2, …; `add` makes more of them available. A few lanes (one a worker) work on them. A
// lane has a run: a stretch of items that it goes through. Where that is empty it claims the next stretch behind the
// shared index, and where there is none left it steals the second half of another lane's run. So a lane whose item
// blocks keeps only that item.
//
// Where calls take turns, a lane claims items one by one behind the shared index: they begin in order, whatever each
// takes, and one that waits for a later one never holds that back.
//
//   lane:  empty --begin (claim or steal)--> [cursor, end) --next--> [cursor + 1, end) … --> empty
//                                                  `--stolen from--> [cursor, middle)
//
// A run is one word, cursor and end as the low halves of the indexes, so `next` and a theft are one compare-and-swap
// each and race exactly once. Runs are sized by cost: one item until the cost is known, then as many as take
// the time of the longest run. With an exact size they are that long, in one piece: nothing is stolen then. Whole runs
// cannot be broken off where they take longer than was thought, and so grow fourfold at most: a few cheap items say
// little of those to come.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace pyferris {

class ItemClaims {
  public:
    static constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();
    static constexpr std::uint64_t kLongestRunNs = 200'000;
    static constexpr std::uint64_t kLongestWholeRunNs = 2'000'000;  // one goes elsewhere and back: some 50 us
    /// Items that may be available and not run at one time.
    static constexpr std::uint64_t kMostItems = 1ULL << 31;

    /// Whether calls may overlap, or whoever makes one holds a lock that all of them hold.
    enum class Calls : std::uint8_t { overlap, take_turns };

    /// `exact`: items a run, or 0 to let the cost decide: then as many as take the time of the longest run, a `whole`
    /// one or not.
    ItemClaims(std::size_t lanes, std::uint32_t exact, bool whole = false, Calls calls = Calls::overlap)
        : exact_(exact), turns_(calls == Calls::take_turns), whole_(whole), lanes_(lanes) {}

    // All of these: any thread; those with a `lane` only by the one that has it.

    void add(std::uint64_t count) noexcept { available_.fetch_add(count, std::memory_order_acq_rel); }
    /// Where calls take turns: there are no more than `count` after all. Nobody claims anything meanwhile.
    void limit(std::uint64_t count) noexcept { available_.store(count, std::memory_order_release); }
    /// Items below this were given to somebody.
    std::uint64_t claimed() const noexcept { return claimed_.load(std::memory_order_acquire); }
    std::uint64_t available() const noexcept { return available_.load(std::memory_order_acquire); }
    std::size_t lanes() const noexcept { return lanes_.size(); }

    /// Gives the lane a run, if it has none. False if there is nothing to run.
    bool begin(std::size_t lane) noexcept {
        if (left(lane) != 0) return true;
        if (goes_one_by_one() && claimed_.load(std::memory_order_acquire) < available()) return true;
        const std::uint64_t limit = exact_ != 0 ? exact_ : size_by_cost();
        std::uint64_t first = 0;
        if (const std::uint64_t count = claim(limit, &first); count != 0) {
            lanes_[lane].run.store(pack(first, first + count), std::memory_order_release);
            return true;
        }
        return exact_ == 0 && steal_into(lane);
    }

    /// The next item of the lane's run, or kNone at its end.
    std::uint64_t next(std::size_t lane) noexcept {
        std::atomic<std::uint64_t>& word = lanes_[lane].run;
        std::uint64_t run = word.load(std::memory_order_acquire);
        if (turns_ && cursor(run) != end(run)) {  // a locked instruction takes as long as a small function
            word.store(run + kOneOn, std::memory_order_release);
            return widen(cursor(run));
        }
        if (goes_one_by_one()) {
            const std::uint64_t index = claimed_.load(std::memory_order_relaxed);
            if (index >= available()) return kNone;
            claimed_.store(index + 1, std::memory_order_release);
            return index;
        }
        while (cursor(run) != end(run)) {
            if (word.compare_exchange_weak(run, run + kOneOn, std::memory_order_acq_rel, std::memory_order_acquire)) {
                return widen(cursor(run));
            }
        }
        return kNone;
    }

    /// All that is left of the lane's run, from `*first` on: how many.
    std::uint64_t take_run(std::size_t lane, std::uint64_t* first) noexcept {
        const std::uint64_t run = lanes_[lane].run.exchange(0, std::memory_order_acq_rel);
        if (cursor(run) == end(run)) return 0;
        *first = widen(cursor(run));
        return end(run) - cursor(run);
    }

    /// The rest of the lane's run will not be run by anybody.
    void give_up(std::size_t lane) noexcept { lanes_[lane].run.store(0, std::memory_order_release); }

    /// One item for somebody without a lane: the next unclaimed one, or the last of a lane's run. kNone: nothing left.
    std::uint64_t take_one() noexcept {
        std::uint64_t first = 0;
        if (claim(1, &first) != 0) return first;
        std::uint32_t from = 0;
        return steal(kNone, [](std::uint32_t) { return 1U; }, &from) != 0 ? widen(from) : kNone;
    }

    /// True while the lane would find something to run.
    bool has_more(std::size_t lane) const noexcept {
        if (left(lane) != 0 || claimed_.load(std::memory_order_acquire) < available()) return true;
        if (exact_ != 0) return false;
        return std::any_of(lanes_.begin(), lanes_.end(), [](const Lane& each) {
            const std::uint64_t run = each.run.load(std::memory_order_acquire);
            return cursor(run) != end(run);
        });
    }

    /// `count` items took `ns`.
    void measured(std::uint64_t ns, std::uint64_t count) noexcept {
        if (count == 0) return;
        cost_ns_.store(std::max<std::uint64_t>(1, ns / count), std::memory_order_relaxed);
        measured_.store(count, std::memory_order_relaxed);
    }
    /// Nanoseconds of one item, as last measured; 0: not known.
    std::uint64_t cost_ns() const noexcept { return cost_ns_.load(std::memory_order_relaxed); }
    /// How many items to run between two looks at the clock.
    std::uint32_t stride() const noexcept {
        const std::uint64_t cost = cost_ns_.load(std::memory_order_relaxed);
        return cost == 0 || cost >= kStrideNs ? 1 : std::min<std::uint32_t>(kLongestStride, kStrideNs / cost);
    }
    bool is_exact() const noexcept { return exact_ != 0; }
    /// The lane has items claimed that it has not begun.
    bool has_run(std::size_t lane) const noexcept { return left(lane) != 0; }
    /// Whether runs to be claimed from now on are whole ones.
    void set_whole(bool whole) noexcept { whole_.store(whole, std::memory_order_relaxed); }

  private:
    struct alignas(64) Lane {
        std::atomic<std::uint64_t> run{0};  // cursor in the high half, end in the low one
    };
    static constexpr std::uint64_t kOneOn = 1ULL << 32;
    static constexpr std::uint64_t kGrowth = 4;
    static constexpr std::uint32_t kStrideNs = 25'000;
    static constexpr std::uint32_t kLongestStride = 64;

    static std::uint64_t pack(std::uint64_t from, std::uint64_t to) noexcept {
        return (from << 32) | (to & 0xFFFF'FFFFU);
    }
    static std::uint32_t cursor(std::uint64_t run) noexcept { return static_cast<std::uint32_t>(run >> 32); }
    static std::uint32_t end(std::uint64_t run) noexcept { return static_cast<std::uint32_t>(run); }
    // The whole index of a claimed item, from its low half: it lies less than 2^32 below the shared index.
    std::uint64_t widen(std::uint32_t low) const noexcept {
        const std::uint64_t claimed = claimed_.load(std::memory_order_acquire);
        return claimed - static_cast<std::uint32_t>(static_cast<std::uint32_t>(claimed) - low);
    }

    bool goes_one_by_one() const noexcept { return turns_ && exact_ == 0 && !whole_.load(std::memory_order_relaxed); }
    std::uint32_t left(std::size_t lane) const noexcept {
        const std::uint64_t run = lanes_[lane].run.load(std::memory_order_acquire);
        return end(run) - cursor(run);
    }
    std::uint64_t size_by_cost() const noexcept {
        const std::uint64_t cost = cost_ns_.load(std::memory_order_relaxed);
        if (cost == 0) return 1;
        if (!whole_.load(std::memory_order_relaxed)) return std::max<std::uint64_t>(1, kLongestRunNs / cost);
        const std::uint64_t most = kGrowth * measured_.load(std::memory_order_relaxed);
        return std::clamp<std::uint64_t>(kLongestWholeRunNs / cost, 1, most);
    }

    // Claims up to `limit` items behind the shared index; returns how many.
    std::uint64_t claim(std::uint64_t limit, std::uint64_t* first) noexcept {
        std::uint64_t from = claimed_.load(std::memory_order_acquire);
        for (;;) {
            const std::uint64_t to = available();
            if (from >= to) return 0;
            const std::uint64_t count = std::min(limit, to - from);
            if (claimed_.compare_exchange_weak(from, from + count, std::memory_order_acq_rel,
                                               std::memory_order_acquire)) {
                *first = from;
                return count;
            }
        }
    }

    // Takes `how_many(left)` items off the end of some lane's run but `thief`'s; returns how many, from `*from` on.
    template <class HowMany>
    std::uint32_t steal(std::uint64_t thief, HowMany how_many, std::uint32_t* from) noexcept {
        if (exact_ != 0) return 0;
        for (std::size_t i = 0; i < lanes_.size(); ++i) {
            if (i == thief) continue;
            std::atomic<std::uint64_t>& word = lanes_[i].run;
            std::uint64_t run = word.load(std::memory_order_acquire);
            while (cursor(run) != end(run)) {
                const std::uint32_t count = how_many(end(run) - cursor(run));
                const std::uint32_t cut = end(run) - count;
                const std::uint64_t rest = (run & ~0xFFFF'FFFFULL) | cut;
                if (word.compare_exchange_weak(run, rest, std::memory_order_acq_rel, std::memory_order_acquire)) {
                    *from = cut;
                    return count;
                }
            }
        }
        return 0;
    }
    bool steal_into(std::size_t lane) noexcept {
        std::uint32_t from = 0;
        const std::uint32_t count = steal(lane, [](std::uint32_t left) { return (left + 1) / 2; }, &from);
        if (count == 0) return false;
        lanes_[lane].run.store(pack(from, std::uint64_t{from} + count), std::memory_order_release);
        return true;
    }

    const std::uint32_t exact_;
    const bool turns_;
    std::atomic<bool> whole_;
    std::atomic<std::uint64_t> claimed_{0};
    std::atomic<std::uint64_t> available_{0};  // items below this exist
    std::atomic<std::uint64_t> cost_ns_{0};    // of one item, as last measured; 0: not known
    std::atomic<std::uint64_t> measured_{1};   // how many items that was
    std::vector<Lane> lanes_;
};

}  // namespace pyferris
