// libuv of Debian 12 cannot let go of a thread that nobody joins.
#pragma once

#include <uv.h>

#ifndef _WIN32
#include <pthread.h>
#endif

namespace pyferris {

/// Of a thread that nobody else joins or detaches, itself included. Any thread.
inline void detach_thread(uv_thread_t thread) {
#ifdef _WIN32
    CloseHandle(thread);
#else
    pthread_detach(thread);
#endif
}

}  // namespace pyferris
