// The contextvars that calls run in: each call in a context of its own, made from the submitter's.
#pragma once

#include "py_ref.hpp"

namespace pyferris::python {

/// The context of one call after another on this thread. Attached.
class ContextScope {
  public:
    /// `base`: the submitter's context, copied for each call; null where it had no variables. Borrowed.
    explicit ContextScope(PyObject* base) noexcept : base_(base) {}
    ContextScope(const ContextScope&) = delete;
    ContextScope& operator=(const ContextScope&) = delete;

    /// Enters a context that no call has touched. False with an error set; nothing is entered then.
    bool enter();
    /// Leaves what was entered, if anything. Keeps an error that is set; false with one set.
    bool leave();
    /// What is in the entered context, only to be compared; null if that cannot be seen.
    const void* mapping() const noexcept { return mapping_ == nullptr ? nullptr : *mapping_; }
    /// For the next of several calls: another context, unless the last call left this one as it was: as `mapping` says,
    /// which was the answer after `enter`, and is of all contexts of this scope.
    bool renew(const void* mapping) { return (mapping_ != nullptr && *mapping_ == mapping) || renew_changed(); }

  private:
    bool renew_changed();

    PyObject* const base_;
    PyObject* entered_ = nullptr;           // strong; no destructor: see thread_pool.cpp on frames that may be stopped
    const void* const* mapping_ = nullptr;  // where that has its mapping; null: not known, or nothing is entered
};

/// Finds out how to see that a context was left as it was. Attached, once, before the first scope. False with an error
/// set.
bool learn_context_layout();

/// The current context, to run calls in copies of it: a new reference in `*base`, or null where it has no variables,
/// which needs no copy. False with an error set. Attached.
bool capture_context(PyObject** base);

/// A thread that runs many calls keeps an empty context for the next one, from here to the end of the thread.
void keep_spare_context();
void drop_spare_context();  // attached

}  // namespace pyferris::python
