#include "worker_messages.hpp"

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "module_state.hpp"
#include "notifier.hpp"

namespace pyferris::python {

namespace {

constexpr const char* kSlotCapsule = "pyferris worker slot";
using SlotPtr = std::shared_ptr<WorkerSlot>;

// In the main interpreter, on the notifier's thread.
void deliver_home(FutureObject* future, long kind, const std::string& payload) {
    const PyRef bytes =
        PyRef::steal(PyBytes_FromStringAndSize(payload.data(), static_cast<Py_ssize_t>(payload.size())));
    PyObject* output = future == nullptr || future->isolated->output == nullptr ? Py_None : future->isolated->output;
    PyObject* context = future == nullptr || future->call.context == nullptr ? Py_None : future->call.context;
    const PyRef done = PyRef::steal(
        bytes ? PyObject_CallFunction(module_state().deliver, "lOOO", kind, bytes.get(), output, context) : nullptr);
    if (!done) PyErr_WriteUnraisable(nullptr);
}

// `send(kind, payload)`. Attached to the worker's interpreter.
PyObject* send_home(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    const SlotPtr& slot = *static_cast<SlotPtr*>(PyCapsule_GetPointer(self, kSlotCapsule));
    if (count != 2 || !PyLong_Check(args[0]) || !PyBytes_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "send() takes an int, the kind, and bytes");
        return nullptr;
    }
    const long kind = PyLong_AsLong(args[0]);
    if (kind == -1 && PyErr_Occurred() != nullptr) return nullptr;
    std::string payload;
    if (!copy_bytes(args[1], &payload)) return nullptr;
    if (kind == 0) {  // something is buffered there: `flush` is due at the end of the call
        slot->has_buffered = true;
        Py_RETURN_NONE;
    }
    // Attached, so that the call cannot end before its future is known to have spoken.
    FutureObject* future = slot->running.load();
    if (future != nullptr) {
        future->isolated->has_spoken = true;
    } else {
        slot->said_aside = true;
    }
    notifier::post([future, kind, payload = std::move(payload)] { deliver_home(future, kind, payload); }, false);
    Py_RETURN_NONE;
}

struct Answer {
    std::mutex mutex;
    std::condition_variable ready;
    bool done = false;  // guarded by mutex
    std::string bytes;  // likewise
};

// In the main interpreter, on the notifier's thread.
void answer(const std::shared_ptr<Answer>& result, long kind, const std::string& payload) {
    const PyRef bytes =
        PyRef::steal(PyBytes_FromStringAndSize(payload.data(), static_cast<Py_ssize_t>(payload.size())));
    const PyRef said =
        PyRef::steal(bytes ? PyObject_CallFunction(module_state().answer, "lO", kind, bytes.get()) : nullptr);
    if (!said || !PyBytes_Check(said.get())) PyErr_WriteUnraisable(nullptr);
    const std::lock_guard lock(result->mutex);
    result->done = true;
    if (said && PyBytes_Check(said.get())) {
        result->bytes.assign(PyBytes_AS_STRING(said.get()), static_cast<std::size_t>(PyBytes_GET_SIZE(said.get())));
    }
    result->ready.notify_all();
}

// `request(kind, payload, timeout)`: what the main interpreter answers within `timeout` seconds. Attached to a
// worker's.
PyObject* request(PyObject* /*self*/, PyObject* args) {
    long kind = 0;
    const char* payload = nullptr;
    Py_ssize_t size = 0;
    double timeout = 0;
    if (PyArg_ParseTuple(args, "ly#d:request", &kind, &payload, &size, &timeout) == 0) return nullptr;
    const auto result = std::make_shared<Answer>();
    notifier::post(
        [result, kind, text = std::string(payload, static_cast<std::size_t>(size))] { answer(result, kind, text); });
    PyThreadState* self = PyEval_SaveThread();
    bool done = false;
    {
        std::unique_lock lock(result->mutex);
        done = result->ready.wait_for(lock, std::chrono::duration<double>(timeout), [&] { return result->done; });
    }
    PyEval_RestoreThread(self);
    if (done) return PyBytes_FromStringAndSize(result->bytes.data(), static_cast<Py_ssize_t>(result->bytes.size()));
    PyErr_SetString(PyExc_TimeoutError, "the main interpreter did not answer in time");
    return nullptr;
}

PyMethodDef send_def = {"send", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(send_home)), METH_FASTCALL,
                        nullptr};
PyMethodDef request_def = {"request", request, METH_VARARGS, nullptr};

}  // namespace

PyObject* make_sender(const std::shared_ptr<WorkerSlot>& slot) {
    auto* owned = new SlotPtr(slot);
    const PyRef capsule = PyRef::steal(PyCapsule_New(owned, kSlotCapsule, [](PyObject* self) {
        delete static_cast<SlotPtr*>(PyCapsule_GetPointer(self, kSlotCapsule));
    }));
    if (!capsule) {
        delete owned;
        return nullptr;
    }
    return PyCFunction_New(&send_def, capsule.get());
}

PyObject* make_requester() { return PyCFunction_New(&request_def, nullptr); }

}  // namespace pyferris::python
