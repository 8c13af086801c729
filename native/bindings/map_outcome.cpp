// What readers of a map see: settled items, failures, and the promises by which they wait.
#include <algorithm>
#include <string>
#include <string_view>

#include "map_run.hpp"
#include "py_compat.hpp"

namespace pyferris::python {

namespace {

constexpr const char* kNoteBegin = "raised for item ";
constexpr const char* kNoteEnd = " of the map";

// True for a note that `name_item` has made.
bool is_item_note(PyObject* note) {
    if (PyUnicode_CheckExact(note) == 0) return false;
    Py_ssize_t length = 0;
    const char* text = PyUnicode_AsUTF8AndSize(note, &length);
    if (text == nullptr) return false;
    const std::string_view view(text, static_cast<std::size_t>(length));
    return view.starts_with(kNoteBegin) && view.ends_with(kNoteEnd);
}

// Raises the exception of a failure as it was raised, whatever readers before have added to its traceback.
void raise_failure(PyObject* failure) {
    PyObject* error = PyTuple_GET_ITEM(failure, 0);
    PyException_SetTraceback(error, PyTuple_GET_ITEM(failure, 1));
    raise_taken(Py_NewRef(error));
}

}  // namespace

void name_item(PyObject* error, std::uint64_t index) {
    const std::string text = kNoteBegin + std::to_string(index) + kNoteEnd;
    const PyRef notes = PyRef::steal(PyObject_GetAttrString(error, "__notes__"));
    if (notes && PyList_Check(notes.get()) != 0) {
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(notes.get()); ++i) {
            if (!is_item_note(PyList_GET_ITEM(notes.get(), i))) continue;
            PyObject* note = PyUnicode_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size()));
            if (note == nullptr || PyList_SetItem(notes.get(), i, note) != 0) PyErr_Clear();
            return;
        }
    }
    PyErr_Clear();
    const PyRef noted = PyRef::steal(PyObject_CallMethod(error, "add_note", "s", text.c_str()));
    if (!noted) PyErr_Clear();  // an exception that takes no notes goes without
}

bool MapRun::is_ready(std::uint64_t index) const noexcept {
    if (slots_ == nullptr) return true;
    if (index != kAll) return (slot(index).load(std::memory_order_acquire) & kTagMask) != 0;
    if (finished() == added()) return true;
    return fail_fast_.load(std::memory_order_acquire) && first_failure_.load(std::memory_order_acquire) != nullptr;
}

bool MapRun::has_run(std::uint64_t index) const noexcept {
    if (slots_ == nullptr) return true;
    const Word tag = slot(index).load(std::memory_order_acquire) & kTagMask;
    return tag == kResult || tag == kFailure;
}

PyObject* MapRun::outcome(std::uint64_t index, bool take) {
    std::atomic<Word>& word = slot(index);
    const Word found = word.load(std::memory_order_acquire);
    if (take) word.store(0, std::memory_order_release);  // of settled items only the reader takes anything
    PyObject* object = object_in(found);
    if ((found & kTagMask) == kResult) return take ? object : Py_NewRef(object);
    if ((found & kTagMask) == kCancelled) {
        PyErr_SetNone(module_state().cf_cancelled_error);
        return nullptr;
    }
    failure_seen_.store(true, std::memory_order_relaxed);
    raise_failure(object);
    if (take) {
        const SavedError saved;
        Py_DECREF(object);
    }
    return nullptr;
}

// Null where they cannot become the memory of a list: not all are results, or there is no GIL, and lists are made of
// something else. Null with an error set as well.
PyObject* MapRun::list_of_slots() {
#ifdef Py_GIL_DISABLED
    return nullptr;
#else
    const std::uint64_t count = added();
    if (slots_ == nullptr || count != capacity_ || finished() != count) return nullptr;
    PyObject* list = PyList_New(0);
    if (list == nullptr) return nullptr;
    std::atomic<Word>* const slots = slots_.get();
    for (std::uint64_t i = 0; i < count; ++i) {
        const Word word = slots[i].load(std::memory_order_acquire);
        if ((word & kTagMask) != kResult) {  // back, as it was
            for (std::uint64_t j = 0; j < i; ++j) slots[j].store(slots[j].load() | kResult, std::memory_order_relaxed);
            Py_DECREF(list);
            return nullptr;
        }
        slots[i].store(word & ~kTagMask, std::memory_order_relaxed);
    }
    static_cast<void>(slots_.release());
    reinterpret_cast<PyListObject*>(list)->ob_item = reinterpret_cast<PyObject**>(slots);
    reinterpret_cast<PyListObject*>(list)->allocated = static_cast<Py_ssize_t>(count);
    Py_SET_SIZE(reinterpret_cast<PyVarObject*>(list), static_cast<Py_ssize_t>(count));
    return list;
#endif
}

PyObject* MapRun::outcomes(bool take, std::uint64_t* taken) {
    const std::uint64_t count = slots_ == nullptr ? 0 : added();  // none: another reader has taken all
    *taken = 0;
    if (take) {
        PyObject* list = list_of_slots();
        if (list != nullptr) *taken = count;
        if (list != nullptr || PyErr_Occurred() != nullptr) return list;
    }
    PyRef list = PyRef::steal(PyList_New(static_cast<Py_ssize_t>(count)));
    for (std::uint64_t i = 0; list && i < count; ++i) {
        PyObject* object = outcome(i, take);
        if (object == nullptr) return nullptr;
        PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), object);
        if (take) *taken = i + 1;
    }
    return list.release();
}

void MapRun::raise_unsettled() {
    PyRef error;
    {
        const std::lock_guard lock(mutex_);
        error = PyRef::share(broken_);
    }
    if (error) {
        raise_taken(error.release());
    } else {
        PyErr_SetNone(module_state().cf_cancelled_error);
    }
}

bool MapRun::raise_first_failure() {
    PyObject* failure = first_failure_.load(std::memory_order_acquire);
    if (failure == nullptr) return false;
    failure_seen_.store(true, std::memory_order_relaxed);
    raise_failure(failure);
    return true;
}

PyObject* MapRun::promise(std::uint64_t index) {
    FutureObject* promise = new_future();
    if (promise == nullptr) return nullptr;
    {
        const std::lock_guard lock(mutex_);
        readers_.push_back({index, as_future(Py_NewRef(as_object(promise)))});
        find_wanted();
    }
    // Settled meanwhile: whoever did so may not have seen this reader.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (is_over() || is_ready(index)) notify();
    return as_object(promise);
}

void MapRun::forget(PyObject* promise) {
    const std::lock_guard lock(mutex_);
    for (auto reader = readers_.begin(); reader != readers_.end(); ++reader) {
        if (as_object(reader->promise) != promise) continue;
        readers_.erase(reader);
        find_wanted();
        Py_DECREF(promise);  // not the last: the caller has one
        return;
    }
}

// The mutex is held.
void MapRun::find_wanted() noexcept {
    std::uint64_t wanted = ItemClaims::kNone;
    if (!readers_.empty()) {
        const std::uint64_t first = readers_[0].index;
        const auto same = [&](const Reader& each) { return each.index == first; };
        wanted = std::all_of(readers_.begin(), readers_.end(), same) ? first : kAny;
    }
    wanted_.store(wanted, std::memory_order_seq_cst);
}

// Completes the promises of readers whose item has settled.
void MapRun::notify() {
    std::vector<FutureObject*> ready;
    {
        const std::lock_guard lock(mutex_);
        std::erase_if(readers_, [&](const Reader& reader) {
            if (!is_over() && !is_ready(reader.index)) return false;
            ready.push_back(reader.promise);
            return true;
        });
        if (!ready.empty()) find_wanted();
    }
    for (FutureObject* promise : ready) {
        set_result(promise, Py_NewRef(Py_None));
        Py_DECREF(as_object(promise));
    }
}

void MapRun::report_unseen() {
    PyObject* failure = first_failure_.load(std::memory_order_acquire);
    if (failure == nullptr || stopped_.load(std::memory_order_acquire) || is_finalizing()) return;
    if (failure_seen_.exchange(true, std::memory_order_acq_rel)) return;
    const SavedError saved;
    const PyRef reported =
        PyRef::steal(PyObject_CallOneArg(module_state().report_unretrieved, PyTuple_GET_ITEM(failure, 0)));
    if (!reported) PyErr_WriteUnraisable(nullptr);
}

}  // namespace pyferris::python
