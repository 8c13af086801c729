#include "isolated_call.hpp"

#include "notifier.hpp"
#include "pool_object.hpp"
#include "py_compat.hpp"

namespace pyferris::python {

namespace {

PyObject* decode_outcome(FutureObject* future) {
    const ModuleState& state = module_state();
    const Message& outcome = future->isolated->outcome;
    const WireCodec codec{state.wire_dumps, state.wire_loads};
    if (!future->state.has_failed()) return decode(outcome, codec);
    if (outcome.empty()) {
        PyErr_SetString(PyExc_MemoryError, "the worker had no memory to send the error of this call");
        return nullptr;
    }
    const PyRef bytes =
        PyRef::steal(PyBytes_FromStringAndSize(outcome.data.data(), static_cast<Py_ssize_t>(outcome.data.size())));
    return bytes ? PyObject_CallOneArg(state.wire_loads_error, bytes.get()) : nullptr;
}

}  // namespace

void count_call(PoolShared& shared, const FutureObject* future, int change) noexcept {
    if (future->isolated != nullptr && future->isolated->is_batch) return;
    shared.active.fetch_add(change, std::memory_order_relaxed);
}

void materialize(FutureObject* future) {
    IsolatedCall* call = future->isolated;
    std::atomic_ref<PyObject*> slot(future->value);
    if (call == nullptr || slot.load(std::memory_order_acquire) != nullptr || future->state.is_cancelled()) return;
    call->readers.fetch_add(1);
    if (slot.load(std::memory_order_acquire) == nullptr) {
        PyObject* value = decode_outcome(future);
        if (value == nullptr) {
            value = take_raised();
            future->state.mark_failed();
        }
        PyObject* nobody = nullptr;
        if (slot.compare_exchange_strong(nobody, value, std::memory_order_acq_rel)) {
            if (PyObject_IS_GC(value) && PyObject_GC_IsTracked(as_object(future)) == 0) {
                PyObject_GC_Track(as_object(future));
            }
        } else {
            Py_DECREF(value);  // another reader was faster
        }
    }
    if (call->readers.fetch_sub(1) == 1 && !call->cleared.exchange(true)) call->outcome.clear();
}

void finish_isolated(FutureObject* future, Message outcome, Ending ending) {
    FutureState& state = future->state;
    IsolatedCall& call = *future->isolated;
    if (!state.begin_complete()) {  // it was given up: a fork, a broken pool
        notifier::let_go(future);
        return;
    }
    call.outcome = std::move(outcome);
    if (ending == Ending::failed) state.mark_failed();
    const auto phase = ending == Ending::cancelled ? FutureState::Phase::notified : FutureState::Phase::done;
    if (call.has_spoken || !state.publish(phase)) {
        // After what it has printed, or under the condition of the future, which takes the main interpreter.
        notifier::post([future, phase] {
            publish_attached(future, phase);
            notifier::let_go(future);
        });
        return;
    }
    if (!state.notify_waiters()) {
        notifier::let_go(future);
        return;
    }
    notifier::post([future] {
        future->state.notify_callbacks();
        notifier::let_go(future);
    });
}

}  // namespace pyferris::python
