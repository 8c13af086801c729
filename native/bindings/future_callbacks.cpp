// Done callbacks of a future: owned nodes of its list.
#include <utility>
#include <vector>

#include "future_object.hpp"
#include "loop_bridge.hpp"
#include "py_compat.hpp"

namespace pyferris::python {

namespace {

// Freed by whoever takes it off the list: the notifier, `remove_done_callback`, or the collector.
class Callback final : public Continuation {
  public:
    Callback(FutureObject* future, PyObject* function)
        : Continuation(Kind::callback), future_(future), function_(Py_NewRef(function)) {}
    ~Callback() {
        Py_DECREF(function_);
        Py_XDECREF(context_);
        Py_XDECREF(loop_);
    }
    Callback(const Callback&) = delete;
    Callback& operator=(const Callback&) = delete;

    void notify() override;
    bool bind_to_running_loop();

    PyObject* function() const noexcept { return function_; }
    int traverse(visitproc visit, void* arg) const {
        Py_VISIT(function_);
        Py_VISIT(context_);
        return 0;
    }

  private:
    FutureObject* const future_;  // its list holds this; alive while it notifies
    PyObject* const function_;
    std::shared_ptr<LoopBridge> bridge_;  // null: called by the completing thread
    PyObject* context_ = nullptr;
    PyObject* loop_ = nullptr;  // strong only from here to the delivery: asyncio's callbacks hold it anyway
};

void call_back(FutureObject* future, PyObject* function) {
    const PyRef result = PyRef::steal(PyObject_CallOneArg(function, as_object(future)));
    if (result) return;
    const PyRef error = PyRef::steal(take_raised());
    const PyRef reported = PyRef::steal(PyObject_CallFunctionObjArgs(module_state().report_callback, as_object(future),
                                                                     function, error.get(), nullptr));
    if (!reported) PyErr_WriteUnraisable(function);
}

void Callback::notify() {
    if (bridge_ == nullptr) {
        call_back(future_, function_);
    } else {
        PyObject* item = PyTuple_Pack(4, loop_, function_, as_object(future_), context_);
        if (item == nullptr) {
            PyErr_WriteUnraisable(function_);
        } else {
            deliver(bridge_, item);
        }
    }
    delete this;
}

// False with an error set.
bool Callback::bind_to_running_loop() {
    const AsyncioNames* asyncio = need_asyncio();
    PyObject* loop = asyncio == nullptr ? nullptr : PyObject_CallNoArgs(asyncio->peek_running_loop);
    if (loop == nullptr) return false;
    if (loop == Py_None) {
        Py_DECREF(loop);
        return true;
    }
    loop_ = loop;
    context_ = PyContext_CopyCurrent();
    if (context_ == nullptr) return false;
    bridge_ = bridge_of(loop);
    return bridge_ != nullptr;
}

// asyncio's own callbacks expect to run on the loop: `asyncio.wait` sets a future of the loop without a thought of
// threads.
bool belongs_to_asyncio(PyObject* function) {
    if (!PyFunction_Check(function)) return false;
    PyObject* name = PyDict_GetItemString(PyFunction_GET_GLOBALS(function), "__name__");
    if (name == nullptr || !PyUnicode_Check(name)) return false;
    return PyUnicode_Tailmatch(name, PyRef::steal(PyUnicode_FromString("asyncio.")).get(), 0, PY_SSIZE_T_MAX, -1) == 1;
}

}  // namespace

bool add_callback(FutureObject* self, PyObject* function) {
    self->state.mark_retrieved();
    auto* callback = new Callback(self, function);
    if (belongs_to_asyncio(function) && !callback->bind_to_running_loop()) {
        delete callback;
        return false;
    }
    if (self->state.add(*callback) == FutureState::AddResult::already_final) callback->notify();
    return true;
}

Py_ssize_t remove_callbacks(FutureObject* self, PyObject* function) {
    // `==` may run user code, which must not happen under the list's lock: candidates are compared outside of it.
    std::vector<std::pair<Callback*, PyObject*>> candidates;
    self->state.for_each([&](Continuation& node) {
        if (node.kind() != Continuation::Kind::callback) return;
        auto& callback = static_cast<Callback&>(node);
        candidates.emplace_back(&callback, Py_NewRef(callback.function()));
    });
    Py_ssize_t removed = 0;
    for (auto& [callback, candidate] : candidates) {
        const PyRef owned = PyRef::steal(candidate);
        const int same = removed < 0 ? 0 : PyObject_RichCompareBool(candidate, function, Py_EQ);
        if (same < 0) removed = -1;
        if (same <= 0) continue;
        Continuation* found =
            self->state.remove_if([wanted = callback](Continuation& node) { return &node == wanted; });
        if (found == nullptr) continue;
        ++removed;
        delete static_cast<Callback*>(found);
    }
    return removed;
}

int traverse_continuations(FutureObject* self, visitproc visit, void* arg) {
    int failed = 0;
    self->state.for_each([&](Continuation& node) {
        if (failed != 0) return;
        if (node.kind() == Continuation::Kind::callback) {
            failed = static_cast<const Callback&>(node).traverse(visit, arg);
        } else if (PyObject* awaiter = awaiter_in(node)) {
            failed = visit(awaiter, arg);
        }
    });
    return failed;
}

void clear_callbacks(FutureObject* self) {
    for (;;) {
        Continuation* node =
            self->state.remove_if([](Continuation& each) { return each.kind() == Continuation::Kind::callback; });
        if (node == nullptr) break;
        delete static_cast<Callback*>(node);
    }
    for (;;) {
        Continuation* node = self->state.remove_if([](Continuation& each) { return awaiter_in(each) != nullptr; });
        if (node == nullptr) break;
        Py_DECREF(awaiter_in(*node));
    }
}

}  // namespace pyferris::python
