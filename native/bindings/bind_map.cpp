// MapCore: what reads a map, base of the public MapResult.
#include "context_scope.hpp"
#include "map_reader.hpp"
#include "py_args.hpp"
#include "py_compat.hpp"
#include "structmember.h"
#include "type_support.hpp"

namespace pyferris::python {

namespace {

int traverse(PyObject* object, visitproc visit, void* arg) {
    const MapObject* self = as_map(object);
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->source);
    Py_VISIT(self->input_error);
    Py_VISIT(self->show);
    return self->run != nullptr ? self->run->traverse(visit, arg) : 0;
}

// The reader is gone.
void let_go(MapObject* self) {
    if (self->run == nullptr) return;
    const std::shared_ptr<MapRun> run = std::exchange(self->run, nullptr);
    if (self->given != 0 && !self->read_out) run->stop(true);  // a loop was left
    run->abandon(self->given == run->added());
}

int clear(PyObject* object) {
    MapObject* self = as_map(object);
    let_go(self);
    Py_CLEAR(self->source);
    Py_CLEAR(self->input_error);
    Py_CLEAR(self->show);
    return 0;
}

// Before the collector takes anything of a cycle apart; a loop that was left has no failure to report.
void finalize(PyObject* object) {
    const MapObject* self = as_map(object);
    if (self->run == nullptr || (self->given != 0 && !self->read_out) || !self->run->is_over()) return;
    self->run->report_unseen();
}

void dealloc(PyObject* object) {
    PyTypeObject* type = Py_TYPE(object);
    if (type->tp_dealloc == dealloc && PyObject_CallFinalizerFromDealloc(object) != 0) return;
    PyObject_GC_UnTrack(object);
    {
        const SavedError saved;
        clear(object);
    }
    as_map(object)->run.~shared_ptr();
    type->tp_free(object);
    Py_DECREF(type);
}

PyObject* make(PyTypeObject* type, PyObject* /*args*/, PyObject* /*kwargs*/) {
    MapObject* self = as_map(type->tp_alloc(type, 0));
    if (self != nullptr) new (&self->run) std::shared_ptr<MapRun>();
    return reinterpret_cast<PyObject*>(self);
}

PyObject* iterate(PyObject* object) {
    if (!as_map(object)->read_out) return Py_NewRef(object);
    PyErr_SetString(PyExc_RuntimeError, "this map was read to its end already; keep a list of it to read it again");
    return nullptr;
}

// The end was reached: null, with the error of the input or of the progress line, if there is one.
PyObject* finish_reading(MapObject* self) {
    self->read_out = true;
    if (!self->closed && !show(self, self->run->finished(), true)) return nullptr;
    PyObject* error = std::exchange(self->input_error, nullptr);
    if (error != nullptr) raise_taken(error);
    return nullptr;
}

PyObject* take(MapObject* self) {
    const std::uint64_t index = self->given++;
    PyObject* result = self->run->outcome(index, true);
    if (result == nullptr) close_map(self);
    return result;
}

PyObject* next(PyObject* object) {
    MapObject* self = as_map(object);
    MapRun* const run = run_of(self);
    if (run == nullptr) return nullptr;
    for (;;) {
        if (self->closed) return finish_reading(self);
        if (self->source != nullptr && !fill(self)) return nullptr;
        if (self->show != nullptr && now_ns() - self->shown > kShowEveryNs && !show(self, run->finished(), false)) {
            return nullptr;
        }
        const std::uint64_t index = self->given;
        PyObject* result = nullptr;
        bool taken = false;
        PYFERRIS_BEGIN_CRITICAL_SECTION(object);
        if (index == self->given && index < run->added() && run->is_ready(index)) {
            taken = true;
            result = take(self);
        }
        PYFERRIS_END_CRITICAL_SECTION();
        if (taken) return result;
        if (index != self->given) continue;
        if (index >= run->added()) {
            if (self->source != nullptr) continue;
            return finish_reading(self);
        }
        if (run->is_over()) {
            if (run->is_ready(index)) continue;
            run->raise_unsettled();
        } else if (wait(self, index)) {
            continue;
        }
        if (current_future() != run->future()) close_map(self);  // not for an item that reads its own map
        return nullptr;
    }
}

// `_results(take=False)`: the list of all; the first failure in time is raised at once. `take`: they are consumed.
PyObject* results(PyObject* object, PyObject* args) {
    MapObject* self = as_map(object);
    MapRun* const run = run_of(self);
    int take = 0;
    if (run == nullptr || PyArg_ParseTuple(args, "|p", &take) == 0) return nullptr;
    run->fail_fast();
    while (!run->is_ready(MapRun::kAll) && !run->is_over()) {
        if (wait(self, MapRun::kAll)) continue;
        // A signal handler's error ends the waiting only, which can be begun again.
        if (now_ns() >= self->deadline) close_map(self);
        return nullptr;
    }
    if (run->raise_first_failure()) {
        close_map(self);
        return nullptr;
    }
    if (run->finished() != run->added()) {
        run->raise_unsettled();
        close_map(self);
        return nullptr;
    }
    std::uint64_t taken = 0;
    PyRef list = PyRef::steal(run->outcomes(take != 0, &taken));
    if (taken != 0) self->given = taken;
    if (!list) return nullptr;
    if (!show(self, run->finished(), true)) return nullptr;
    return list.release();
}

// Whether the map has an item of this number that is not consumed. False with an error set.
bool is_there(const MapObject& self, const MapRun& run, std::uint64_t index) {
    if (index >= self.given && index < run.added()) return true;
    PyErr_SetString(PyExc_IndexError, "map index out of range");
    return false;
}

// `_result(index)`: of one item, which is not consumed.
PyObject* result(PyObject* object, PyObject* number) {
    MapObject* self = as_map(object);
    const std::uint64_t index = PyLong_AsUnsignedLongLong(number);
    if (index == static_cast<std::uint64_t>(-1) && PyErr_Occurred() != nullptr) return nullptr;
    MapRun* const run = run_of(self);
    if (run == nullptr) return nullptr;
    if (!is_there(*self, *run, index)) return nullptr;
    while (!run->is_ready(index)) {
        if (run->is_over() && !run->is_ready(index)) {
            if (!run->raise_first_failure()) run->raise_unsettled();
            return nullptr;
        }
        if (!wait(self, index)) return nullptr;
    }
    if (!is_there(*self, *run, index)) return nullptr;  // another reader has taken it
    return run->outcome(index, false);
}

// `_has_run(index)`: whether the item gave a result or an error of its own. Of a map that is over, all of it unread.
PyObject* has_run(PyObject* object, PyObject* number) {
    const std::uint64_t index = PyLong_AsUnsignedLongLong(number);
    if (index == static_cast<std::uint64_t>(-1) && PyErr_Occurred() != nullptr) return nullptr;
    MapRun* const run = run_of(as_map(object));
    if (run == nullptr) return nullptr;
    return PyBool_FromLong(index < run->added() && run->has_run(index) ? 1 : 0);
}

// `_promise(all)`: a future that is done when the next item, or everything, is there to be read without waiting; None
// if it is.
PyObject* promise(PyObject* object, PyObject* all) {
    MapObject* self = as_map(object);
    const int everything = PyObject_IsTrue(all);
    if (everything < 0) return nullptr;
    MapRun* const run = run_of(self);
    if (run == nullptr) return nullptr;
    if (everything != 0) {
        run->fail_fast();
    } else if (!self->closed && !fill(self)) {
        return nullptr;
    }
    const std::uint64_t index = everything != 0 ? MapRun::kAll : self->given;
    if (self->closed || run->is_over() || (everything == 0 && index >= run->added())) Py_RETURN_NONE;
    if (run->is_worker()) run->help(index);
    if (run->is_ready(index)) Py_RETURN_NONE;
    return run->promise(index);
}

PyObject* forget(PyObject* object, PyObject* promise) {
    MapRun* const run = run_of(as_map(object));
    if (run == nullptr) return nullptr;
    run->forget(promise);
    Py_RETURN_NONE;
}

// `_set_loop(thread)`: what the map calls are coroutine functions, whose event loop that thread runs.
PyObject* set_loop(PyObject* object, PyObject* thread) {
    MapRun* const run = run_of(as_map(object));
    const unsigned long ident = PyLong_AsUnsignedLong(thread);
    if (run == nullptr || PyErr_Occurred() != nullptr) return nullptr;
    observers_of(run->future())->loop_thread.store(ident, std::memory_order_relaxed);
    Py_RETURN_NONE;
}

PyObject* close(PyObject* object, PyObject* /*unused*/) {
    if (as_map(object)->run != nullptr) close_map(as_map(object));
    Py_RETURN_NONE;
}

// `_stop()`: ends the map; its reader finds it cancelled. Any thread.
PyObject* stop_method(PyObject* object, PyObject* /*unused*/) {
    MapRun* const run = run_of(as_map(object));
    if (run == nullptr) return nullptr;
    run->stop(true);
    Py_RETURN_NONE;
}

PyObject* show_method(PyObject* object, PyObject* /*unused*/) {
    MapObject* self = as_map(object);
    if (self->run != nullptr && !show(self, self->run->finished(), false)) return nullptr;
    Py_RETURN_NONE;
}

PyObject* get_left(PyObject* object, void* /*unused*/) {
    const MapObject* self = as_map(object);
    if (self->deadline == kNoDeadline) Py_RETURN_NONE;
    const std::uint64_t now = now_ns();
    return PyFloat_FromDouble(now >= self->deadline ? 0.0 : static_cast<double>(self->deadline - now) / 1e9);
}

template <std::uint64_t (MapRun::*Count)() const noexcept>
PyObject* get_count(PyObject* object, void* /*unused*/) {
    const auto& run = as_map(object)->run;
    return PyLong_FromUnsignedLongLong(run == nullptr ? 0 : (run.get()->*Count)());
}

PyMethodDef methods[] = {
    {"_start", map_start, METH_VARARGS, nullptr},
    {"_results", results, METH_VARARGS, nullptr},
    {"_result", result, METH_O, nullptr},
    {"_has_run", has_run, METH_O, nullptr},
    {"_stop", stop_method, METH_NOARGS, nullptr},
    {"_promise", promise, METH_O, nullptr},
    {"_forget", forget, METH_O, nullptr},
    {"_show", show_method, METH_NOARGS, nullptr},
    {"_set_loop", set_loop, METH_O, nullptr},
    {"_widen", map_widen, METH_O, nullptr},
    {"_run_by", map_run_by, METH_O, nullptr},
    {"_own_items", map_own_items, METH_NOARGS, nullptr},
    {"_samples", map_samples, METH_NOARGS, nullptr},
    {"_watch", map_watch, METH_VARARGS, nullptr},
    {"close", close, METH_NOARGS,
     "close($self, /)\n--\n\nCancel the items that have not run and ask the running calls to stop.\n\n"
     "Again does nothing. What is iterated over after that is empty. Any thread."},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef properties[] = {
    {"_left", get_left, nullptr, nullptr, nullptr},
    {"_added", get_count<&MapRun::added>, nullptr, nullptr, nullptr},
    {"_runs", get_count<&MapRun::runs>, nullptr, nullptr, nullptr},
    {"_lanes", get_count<&MapRun::lanes>, nullptr, nullptr, nullptr},
    {"_finished", get_count<&MapRun::finished>, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyMemberDef members[] = {
    {"_given", T_ULONGLONG, offsetof(MapObject, given), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_new, as_slot(make)},
    {Py_tp_finalize, as_slot(finalize)},
    {Py_tp_dealloc, as_slot(dealloc)},
    {Py_tp_traverse, as_slot(traverse)},
    {Py_tp_clear, as_slot(clear)},
    {Py_tp_iter, as_slot(iterate)},
    {Py_tp_iternext, as_slot(next)},
    {Py_tp_methods, static_cast<void*>(methods)},
    {Py_tp_getset, static_cast<void*>(properties)},
    {Py_tp_members, static_cast<void*>(members)},
    {Py_tp_doc, const_cast<char*>("The native part of MapResult.")},
    {0, nullptr},
};

PyType_Spec spec = {"pyferris._native.MapCore", sizeof(MapObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

}  // namespace

bool register_map(PyObject* module) { return add_type(module, &spec) != nullptr && register_map_lanes(module); }

}  // namespace pyferris::python
