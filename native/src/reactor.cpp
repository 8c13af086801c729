#include "pyferris/reactor.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>

#include "detail/uv_handles.hpp"

namespace pyferris {

struct Reactor::Impl {
    explicit Impl(Handler on_posted)
        : handler(std::move(on_posted)), async(loop, [](void* self) { static_cast<Impl*>(self)->woken(); }, this) {
        check_uv(uv_thread_create(&thread, &Impl::main, this), "uv_thread_create");
    }
    ~Impl() {
        stopping.store(true);
        async.send();
        uv_thread_join(&thread);
    }

    // uv's callback only notes that it was called: the handler may never return (the interpreter's end stops threads),
    // and must not be stopped inside uv's frames.
    void woken() { uv_stop(loop.get()); }

    static void main(void* argument) {
        auto* self = static_cast<Impl*>(argument);
        for (;;) {
            uv_run(self->loop.get(), UV_RUN_DEFAULT);
            if (self->stopping.load()) return;
            self->handle();
        }
    }
    void handle() {
        {
            const std::lock_guard lock(mutex);
            taken.clear();
            taken.swap(posted);
        }
        if (!taken.empty()) handler(taken);
    }

    const Handler handler;
    std::mutex mutex;
    std::vector<std::uint64_t> posted;  // guarded by mutex
    std::vector<std::uint64_t> taken;   // the reactor's thread only
    std::atomic<bool> stopping{false};
    detail::UvLoop loop;
    detail::UvAsync async;
    uv_thread_t thread{};
};

Reactor::Reactor(Handler handler) : impl_(std::make_unique<Impl>(std::move(handler))) {}

Reactor::~Reactor() = default;

void Reactor::post(std::uint64_t number) noexcept {
    {
        const std::lock_guard lock(impl_->mutex);
        if (std::find(impl_->posted.begin(), impl_->posted.end(), number) == impl_->posted.end()) {
            impl_->posted.push_back(number);
        }
    }
    impl_->async.send();
}

void Reactor::abandon_after_fork() noexcept {
    uv_loop_fork(impl_->loop.get());  // descriptors of its own, so that nothing here reaches the parent
    static_cast<void>(impl_.release());
}

}  // namespace pyferris
