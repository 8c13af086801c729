#include "context_scope.hpp"

#include "py_compat.hpp"

namespace pyferris::python {

namespace {

// An empty context that no call has touched, kept for the next one. Strong; worker threads drop it when they end, other
// threads keep none.
thread_local PyObject* spare = nullptr;
thread_local bool may_keep = false;

// PyObject_Size without its search for the way: it is asked for each item of a map.
bool is_empty(PyObject* context) { return Py_TYPE(context)->tp_as_mapping->mp_length(context) == 0; }

}  // namespace

bool capture_context(PyObject** base) {
    *base = nullptr;
    PyObject* mine = PyThreadState_Get()->context;
    if (mine == nullptr || is_empty(mine)) return true;
    *base = PyContext_CopyCurrent();
    return *base != nullptr;
}

bool ContextScope::enter() {
    if (base_ != nullptr) {
        entered_ = PyContext_Copy(base_);
    } else {
        entered_ = spare != nullptr ? std::exchange(spare, nullptr) : PyContext_New();
    }
    if (entered_ == nullptr) return false;
    if (PyContext_Enter(entered_) == 0) return true;
    Py_CLEAR(entered_);
    return false;
}

bool ContextScope::leave() {
    PyObject* context = std::exchange(entered_, nullptr);
    if (context == nullptr) return PyErr_Occurred() == nullptr;
    PyObject* raised = take_raised();
    if (PyContext_Exit(context) != 0) {
        if (raised != nullptr) PyErr_Clear();
    } else if (base_ == nullptr && may_keep && spare == nullptr && is_empty(context)) {
        spare = std::exchange(context, nullptr);
    }
    Py_XDECREF(context);
    if (raised != nullptr) raise_taken(raised);
    return PyErr_Occurred() == nullptr;
}

bool ContextScope::renew() {
    if (base_ == nullptr && entered_ != nullptr && is_empty(entered_)) return true;
    return leave() && enter();
}

void keep_spare_context() { may_keep = true; }

void drop_spare_context() {
    may_keep = false;
    Py_CLEAR(spare);
}

}  // namespace pyferris::python
