#include "pyferris/future_state.hpp"

#include <array>
#include <functional>
#include <mutex>

namespace pyferris {

namespace {

constexpr std::size_t kStripes = 64;

std::array<std::mutex, kStripes>& stripes() {
    // Never destroyed: futures of other libraries' statics may outlive ours.
    static auto* const mutexes = new std::array<std::mutex, kStripes>();
    return *mutexes;
}

std::size_t stripe_of(const FutureState* state) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(state);
    return ((address >> 4) ^ (address >> 12)) % kStripes;
}

}  // namespace

FutureState::StripeLock::StripeLock(const FutureState* state) : index_(stripe_of(state)) { stripes()[index_].lock(); }

FutureState::StripeLock::~StripeLock() { stripes()[index_].unlock(); }

void FutureState::lock_all_stripes() {
    for (auto& mutex : stripes()) mutex.lock();
}

void FutureState::unlock_all_stripes() {
    for (auto& mutex : stripes()) mutex.unlock();
}

bool FutureState::advance(Phase from, Phase to) noexcept {
    std::uint32_t word = word_.load(std::memory_order_acquire);
    while ((word & kPhaseMask) == static_cast<std::uint32_t>(from)) {
        const std::uint32_t next = (word & ~kPhaseMask) | static_cast<std::uint32_t>(to);
        if (word_.compare_exchange_weak(word, next, std::memory_order_acq_rel, std::memory_order_acquire)) return true;
    }
    return false;
}

bool FutureState::begin_complete() noexcept {
    return advance(Phase::running, Phase::completing) || advance(Phase::pending, Phase::completing) ||
           advance(Phase::running, Phase::completing);  // claimed between the two looks
}

bool FutureState::publish(Phase final) noexcept {
    std::uint32_t word = word_.load(std::memory_order_acquire);
    for (;;) {
        if ((word & kObserved) != 0) return false;
        const std::uint32_t next = (word & ~kPhaseMask) | static_cast<std::uint32_t>(final);
        if (word_.compare_exchange_weak(word, next, std::memory_order_acq_rel, std::memory_order_acquire)) return true;
    }
}

void FutureState::publish_observed(Phase final) noexcept {
    std::uint32_t word = word_.load(std::memory_order_acquire);
    while (!word_.compare_exchange_weak(word, (word & ~kPhaseMask) | static_cast<std::uint32_t>(final),
                                        std::memory_order_acq_rel, std::memory_order_acquire)) {
    }
}

void FutureState::unlink(Continuation& continuation) noexcept {
    if (continuation.next_ == &continuation) {
        waiters_ = nullptr;
    } else {
        continuation.prev_->next_ = continuation.next_;
        continuation.next_->prev_ = continuation.prev_;
        if (waiters_ == &continuation) waiters_ = continuation.next_;
    }
    continuation.prev_ = continuation.next_ = nullptr;
    continuation.linked_ = false;
}

Continuation* FutureState::pop(Continuation::Kind kind) noexcept {
    StripeLock lock(this);
    Continuation* node = waiters_;
    if (node == nullptr) return nullptr;
    do {
        if (node->kind_ == kind) {
            unlink(*node);
            return node;
        }
        node = node->next_;
    } while (node != waiters_);
    return nullptr;
}

bool FutureState::notify_waiters() {
    if (!flag(kHasWaiters)) return false;
    while (Continuation* waiter = pop(Continuation::Kind::waiter)) waiter->notify();
    return has_interest();
}

void FutureState::notify_callbacks() {
    while (Continuation* callback = pop(Continuation::Kind::callback)) callback->notify();
}

FutureState::AddResult FutureState::add(Continuation& continuation) noexcept {
    StripeLock lock(this);
    const std::uint32_t before = word_.fetch_or(kHasWaiters, std::memory_order_acq_rel);
    // Final before our bit: the publisher has not seen it, or is past its list. Nobody would notify us.
    if ((before & kPhaseMask) >= static_cast<std::uint32_t>(Phase::done)) return AddResult::already_final;
    if (waiters_ == nullptr) {
        waiters_ = continuation.prev_ = continuation.next_ = &continuation;
    } else {
        continuation.prev_ = waiters_->prev_;
        continuation.next_ = waiters_;
        waiters_->prev_->next_ = &continuation;
        waiters_->prev_ = &continuation;
    }
    continuation.linked_ = true;
    return AddResult::added;
}

bool FutureState::remove(Continuation& continuation) noexcept {
    StripeLock lock(this);
    if (!continuation.linked_) return false;
    unlink(continuation);
    return true;
}

bool FutureState::has_interest() const noexcept {
    bool interest = false;
    for_each([&](const Continuation& node) { interest = interest || node.kind() != Continuation::Kind::stopper; });
    return interest;
}

void FutureState::request_stop() noexcept {
    StripeLock lock(this);
    word_.fetch_or(kStopRequested, std::memory_order_acq_rel);
    Continuation* node = waiters_;
    if (node == nullptr) return;
    do {
        if (node->kind_ == Continuation::Kind::stopper) node->stop_requested();
        node = node->next_;
    } while (node != waiters_);
}

}  // namespace pyferris
