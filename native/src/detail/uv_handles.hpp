// RAII over uv handles. A handle's memory is given back in its close callback only; a loop closes when all of its
// handles have.
#pragma once

#include <uv.h>

#include <utility>

#include "pyferris/uv_error.hpp"

namespace pyferris::detail {

/// A uv loop that closes itself. Used by one thread at a time.
class UvLoop {
  public:
    UvLoop() { check_uv(uv_loop_init(&loop_), "uv_loop_init"); }
    UvLoop(const UvLoop&) = delete;
    UvLoop& operator=(const UvLoop&) = delete;
    ~UvLoop() {
        // Lets the close callbacks of handles run; each handle was closed by its owner before.
        while (uv_loop_close(&loop_) == UV_EBUSY) uv_run(&loop_, UV_RUN_NOWAIT);
    }
    uv_loop_t* get() noexcept { return &loop_; }

  private:
    uv_loop_t loop_{};
};

/// An async handle: `send` from any thread, the callback on the loop's thread. Destroyed before its loop, by the
/// loop's thread, when no thread can send any more.
class UvAsync {
  public:
    using Callback = void (*)(void* context);

    UvAsync(UvLoop& loop, Callback callback, void* context) : handle_(new Handle{{}, callback, context}) {
        handle_->async.data = handle_;
        const int code = uv_async_init(loop.get(), &handle_->async, [](uv_async_t* async) {
            auto* handle = static_cast<Handle*>(async->data);
            handle->callback(handle->context);
        });
        if (code != 0) {
            delete handle_;
            throw UvError("uv_async_init", code);
        }
    }
    UvAsync(const UvAsync&) = delete;
    UvAsync& operator=(const UvAsync&) = delete;
    ~UvAsync() {
        uv_close(reinterpret_cast<uv_handle_t*>(&handle_->async),
                 [](uv_handle_t* async) { delete static_cast<Handle*>(async->data); });
    }
    /// Any thread.
    void send() noexcept { uv_async_send(&handle_->async); }

  private:
    struct Handle {
        uv_async_t async;
        Callback callback;
        void* context;
    };
    Handle* handle_;
};

}  // namespace pyferris::detail
