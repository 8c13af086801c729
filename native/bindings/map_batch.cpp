// Maps whose workers hand the items of a run to somebody else, all at once.
#include "context_scope.hpp"
#include "map_run.hpp"
#include "py_compat.hpp"

namespace pyferris::python {

namespace {

constexpr std::uint64_t kFewItems = 4;  // in a run: its reader is told of each run

}  // namespace

// As `run_lane`, but the function takes the list of them, and gives (results,
// failures by place in it or None, nanoseconds of work). A failure that is None: the item is to be called here.
bool MapRun::run_batch(MapTask& task, PyObject* batch) {
    const std::size_t lane = task.lane;
    if (is_stopping() || !claims_.begin(lane)) return false;
    runs_.fetch_add(1, std::memory_order_relaxed);
    if (!std::exchange(task.used, true)) lanes_used_.fetch_add(1, std::memory_order_relaxed);
    std::uint64_t first = 0;
    const std::uint64_t count = claims_.take_run(lane, &first);
    if (count == 0) return claims_.has_more(lane);  // another lane took it
    const PyRef items = take_items(first, count);
    const PyRef keep = PyRef::share(batch);
    FutureObject* outer = exchange_current_future(future_);
    const PyRef outcome = PyRef::steal(items ? PyObject_CallOneArg(batch, items.get()) : nullptr);
    settle_batch(first, count, items.get(), outcome.get());
    exchange_current_future(outer);
    WakeBatch* wakes = outer == nullptr ? current_worker_batch() : nullptr;
    if (wakes != nullptr) wakes->enter();
    count_finished(count);
    if (wakes != nullptr) wakes->leave();
    return !is_stopping() && claims_.has_more(lane);
}

// The arguments in these slots, which only this thread may take; they are dropped where there is no memory for a list.
PyRef MapRun::take_items(std::uint64_t first, std::uint64_t count) {
    PyRef items = PyRef::steal(PyList_New(static_cast<Py_ssize_t>(count)));
    for (std::uint64_t i = 0; i < count; ++i) {
        PyObject* item = take_argument(first + i);
        if (item == nullptr) items = PyRef();
        if (items) {
            PyList_SET_ITEM(items.get(), static_cast<Py_ssize_t>(i), item);
        } else {
            Py_XDECREF(item);
        }
    }
    return items;
}

// `outcome` is null with the error set that all of them have. Readers hear of results when the run is counted: told of
// one, they would only wait for the GIL meanwhile.
void MapRun::settle_batch(std::uint64_t first, std::uint64_t count, PyObject* items, PyObject* outcome) {
    PyObject *results = nullptr, *failures = nullptr;
    unsigned long long took = 0;
    if (outcome != nullptr && PyArg_ParseTuple(outcome, "O!OK", &PyList_Type, &results, &failures, &took) != 0 &&
        PyList_GET_SIZE(results) != static_cast<Py_ssize_t>(count)) {
        PyErr_Format(PyExc_RuntimeError, "%zd results came back for %zd items", PyList_GET_SIZE(results),
                     static_cast<Py_ssize_t>(count));
    }
    if (PyErr_Occurred() != nullptr) {
        const bool cancelled = is_stopping() && (PyErr_ExceptionMatches(module_state().cf_cancelled_error) != 0 ||
                                                 PyErr_ExceptionMatches(module_state().call_cancelled) != 0);
        const PyRef error = PyRef::steal(take_raised());
        for (std::uint64_t index = first; index < first + count; ++index) {
            if (cancelled) {
                settle(index, kCancelled);
            } else {
                fail(index, Py_NewRef(error.get()));
            }
        }
        return;
    }
    if (took != 0) claims_.measured(took, count);
    if (failures == Py_None) return place_all(first, results);
    for (std::uint64_t i = 0; i < count; ++i) {
        const PyRef where = PyRef::steal(PyLong_FromUnsignedLongLong(i));
        PyObject* error = where ? PyObject_GetItem(failures, where.get()) : nullptr;
        if (error == nullptr) {
            PyErr_Clear();
            place(first + i, tagged(Py_NewRef(PyList_GET_ITEM(results, static_cast<Py_ssize_t>(i))), kResult));
            continue;
        }
        notify();  // the code of users comes next
        if (error == Py_None) {
            Py_DECREF(error);
            run_again(first + i, PyList_GET_ITEM(items, static_cast<Py_ssize_t>(i)));
        } else {
            fail(first + i, error);
        }
    }
}

void MapRun::place_all(std::uint64_t first, PyObject* results) {
    const auto count = static_cast<std::uint64_t>(PyList_GET_SIZE(results));
    for (std::uint64_t i = 0; i < count; ++i) {
        PyObject* result = Py_NewRef(PyList_GET_ITEM(results, static_cast<Py_ssize_t>(i)));
        slot(first + i).store(tagged(result, kResult), std::memory_order_release);
    }
    // Either `abandon` sees them, or they see it.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!abandoned_.load(std::memory_order_seq_cst)) return;
    for (std::uint64_t i = 0; i < count; ++i) {
        Py_XDECREF(object_in(slot(first + i).exchange(0, std::memory_order_acq_rel)));
    }
}

std::uint64_t MapRun::lasts_ns() const noexcept {
    if (batch_.load(std::memory_order_acquire) == nullptr || tasks_.empty()) return 0;
    const std::uint64_t cost = claims_.cost_ns();
    if (cost > ItemClaims::kLongestWholeRunNs / kFewItems) return 0;
    return cost * (added() - finished()) / tasks_.size();
}

// An item of a batch that is to be called here after all.
void MapRun::run_again(std::uint64_t index, PyObject* item) {
    if (is_stopping()) {
        settle(index, kCancelled);
        return;
    }
    slot(index).store(tagged(Py_NewRef(item), 0), std::memory_order_release);
    ContextScope scope(context_);
    if (scope.enter()) run_item(index);
    if (!scope.leave()) PyErr_WriteUnraisable(function_);
}

}  // namespace pyferris::python
