// What a call can ask about itself: its future, whether it is to stop, a sleep that ends then.
#include "future_object.hpp"
#include "interpreter_worker.hpp"
#include "py_args.hpp"
#include "py_compat.hpp"
#include "pyferris/blocked_wait.hpp"

namespace pyferris::python {

namespace {

constexpr std::uint64_t kLookForStopNs = 20'000'000;

class Sleeper final : public Continuation, private BlockedWait {
  public:
    Sleeper(Parker& parker, FutureState& state) : Continuation(Kind::stopper), parker_(parker), state_(state) {}
    void notify() override {}
    void stop_requested() noexcept override {
        if (!woken_) parker_.unpark();
        woken_ = true;
    }
    bool woken() const noexcept { return woken_; }

  private:
    void forget() noexcept override { state_.remove(*this); }

    Parker& parker_;
    FutureState& state_;
    bool woken_ = false;  // guarded by the future's stripe
};

// The call that this thread is in, or the coroutine of a pool whose context this is. Null: none.
PyRef asking_call() {
    FutureObject* future = current_future();
    if (future != nullptr) return PyRef::share(as_object(future));
    PyObject* var = module_state().coroutine_call;
    PyObject* found = nullptr;
    if (var != nullptr && PyContextVar_Get(var, Py_None, &found) != 0) PyErr_Clear();
    PyRef call = PyRef::steal(found);
    if (call && PyObject_TypeCheck(call.get(), module_state().future_core) == 0) return {};
    return call;
}

// The state of that call; `keep` holds its future. Also where the call is another interpreter's, whose queue keeps it.
FutureState* asking_state(PyRef* keep) {
    *keep = asking_call();
    return *keep ? &as_future(keep->get())->state : current_state();
}

PyObject* raise_cancelled() {
    static_cast<void>(take_stop_request());  // told herewith
    PyErr_SetString(module_state().call_cancelled, "this call was asked to stop");
    return nullptr;
}

PyObject* current_future_function(PyObject* /*module*/, PyObject* /*unused*/) {
    PyRef call = asking_call();
    return call ? call.release() : Py_NewRef(Py_None);
}

PyObject* cancel_requested(PyObject* /*module*/, PyObject* /*unused*/) {
    PyRef keep;
    const FutureState* state = asking_state(&keep);
    return PyBool_FromLong(state != nullptr && state->stop_requested());
}

PyObject* check_cancelled(PyObject* /*module*/, PyObject* /*unused*/) {
    PyRef keep;
    const FutureState* state = asking_state(&keep);
    if (state != nullptr && state->stop_requested()) return raise_cancelled();
    Py_RETURN_NONE;
}

// As time.sleep reads it. False with an error set.
bool parse_seconds(PyObject* seconds, Deadline* deadline) {
    constexpr double kLongest = 9.0e9;  // parse_timeout takes more for ever
    const double value = PyFloat_AsDouble(seconds);
    if (value == -1.0 && PyErr_Occurred() != nullptr) {
        if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) return false;
        PyErr_Format(PyExc_TypeError, "sleep() takes a number of seconds, not %.200s: %.200R",
                     Py_TYPE(seconds)->tp_name, seconds);
        return false;
    }
    if (value < 0) {
        PyErr_Format(PyExc_ValueError, "sleep() takes a number of seconds of 0 or more, not %R", seconds);
        return false;
    }
    if (value > kLongest) {
        PyErr_Format(PyExc_OverflowError, "sleep() takes at most 9e9 seconds, not %R", seconds);
        return false;
    }
    const PyRef number = PyRef::steal(PyFloat_FromDouble(value));
    return number && parse_timeout(number.get(), "seconds", deadline);
}

PyObject* sleep(PyObject* /*module*/, PyObject* seconds) {
    Deadline deadline = kNoDeadline;
    if (!parse_seconds(seconds, &deadline)) return nullptr;
    PyRef keep;
    FutureState* state = asking_state(&keep);
    if (keep && is_on_own_loop(as_future(keep.get()))) {
        PyErr_SetString(PyExc_RuntimeError,
                        "sleep() in a coroutine would stop the event loop of its pool: await asyncio.sleep() instead");
        return nullptr;
    }
    const ParkerLease lease;
    if (state == nullptr) {
        if (wait_attached(*lease, deadline) == WaitResult::error) return nullptr;
        Py_RETURN_NONE;
    }
    if (state->stop_requested()) return raise_cancelled();
    Sleeper sleeper(*lease, *state);
    if (state->add(sleeper) == FutureState::AddResult::already_final) Py_RETURN_NONE;
    WaitResult result = WaitResult::woken;
    if (!state->stop_requested()) result = wait_attached(*lease, deadline);
    state->remove(sleeper);
    if (sleeper.woken() && result != WaitResult::woken) consume_token(*lease);
    if (result == WaitResult::error) return nullptr;
    if (state->stop_requested()) return raise_cancelled();
    Py_RETURN_NONE;
}

// `wait_through(future)`: its result. A request to stop the call that this thread runs is passed on to the future's.
PyObject* wait_through(PyObject* /*module*/, PyObject* object) {
    if (PyObject_TypeCheck(object, module_state().future_core) == 0) {
        return PyErr_Format(PyExc_TypeError, "wait_through() takes a future, not %.200s", Py_TYPE(object)->tp_name);
    }
    FutureObject* future = as_future(object);
    bool passed_on = false;
    for (;;) {
        const FutureState* mine = current_state();
        if (!passed_on && mine != nullptr && mine->stop_requested()) {
            passed_on = true;
            if (cancel(future) < 0) return nullptr;
        }
        const int done = wait_final(future, passed_on ? kNoDeadline : deadline_after(kLookForStopNs));
        if (done < 0) return nullptr;
        if (done > 0) return outcome(future, false);
    }
}

// `run_as_current(future, fn, /, *args, **kwargs)`: calls `fn` with `future` as this thread's current one.
PyObject* run_as_current(PyObject* /*module*/, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    if (count < 2 || PyObject_TypeCheck(args[0], module_state().future_core) == 0) {
        PyErr_SetString(PyExc_TypeError, "run_as_current() takes a future and the function to call");
        return nullptr;
    }
    FutureObject* outer = exchange_current_future(as_future(args[0]));
    PyObject* result = PyObject_Vectorcall(args[1], args + 2, static_cast<std::size_t>(count - 2), names);
    exchange_current_future(outer);
    return result;
}

PyMethodDef functions[] = {
    {"current_future", current_future_function, METH_NOARGS, nullptr},
    {"cancel_requested", cancel_requested, METH_NOARGS, nullptr},
    {"check_cancelled", check_cancelled, METH_NOARGS, nullptr},
    {"sleep", sleep, METH_O, nullptr},
    {"wait_through", wait_through, METH_O, nullptr},
    {"run_as_current", as_method(run_as_current), METH_FASTCALL | METH_KEYWORDS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

PyDoc_STRVAR(cancelled_doc,
             "Raised inside a call that was asked to stop; its future ends cancelled.\n\n"
             "A BaseException, so that `except Exception` in the call does not eat it.");

bool register_call_context(PyObject* module) {
    PyObject*& type = module_state().call_cancelled;
    if (type == nullptr) {
        type = PyErr_NewExceptionWithDoc("pyferris.errors.CallCancelled", cancelled_doc, PyExc_BaseException, nullptr);
    }
    return type != nullptr && PyModule_AddObjectRef(module, "CallCancelled", type) == 0 &&
           PyModule_AddFunctions(module, functions) == 0;
}

}  // namespace pyferris::python
