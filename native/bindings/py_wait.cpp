#include "py_wait.hpp"

#ifdef __linux__
#include <unistd.h>
#endif

#include <algorithm>
#include <cmath>
#include <new>

#include "interpreter_worker.hpp"
#include "pyferris/spin.hpp"

namespace pyferris::python {

PyParker::PyParker() : lock_(PyThread_allocate_lock()) {
    if (lock_ == nullptr) throw std::bad_alloc();
    PyThread_acquire_lock(lock_, WAIT_LOCK);  // held: no token
}

PyParker::~PyParker() {
    PyThread_acquire_lock(lock_, NOWAIT_LOCK);
    PyThread_release_lock(lock_);
    PyThread_free_lock(lock_);
}

namespace {
struct ThreadParker {
    PyParker parker;
    bool leased = false;
};
thread_local ThreadParker* thread_parker = nullptr;

// Frees the thread's parker when the thread ends.
struct ThreadParkerOwner {
    ThreadParkerOwner() { thread_parker = new ThreadParker(); }
    ThreadParkerOwner(const ThreadParkerOwner&) = delete;
    ThreadParkerOwner& operator=(const ThreadParkerOwner&) = delete;
    ~ThreadParkerOwner() { delete std::exchange(thread_parker, nullptr); }
};
}  // namespace

ParkerLease::ParkerLease() {
    static thread_local const ThreadParkerOwner owner;
    own_ = thread_parker == nullptr || thread_parker->leased;  // null: the thread is ending
    parker_ = own_ ? new PyParker() : &thread_parker->parker;
    if (!own_) thread_parker->leased = true;
    parker_->look_first(true);
}

ParkerLease::~ParkerLease() {
    if (own_) {
        delete parker_;
    } else {
        thread_parker->leased = false;
    }
}

ParkResult PyParker::park(Deadline deadline) {
    if (looks_ && spin_until([this] { return PyThread_acquire_lock(lock_, NOWAIT_LOCK) == PY_LOCK_ACQUIRED; })) {
        return ParkResult::woken;
    }
    PY_TIMEOUT_T micros = -1;
    if (deadline != kNoDeadline) {
        const std::uint64_t now = now_ns();
        const std::uint64_t left = now >= deadline ? 0 : (deadline - now + 999) / 1000;
        constexpr std::uint64_t kLongest = 1'000'000ULL * 3600 * 24 * 365;  // parks again after a year
        micros = static_cast<PY_TIMEOUT_T>(left < kLongest ? left : kLongest);
    }
    switch (PyThread_acquire_lock_timed(lock_, micros, 1)) {
        case PY_LOCK_ACQUIRED: return ParkResult::woken;
        case PY_LOCK_INTR: return ParkResult::interrupted;
        default: return now_ns() < deadline ? ParkResult::interrupted : ParkResult::timed_out;
    }
}

void PyParker::unpark() noexcept { PyThread_release_lock(lock_); }

namespace {

std::atomic<std::uint64_t> releases{0};  // see gil_releases

// A signal that comes after the interpreter last looked for one and before the lock sleeps interrupts nothing. So the
// thread that handles signals looks again, soon at first, then more seldom.
constexpr std::uint64_t kFirstLookNs = 16'000'000;
constexpr std::uint64_t kLastLookNs = 256'000'000;

// Each look makes a thread that computes wait for the GIL, so the next one comes much later.
constexpr std::uint64_t kLookGrowth = 16;

// After how long a thread asks whether it is to wait on: twice as long each time.
constexpr std::uint64_t kFirstAskNs = 500'000;
constexpr std::uint64_t kLastAskNs = 8'000'000;

// An isolated call that waits looks so often whether it was asked to stop: the exception that is raised in it for that
// comes only when it runs Python code again. It must not wait on, or it takes what nobody will get.
constexpr std::uint64_t kLookForStopNs = 20'000'000;

// The process's first thread, where that can be told; any other may be it elsewhere.
bool handles_signals() {
#ifdef __linux__
    return gettid() == getpid();
#else
    return true;
#endif
}

}  // namespace

WaitResult wait_attached(Parker& parker, Deadline deadline) { return wait_attached_while(parker, deadline, nullptr); }

WaitResult wait_attached_while(Parker& parker, Deadline deadline, const std::function<bool()>& waits_on) {
    const bool isolated = current_isolated_worker();
    std::uint64_t ask_ns = kFirstAskNs;
    std::uint64_t look_ns = handles_signals() ? kFirstLookNs : 0;
    if (isolated) look_ns = kLookForStopNs;
    for (;;) {
        const Deadline until = look_ns == 0 ? deadline : std::min(deadline, deadline_after(look_ns));
        // No RAII here: a thread that attaches while the interpreter ends never comes back from it.
        PyThreadState* self = PyEval_SaveThread();
        releases.fetch_add(1, std::memory_order_relaxed);
        ParkResult result = ParkResult::timed_out;
        bool enough = false;
        do {
            const Deadline next = waits_on ? std::min(until, deadline_after(ask_ns)) : until;
            ask_ns = std::min(2 * ask_ns, kLastAskNs);
            result = parker.park(next);
            if (result != ParkResult::timed_out || next == until) break;
            enough = !waits_on();
        } while (!enough);
        PyEval_RestoreThread(self);
        if (result == ParkResult::woken) return WaitResult::woken;
        if (PyErr_CheckSignals() != 0) return WaitResult::error;
        if (isolated && take_stop_request()) {
            PyErr_SetNone(module_state().call_cancelled);
            return WaitResult::error;
        }
        if (result == ParkResult::timed_out && (enough || until == deadline)) return WaitResult::timed_out;
        if (!isolated) look_ns = std::min(look_ns * kLookGrowth, kLastLookNs);
    }
}

std::uint64_t gil_releases() noexcept { return releases.load(std::memory_order_relaxed); }

void consume_token(Parker& parker) {
    PyThreadState* self = PyEval_SaveThread();
    while (parker.park(kNoDeadline) != ParkResult::woken) {
    }
    PyEval_RestoreThread(self);
}

bool parse_timeout(PyObject* timeout, const char* name, Deadline* deadline) {
    if (timeout == nullptr || timeout == Py_None) {
        *deadline = kNoDeadline;
        return true;
    }
    const double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred() != nullptr) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Format(PyExc_TypeError, "%s must be a number of seconds or None, not %.200s: %.200R", name,
                         Py_TYPE(timeout)->tp_name, timeout);
        }
        return false;
    }
    if (std::isnan(seconds)) {
        PyErr_Format(PyExc_ValueError, "%s must be a number of seconds, not NaN", name);
        return false;
    }
    if (seconds <= 0) {
        *deadline = now_ns();
    } else {
        constexpr double kLongest = 9.0e9;  // seconds; 285 years of nanoseconds fit in 63 bits
        *deadline = seconds >= kLongest ? kNoDeadline : deadline_after(static_cast<std::uint64_t>(seconds * 1e9));
    }
    return true;
}

}  // namespace pyferris::python
