#include "dict_table.hpp"

#include <limits>
#include <new>
#include <utility>

namespace pyferris::python {

namespace {

constexpr std::size_t kSmallest = 8;  // slots

// At most two thirds of the slots are used, so that walks stay short and always end.
std::size_t capacity_of(std::size_t slots) { return slots / 3 * 2 + (slots % 3) / 2; }

// The walk: the low bits of the hash first, then slots that depend on more and more of it, all of them in the end.
constexpr unsigned kPerturbShift = 5;

void advance(std::size_t& slot, std::size_t& perturb, std::size_t mask) noexcept {
    perturb >>= kPerturbShift;
    slot = (slot * 5 + perturb + 1) & mask;
}

}  // namespace

DictTable::Walk DictTable::begin_walk(Py_hash_t hash) const noexcept {
    Walk walk;
    walk.generation = generation_;
    walk.perturb = static_cast<std::size_t>(hash);
    walk.slot = index_.empty() ? 0 : static_cast<std::size_t>(hash) & mask();
    return walk;
}

DictTable::Position DictTable::next(Walk& walk, Py_hash_t hash) const noexcept {
    if (index_.empty()) return kAbsent;
    if (walk.started) advance(walk.slot, walk.perturb, mask());
    walk.started = true;
    for (;;) {
        const Position position = index_[walk.slot];
        if (position == kFree) return kAbsent;
        if (position >= 0 && entries_[static_cast<std::size_t>(position)].hash == hash) return position;
        advance(walk.slot, walk.perturb, mask());
    }
}

std::size_t DictTable::free_slot(const std::vector<Position>& index, Py_hash_t hash) noexcept {
    const std::size_t last = index.size() - 1;
    auto perturb = static_cast<std::size_t>(hash);
    std::size_t slot = perturb & last;
    while (index[slot] != kFree) advance(slot, perturb, last);
    return slot;
}

// Drops the removed entries and slots, and makes room for `room` entries in all.
void DictTable::rebuild(std::size_t room) {
    std::size_t slots = kSmallest;
    while (capacity_of(slots) < room) slots *= 2;
    if (slots > static_cast<std::size_t>(std::numeric_limits<Position>::max())) throw std::bad_alloc();
    std::vector<Position> index(slots, kFree);
    std::vector<Entry> entries;
    entries.reserve(capacity_of(slots));
    // Nothing throws from here on.
    for (const Entry& entry : entries_) {
        if (!entry.key) continue;
        index[free_slot(index, entry.hash)] = static_cast<Position>(entries.size());
        entries.push_back(entry);
    }
    index_ = std::move(index);
    entries_ = std::move(entries);
    used_ = live_;
    ++generation_;
}

void DictTable::append(Py_hash_t hash, Cell key, Cell value) {
    if (index_.empty() || used_ >= capacity_of(index_.size())) {
        // Room for twice the entries: as many insertions pay for the next rebuild.
        rebuild(live_ == 0 ? 1 : live_ * 2);
    }
    entries_.push_back(Entry{hash, key, value});  // reserved: does not throw
    index_[free_slot(index_, hash)] = static_cast<Position>(entries_.size() - 1);
    ++used_;
    ++live_;
}

DictTable::Entry DictTable::remove(Position position) noexcept {
    Entry& entry = at(position);
    auto perturb = static_cast<std::size_t>(entry.hash);
    std::size_t slot = perturb & mask();
    while (index_[slot] != position) advance(slot, perturb, mask());
    index_[slot] = kRemoved;
    --live_;
    const Entry taken = std::exchange(entry, Entry{0, Cell(), Cell()});
    while (!entries_.empty() && !entries_.back().key) entries_.pop_back();
    return taken;
}

DictTable::Position DictTable::last() const noexcept {
    return entries_.empty() ? kAbsent : static_cast<Position>(entries_.size() - 1);
}

std::vector<DictTable::Entry> DictTable::take_all() noexcept {
    index_ = std::vector<Position>();
    used_ = live_ = 0;
    ++generation_;
    return std::exchange(entries_, std::vector<Entry>());
}

void DictTable::assign(const DictTable& other) {
    std::vector<Entry> entries;
    entries.reserve(other.entries_.capacity());
    entries.assign(other.entries_.begin(), other.entries_.end());
    index_ = other.index_;
    entries_ = std::move(entries);
    used_ = other.used_;
    live_ = other.live_;
    ++generation_;
}

}  // namespace pyferris::python
