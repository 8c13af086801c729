#include "context_scope.hpp"

#include <atomic>
#include <cstddef>

#include "py_compat.hpp"

namespace pyferris::python {

namespace {

// An empty context that no call has touched, kept for the next one. Strong; worker threads drop it when they end, other
// threads keep none.
thread_local PyObject* spare = nullptr;
thread_local bool may_keep = false;

bool is_empty(PyObject* context) { return PyObject_Size(context) == 0; }

// Where a context has the mapping of its variables, which never changes but is replaced when one is set. 0: not known.
// One process has one layout of contexts.
std::atomic<std::size_t> mapping_at{0};

const void* const* word_at(PyObject* object, std::size_t at) {
    return reinterpret_cast<void**>(reinterpret_cast<char*>(object) + at);
}

bool set_in(PyObject* context, PyObject* variable, PyObject* value) {
    if (PyContext_Enter(context) != 0) return false;
    const PyRef token = PyRef::steal(PyContextVar_Set(variable, value));
    return PyContext_Exit(context) == 0 && token;
}

}  // namespace

// By trying: the word that is another one in a copy, once a variable was set in it, but was the same before.
bool learn_context_layout() {
    const PyRef variable = PyRef::steal(PyContextVar_New("pyferris", nullptr));
    const PyRef first = PyRef::steal(PyContext_New());
    if (!variable || !first || !set_in(first.get(), variable.get(), Py_None)) return false;
    const PyRef copy = PyRef::steal(PyContext_Copy(first.get()));
    const PyRef changed = PyRef::steal(PyContext_Copy(first.get()));
    if (!copy || !changed || !set_in(changed.get(), variable.get(), Py_True)) return false;
    std::size_t found = 0;
    const auto size = static_cast<std::size_t>(Py_TYPE(first.get())->tp_basicsize);
    for (std::size_t at = sizeof(PyObject); at + sizeof(void*) <= size; at += sizeof(void*)) {
        const void* const word = *word_at(first.get(), at);
        if (word == nullptr || *word_at(copy.get(), at) != word || *word_at(changed.get(), at) == word) continue;
        if (found != 0) return true;  // it is not clear which
        found = at;
    }
    mapping_at.store(found, std::memory_order_relaxed);
    return true;
}

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
    if (PyContext_Enter(entered_) != 0) {
        Py_CLEAR(entered_);
        return false;
    }
    const std::size_t at = mapping_at.load(std::memory_order_relaxed);
    if (at != 0) mapping_ = word_at(entered_, at);
    return true;
}

bool ContextScope::leave() {
    PyObject* context = std::exchange(entered_, nullptr);
    mapping_ = nullptr;
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

bool ContextScope::renew_changed() {
    if (mapping_ == nullptr && base_ == nullptr && entered_ != nullptr && is_empty(entered_)) return true;
    return leave() && enter();
}

void keep_spare_context() { may_keep = true; }

void drop_spare_context() {
    may_keep = false;
    Py_CLEAR(spare);
}

}  // namespace pyferris::python
