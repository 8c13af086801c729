// The state of one future: a word that every transition goes through, and the list of those who wait for it.
//
//                 claim                    begin_complete          publish
//      pending ----------> running ----------------------> completing ------> done
//         |   \                                                ^
//         |    `----------------- begin_complete --------------'
//         |  begin_cancel                publish                        notify_cancel
//         `---------------> cancelling ----------> cancelled (or notified) ---------> notified
//      running -- begin_complete, publish(notified): a call that stopped because it was asked to.
//
// `claim`, `begin_cancel` and `begin_complete` race exactly once: each is one compare-and-swap, one of them wins.
// Between begin_* and `publish` the winner alone writes what the future holds; readers look only at final phases, so
// the value needs no lock of its own.
//
// OBSERVED: somebody took the future's condition object and may be holding it while reading the phase. `publish`
// then refuses once, so that the winner takes that condition first (`publish_observed`).
//
// Waiters (`Continuation`) form a list guarded by one of a few striped mutexes (no memory in the future but a
// pointer). HAS_WAITERS is set under the mutex; `publish` sees it and the winner then pops and notifies them one by
// one, each outside the mutex. No user code and no blocking ever happens under a stripe.
#pragma once

#include <atomic>
#include <cstdint>

namespace pyferris {

class FutureState;

/// Who waits. The owner keeps it alive until it was removed or notified.
class Continuation {
  public:
    enum class Kind : std::uint8_t {
        waiter,    ///< a blocked thread or an awaiter: notified first, counts as interest
        callback,  ///< notified after all waiters, counts as interest
        stopper,   ///< told of a request to stop, never of completion; no interest
    };

    explicit Continuation(Kind kind) noexcept : kind_(kind) {}
    Continuation(const Continuation&) = delete;
    Continuation& operator=(const Continuation&) = delete;

    /// The future is final. The completing thread, no lock held; may destroy this.
    virtual void notify() = 0;
    /// The call was asked to stop (stoppers only). Under the stripe: may only unpark.
    virtual void stop_requested() noexcept {}

    Kind kind() const noexcept { return kind_; }
    /// For traversal under `FutureState::for_each`.
    Continuation* next() const noexcept { return next_; }

  protected:
    ~Continuation() = default;

  private:
    friend class FutureState;
    Continuation* prev_ = nullptr;  // guarded by the stripe of the future
    Continuation* next_ = nullptr;
    bool linked_ = false;
    const Kind kind_;
};

class FutureState {
  public:
    enum class Phase : std::uint32_t { pending, running, completing, cancelling, done, cancelled, notified };
    enum class AddResult : std::uint8_t { added, already_final };

    FutureState() = default;
    FutureState(const FutureState&) = delete;
    FutureState& operator=(const FutureState&) = delete;

    // All of these: any thread.
    Phase phase() const noexcept { return static_cast<Phase>(word_.load(std::memory_order_acquire) & kPhaseMask); }
    bool is_final() const noexcept { return phase() >= Phase::done; }
    bool is_cancelled() const noexcept { return phase() >= Phase::cancelled; }

    /// pending -> running. False if somebody else was first.
    bool claim() noexcept { return advance(Phase::pending, Phase::running); }
    /// pending -> cancelling: the caller must `publish` soon.
    bool begin_cancel() noexcept { return advance(Phase::pending, Phase::cancelling); }
    /// pending or running -> completing: the caller writes the value, then must `publish`.
    bool begin_complete() noexcept;
    /// running -> completing, for the one who claimed it.
    bool begin_complete_running() noexcept { return advance(Phase::running, Phase::completing); }
    /// completing/cancelling -> `final`. False if OBSERVED: take the condition, then `publish_observed`.
    bool publish(Phase final) noexcept;
    void publish_observed(Phase final) noexcept;
    /// cancelled -> notified. True for the one caller that did it.
    bool notify_cancel() noexcept { return advance(Phase::cancelled, Phase::notified); }

    /// Pops and notifies all waiters. The publisher, once, after `publish`. True if there are callbacks too.
    bool notify_waiters();
    /// Pops and notifies the callbacks, in the order they were added. The publisher, after `notify_waiters`.
    void notify_callbacks();

    /// Appends unless the future is final already (then the caller looks at the value itself).
    AddResult add(Continuation& continuation) noexcept;
    /// True if it was taken off; false if it was notified, or is just being.
    bool remove(Continuation& continuation) noexcept;
    /// Takes off the first callback for which `match` holds; null if there is none.
    template <class Match>
    Continuation* remove_if(Match match) noexcept;
    /// Visits the list under the stripe; `visit` must not block or run user code.
    template <class Visit>
    void for_each(Visit visit) const;
    /// Waiters and callbacks (not stoppers) in the list.
    bool has_interest() const noexcept;

    /// Marks the condition as handed out. Every access to it comes through here first.
    void observe() noexcept { word_.fetch_or(kObserved, std::memory_order_acq_rel); }
    bool is_observed() const noexcept { return flag(kObserved); }

    /// Asks a running call to stop; sticky. Wakes stoppers.
    void request_stop() noexcept;
    bool stop_requested() const noexcept { return flag(kStopRequested); }

    void detach() noexcept { word_.fetch_or(kDetached, std::memory_order_relaxed); }
    bool is_detached() const noexcept { return flag(kDetached); }

    /// Somebody looked at the outcome, so that a failure need not be reported.
    void mark_retrieved() noexcept {
        if (!flag(kRetrieved)) word_.fetch_or(kRetrieved, std::memory_order_relaxed);
    }
    bool is_retrieved() const noexcept { return flag(kRetrieved); }

    /// The value is an exception. The one who won `begin_complete`, before `publish`.
    void mark_failed() noexcept { word_.fetch_or(kFailed, std::memory_order_relaxed); }
    bool has_failed() const noexcept { return flag(kFailed); }

    /// The future belongs to a call, not to somebody's bare promise. Before it is shared.
    void mark_as_call() noexcept {
        word_.store(word_.load(std::memory_order_relaxed) | kCall, std::memory_order_relaxed);
    }
    bool is_call() const noexcept { return flag(kCall); }

    /// Takes every stripe, so that a fork finds none of them held. In the parent and the child: release.
    static void lock_all_stripes();
    static void unlock_all_stripes();

  private:
    static constexpr std::uint32_t kPhaseMask = 7;
    static constexpr std::uint32_t kObserved = 1U << 3;
    static constexpr std::uint32_t kHasWaiters = 1U << 4;
    static constexpr std::uint32_t kStopRequested = 1U << 5;
    static constexpr std::uint32_t kDetached = 1U << 6;
    static constexpr std::uint32_t kRetrieved = 1U << 7;
    static constexpr std::uint32_t kFailed = 1U << 8;
    static constexpr std::uint32_t kCall = 1U << 9;

    class StripeLock {  // of the mutex that guards this future's list
      public:
        explicit StripeLock(const FutureState* state);
        ~StripeLock();
        StripeLock(const StripeLock&) = delete;
        StripeLock& operator=(const StripeLock&) = delete;

      private:
        std::size_t index_;
    };

    bool flag(std::uint32_t bit) const noexcept { return (word_.load(std::memory_order_acquire) & bit) != 0; }
    bool advance(Phase from, Phase to) noexcept;
    void unlink(Continuation& continuation) noexcept;
    Continuation* pop(Continuation::Kind kind) noexcept;

    std::atomic<std::uint32_t> word_{0};
    Continuation* waiters_ = nullptr;  // circular list; guarded by the stripe
};

template <class Match>
Continuation* FutureState::remove_if(Match match) noexcept {
    StripeLock lock(this);
    Continuation* node = waiters_;
    if (node == nullptr) return nullptr;
    do {
        if (match(*node)) {
            unlink(*node);
            return node;
        }
        node = node->next_;
    } while (node != waiters_);
    return nullptr;
}

template <class Visit>
void FutureState::for_each(Visit visit) const {
    if (!flag(kHasWaiters)) return;
    StripeLock lock(this);
    Continuation* node = waiters_;
    if (node == nullptr) return;
    do {
        visit(*node);
        node = node->next_;
    } while (node != waiters_);
}

}  // namespace pyferris
