#include "pyferris/completion_queue.hpp"

#include <concurrentqueue/concurrentqueue.h>

#include <atomic>
#include <mutex>

#include "detail/uv_handles.hpp"

namespace pyferris {

struct CompletionQueue::Impl {
    explicit Impl(Drop drop_item) : drop(drop_item) {}

    void drop_all() {
        void* item = nullptr;
        while (items.try_dequeue(item)) drop(item);
    }

    const Drop drop;
    moodycamel::ConcurrentQueue<void*> items;
    std::atomic<bool> signalled{false};
    mutable std::mutex mutex;
    LoopWaker* waker = nullptr;  // guarded by mutex; null before `open` and after `close`
};

CompletionQueue::CompletionQueue(Drop drop) : impl_(std::make_unique<Impl>(drop)) {}

CompletionQueue::~CompletionQueue() { impl_->drop_all(); }

void CompletionQueue::open(LoopWaker& waker) {
    const std::lock_guard lock(impl_->mutex);
    impl_->waker = &waker;
}

bool CompletionQueue::push(void* item) {
    impl_->items.enqueue(item);
    return !impl_->signalled.exchange(true, std::memory_order_acq_rel);
}

bool CompletionQueue::wake() {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->waker == nullptr) return false;
    impl_->waker->wake();
    return true;
}

void CompletionQueue::drop_all() {
    begin_drain();  // whoever pushes after this is asked to drop again
    impl_->drop_all();
}

void CompletionQueue::begin_drain() { impl_->signalled.exchange(false, std::memory_order_acq_rel); }

std::size_t CompletionQueue::pop(void** items, std::size_t most) { return impl_->items.try_dequeue_bulk(items, most); }

void CompletionQueue::close() {
    {
        const std::lock_guard lock(impl_->mutex);
        impl_->waker = nullptr;
    }
    drop_all();
}

bool CompletionQueue::is_open() const {
    const std::lock_guard lock(impl_->mutex);
    return impl_->waker != nullptr;
}

void CompletionQueue::abandon_after_fork() {
    // Another thread may have held the mutex, or been inside the queue, when the process forked: both stay untouched,
    // and what the queue holds stays unreleased.
    const Drop drop = impl_->drop;
    static_cast<void>(impl_.release());
    impl_ = std::make_unique<Impl>(drop);
}

struct EmbeddedWaker::Impl {
    Impl() : async(loop, [](void* flag) { *static_cast<bool*>(flag) = true; }, &woken) {}

    bool woken = false;  // the loop's thread only
    detail::UvLoop loop;
    detail::UvAsync async;
};

EmbeddedWaker::EmbeddedWaker() : impl_(std::make_unique<Impl>()) {
    poll();  // registers uv's descriptors with its backend: until then the backend never becomes readable
}

EmbeddedWaker::~EmbeddedWaker() = default;

int EmbeddedWaker::backend_fd() const noexcept { return uv_backend_fd(impl_->loop.get()); }

bool EmbeddedWaker::poll() {
    impl_->woken = false;
    uv_run(impl_->loop.get(), UV_RUN_NOWAIT);
    return impl_->woken;
}

void EmbeddedWaker::wake() noexcept { impl_->async.send(); }

void EmbeddedWaker::detach_after_fork() { uv_loop_fork(impl_->loop.get()); }

}  // namespace pyferris
