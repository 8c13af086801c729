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
    std::vector<std::uint64_t> indexes;
    const PyRef items = PyRef::steal(PyList_New(0));
    for (std::uint64_t item = claims_.next(lane); item != ItemClaims::kNone; item = claims_.next(lane)) {
        const PyRef argument = PyRef::steal(object_in(slot(item).exchange(0, std::memory_order_acq_rel)));
        indexes.push_back(item);
        if (items && PyList_Append(items.get(), argument.get()) != 0) PyErr_Clear();
    }
    const PyRef keep = PyRef::share(batch);
    FutureObject* outer = exchange_current_future(future_);
    const PyRef outcome = PyRef::steal(items ? PyObject_CallOneArg(batch, items.get()) : nullptr);
    settle_batch(indexes, items.get(), outcome.get());
    exchange_current_future(outer);
    WakeBatch* wakes = outer == nullptr ? current_worker_batch() : nullptr;
    if (wakes != nullptr) wakes->enter();
    count_finished(indexes.size());
    if (wakes != nullptr) wakes->leave();
    return !is_stopping() && claims_.has_more(lane);
}

// `outcome` is null with the error set that all of them have. Readers hear of results when the run is counted: told of
// one, they would only wait for the GIL meanwhile.
void MapRun::settle_batch(const std::vector<std::uint64_t>& indexes, PyObject* items, PyObject* outcome) {
    PyObject *results = nullptr, *failures = nullptr;
    unsigned long long took = 0;
    const auto count = static_cast<Py_ssize_t>(indexes.size());
    if (outcome != nullptr && PyArg_ParseTuple(outcome, "O!OK", &PyList_Type, &results, &failures, &took) != 0 &&
        PyList_GET_SIZE(results) != count) {
        PyErr_Format(PyExc_RuntimeError, "%zd results came back for %zd items", PyList_GET_SIZE(results), count);
    }
    if (PyErr_Occurred() != nullptr) {
        const bool cancelled = is_stopping() && (PyErr_ExceptionMatches(module_state().cf_cancelled_error) != 0 ||
                                                 PyErr_ExceptionMatches(module_state().call_cancelled) != 0);
        const PyRef error = PyRef::steal(take_raised());
        for (const std::uint64_t index : indexes) {
            if (cancelled) {
                settle(index, kCancelled);
            } else {
                fail(index, Py_NewRef(error.get()));
            }
        }
        return;
    }
    if (took != 0) claims_.measured(took, indexes.size());
    for (Py_ssize_t i = 0; i < count; ++i) {
        PyObject* error = nullptr;
        if (failures != Py_None) {
            const PyRef place = PyRef::steal(PyLong_FromSsize_t(i));
            error = place ? PyObject_GetItem(failures, place.get()) : nullptr;
            if (error == nullptr) PyErr_Clear();
        }
        const std::uint64_t index = indexes[static_cast<std::size_t>(i)];
        if (error == nullptr) {
            place(index, tagged(Py_NewRef(PyList_GET_ITEM(results, i)), kResult));
            continue;
        }
        notify();  // the code of users comes next
        if (error == Py_None) {
            Py_DECREF(error);
            run_again(index, PyList_GET_ITEM(items, i));
        } else {
            fail(index, error);
        }
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
