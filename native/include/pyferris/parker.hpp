// How a thread waits. The core never blocks a thread in a way of its own: whoever waits brings a Parker.
//
// A Parker carries one token. `unpark` leaves it, `park` takes it or sleeps until it comes. A token left before
// `park` is not lost. One thread parks; any thread may unpark.
//
//   empty --unpark--> token --park--> empty
//   empty --park--> asleep --unpark--> empty (woken)
//                          --deadline--> empty (timed_out)
//                          --signal--> empty (interrupted; only parkers that can be)
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "pyferris/clock.hpp"

namespace pyferris {

enum class ParkResult : std::uint8_t { woken, timed_out, interrupted };

class Parker {
  public:
    Parker() = default;
    Parker(const Parker&) = delete;
    Parker& operator=(const Parker&) = delete;
    virtual ~Parker() = default;

    /// Sleeps until a token is there or `deadline` has passed. The owner's thread; holds no lock, no GIL.
    virtual ParkResult park(Deadline deadline) = 0;
    /// Leaves a token. Any thread, any lock held: never blocks.
    virtual void unpark() noexcept = 0;

  private:
    friend class WakeBatch;
    Parker* next_in_batch_ = nullptr;  // owned by the one WakeBatch that has taken the wake-up
};

/// The core's own parker, for its worker threads and for tests. Never interrupted.
class NativeParker final : public Parker {
  public:
    NativeParker();
    ~NativeParker() override;
    ParkResult park(Deadline deadline) override;
    void unpark() noexcept override;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// Collects wake-ups so that they happen after the waker has let go of what the woken need (the GIL).
///
/// While a batch is current on a thread, `wake` puts parkers in it; `flush` wakes them in order. A parker in a batch
/// must not be destroyed: its owner waits for the token that is owed to it.
class WakeBatch {
  public:
    /// Wakes `parker`: later, if this thread has a current batch, else at once. Any thread.
    static void wake(Parker& parker) noexcept;

    /// Makes this the thread's batch until `leave`.
    void enter() noexcept;
    void leave() noexcept;
    /// Wakes all that were collected. The thread that collected them.
    void flush() noexcept;
    bool empty() const noexcept { return first_ == nullptr; }
    /// True between `enter` and `leave` on this thread.
    bool is_current() const noexcept;

  private:
    Parker* first_ = nullptr;
    Parker* last_ = nullptr;
};

}  // namespace pyferris
