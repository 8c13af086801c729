#include "pyferris/native_thread.hpp"

#include <uv.h>

#include "detail/detach_thread.hpp"

namespace pyferris {

struct NativeThread::Impl {
    uv_thread_t thread{};
    bool started = false;
};

NativeThread::NativeThread() : impl_(std::make_unique<Impl>()) {}

NativeThread::~NativeThread() = default;

bool NativeThread::start(Work work, void* argument) {
    impl_->started = uv_thread_create(&impl_->thread, work, argument) == 0;
    return impl_->started;
}

void NativeThread::join() {
    if (!impl_->started) return;
    uv_thread_join(&impl_->thread);
    impl_->started = false;
}

bool NativeThread::start_detached(Work work, void* argument) {
    uv_thread_t thread{};
    if (uv_thread_create(&thread, work, argument) != 0) return false;
    detach_thread(thread);
    return true;
}

}  // namespace pyferris
