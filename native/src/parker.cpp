#include "pyferris/parker.hpp"

#include <uv.h>

#include <utility>

namespace pyferris {

namespace {
thread_local WakeBatch* current_batch = nullptr;
}

struct NativeParker::Impl {
    uv_mutex_t mutex;
    uv_cond_t changed;
    bool token = false;  // guarded by mutex
};

NativeParker::NativeParker() : impl_(std::make_unique<Impl>()) {
    if (uv_mutex_init(&impl_->mutex) != 0) throw std::bad_alloc();
    if (uv_cond_init(&impl_->changed) != 0) {
        uv_mutex_destroy(&impl_->mutex);
        throw std::bad_alloc();
    }
}

NativeParker::~NativeParker() {
    uv_cond_destroy(&impl_->changed);
    uv_mutex_destroy(&impl_->mutex);
}

ParkResult NativeParker::park(Deadline deadline) {
    uv_mutex_lock(&impl_->mutex);
    while (!impl_->token) {
        if (deadline == kNoDeadline) {
            uv_cond_wait(&impl_->changed, &impl_->mutex);
            continue;
        }
        const std::uint64_t now = now_ns();
        if (now >= deadline) break;
        uv_cond_timedwait(&impl_->changed, &impl_->mutex, deadline - now);
    }
    const bool woken = std::exchange(impl_->token, false);
    uv_mutex_unlock(&impl_->mutex);
    return woken ? ParkResult::woken : ParkResult::timed_out;
}

void NativeParker::unpark() noexcept {
    // Signalled under the mutex: the owner may destroy the parker as soon as it has the token.
    uv_mutex_lock(&impl_->mutex);
    impl_->token = true;
    uv_cond_signal(&impl_->changed);
    uv_mutex_unlock(&impl_->mutex);
}

void WakeBatch::wake(Parker& parker) noexcept {
    WakeBatch* batch = current_batch;
    if (batch == nullptr) {
        parker.unpark();
        return;
    }
    parker.next_in_batch_ = nullptr;
    if (batch->last_ != nullptr) {
        batch->last_->next_in_batch_ = &parker;
    } else {
        batch->first_ = &parker;
    }
    batch->last_ = &parker;
}

void WakeBatch::enter() noexcept { current_batch = this; }

bool WakeBatch::is_current() const noexcept { return current_batch == this; }

void WakeBatch::leave() noexcept { current_batch = nullptr; }

void WakeBatch::flush() noexcept {
    Parker* parker = std::exchange(first_, nullptr);
    last_ = nullptr;
    while (parker != nullptr) {
        Parker* next = parker->next_in_batch_;  // read first: an unparked parker may be gone
        parker->unpark();
        parker = next;
    }
}

}  // namespace pyferris
