// How a map begins: where its items come from.
#include <new>

#include "context_scope.hpp"
#include "map_reader.hpp"
#include "py_args.hpp"
#include "py_compat.hpp"

namespace pyferris::python {

namespace {

// A list or tuple of the items: theirs, where no other thread can come between and change it.
PyObject* as_sequence(PyObject* items) {
    if (kOneIsAttached && (PyList_CheckExact(items) || PyTuple_CheckExact(items))) return Py_NewRef(items);
    return PySequence_List(items);
}

struct Range {
    long long start = 0;
    long long step = 0;
    std::uint64_t count = 0;
};

// A range whose members can be counted out by a thread that does not have it. False for anything else.
bool read_range(PyObject* items, Range* range) {
    constexpr long long kMost = 1LL << 62;
    if (!PyRange_Check(items)) return false;
    long long bounds[3] = {};
    const char* const names[3] = {"start", "stop", "step"};
    for (int i = 0; i < 3; ++i) {
        const PyRef bound = PyRef::steal(PyObject_GetAttrString(items, names[i]));
        bounds[i] = bound ? PyLong_AsLongLong(bound.get()) : -1;
        if (PyErr_Occurred() != nullptr || bounds[i] > kMost || bounds[i] < -kMost) {
            PyErr_Clear();
            return false;
        }
    }
    *range = {bounds[0], bounds[2], static_cast<std::uint64_t>(PyObject_Size(items))};
    return true;
}

std::shared_ptr<MapRun> make_run(PoolObject* pool, PyObject* function, PyRef context, PyRef future,
                                 const MapOptions& options) {
    try {
        return std::make_shared<MapRun>(pool, Py_NewRef(function), context.release(), as_future(future.release()),
                                        options);
    } catch (const std::bad_alloc&) {  // what was released is lost, as most is where there is no memory
        PyErr_NoMemory();
        return nullptr;
    }
}

}  // namespace

// `_start(pool, function, items, single, chunksize, capacity, timeout, return_exceptions, fail_fast, show, batch,
// lanes=0, since=-1)`: `since` of a list or tuple: its items from there on, which are read as they run.
PyObject* map_start(PyObject* object, PyObject* args) {
    MapObject* self = as_map(object);
    PyObject *pool = nullptr, *function = nullptr, *items = nullptr, *timeout = nullptr, *watcher = nullptr;
    int single = 0, return_exceptions = 0, fail_fast = 0, batch = 0;
    unsigned long long chunksize = 0, capacity = 0, lanes = 0;
    long long since = -1;
    if (PyArg_ParseTuple(args, "OOOpKKOppOp|KL", &pool, &function, &items, &single, &chunksize, &capacity, &timeout,
                         &return_exceptions, &fail_fast, &watcher, &batch, &lanes, &since) == 0) {
        return nullptr;
    }
    if (self->run != nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "this map was started already");
        return nullptr;
    }
    if (PyObject_TypeCheck(pool, module_state().pool_core) == 0) {
        return PyErr_Format(PyExc_TypeError, "a map runs in a SafeThreadPool, not in %R", pool);
    }
    auto* core = reinterpret_cast<PoolObject*>(pool);
    if (core->shared == nullptr) {
        raise_not_made();
        return nullptr;
    }
    if (core->shared->closed.load(std::memory_order_acquire)) {
        return refuse_submit(*core->shared, ThreadPool::SubmitResult::closed);
    }
    if (!parse_timeout(timeout, "timeout", &self->deadline)) return nullptr;
    PyObject* context = nullptr;
    if (!capture_context(&context)) return nullptr;
    PyRef kept = PyRef::steal(context);
    FutureObject* future = new_future();
    if (future == nullptr) return nullptr;
    PyRef claimed = PyRef::steal(as_object(future));
    // Without a bound all items are taken at once. From here to the last `put` no code of Python's runs that could
    // change a list: nothing is allocated that the collector knows.
    Range range;
    const bool lists = capacity == 0 && !(single != 0 && read_range(items, &range));
    const PyRef list = PyRef::steal(lists ? as_sequence(items) : Py_NewRef(Py_None));
    if (!list) return nullptr;
    const PyRef source = PyRef::steal(capacity == 0 ? nullptr : PyObject_GetIter(items));
    if (capacity != 0 && !source) return nullptr;
    const std::uint64_t first = since < 0 ? 0 : static_cast<std::uint64_t>(since);
    if (lists) {
        const auto size = static_cast<std::uint64_t>(PySequence_Fast_GET_SIZE(list.get()));
        range.count = size - std::min(size, first);
    }
    if (!source) capacity = range.count;
    if (capacity > ItemClaims::kMostItems) {
        return PyErr_Format(PyExc_OverflowError, "a map holds %llu items at most, not %llu; give a smaller buffersize",
                            static_cast<unsigned long long>(ItemClaims::kMostItems), capacity);
    }
    future->state.mark_as_call();
    future->state.claim();
    MapOptions options;
    options.single = single != 0;
    options.return_exceptions = return_exceptions != 0;
    options.fail_fast = fail_fast != 0;
    options.batch = batch != 0;
    options.chunksize = static_cast<std::uint32_t>(std::min<unsigned long long>(chunksize, ItemClaims::kMostItems));
    options.capacity = capacity;
    options.lanes = lanes;
    std::shared_ptr<MapRun> run = make_run(core, function, std::move(kept), std::move(claimed), options);
    if (run == nullptr) return nullptr;
    {
        const std::lock_guard lock(core->shared->mutex);
        core->shared->maps.push_back(run);
    }
    self->step = std::max<std::uint64_t>(1, chunksize);
    self->shown = now_ns();
    if (watcher != Py_None) self->show = Py_NewRef(watcher);
    self->run = std::move(run);
    if (source) {
        self->source = Py_NewRef(source.get());
        if (fill(self)) Py_RETURN_NONE;
        return nullptr;
    }
    if (lists && since >= 0) {
        self->run->put_source(list.get(), first, range.count);
    } else if (lists) {
        self->run->put_all(PySequence_Fast_ITEMS(list.get()), range.count);
    } else {
        self->run->put_range(range.start, range.step, range.count);
    }
    if (range.count != 0 && !self->run->launch()) return nullptr;
    self->run->finish_input();
    Py_RETURN_NONE;
}

}  // namespace pyferris::python
