#include "map_reader.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include "py_compat.hpp"

namespace pyferris::python {

MapRun* run_of(const MapObject* self) {
    if (self->run == nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "this map was not made by a pool: use SafeThreadPool.map");
    }
    return self->run.get();
}

bool show(MapObject* self, std::uint64_t count, bool all) {
    if (self->show == nullptr) return true;
    self->shown = now_ns();
    const PyRef function = all ? PyRef::steal(std::exchange(self->show, nullptr)) : PyRef::share(self->show);
    const PyRef shown = PyRef::steal(PyObject_CallFunction(function.get(), "KO", count, all ? Py_True : Py_False));
    return static_cast<bool>(shown);
}

void close_map(MapObject* self) {
    if (self->closed) return;
    self->closed = true;
    const SavedError saved;
    const PyRef source = PyRef::steal(std::exchange(self->source, nullptr));
    self->run->stop(true);
    self->run->finish_input();
    if (!show(self, self->run->finished(), true)) PyErr_WriteUnraisable(reinterpret_cast<PyObject*>(self));
}

bool fill(MapObject* self) {
    if (self->source == nullptr || self->filling) return true;
    MapRun& run = *self->run;
    // Whole steps only, so that runs of an exact size stay whole.
    if (run.added() != 0 && !run.has_room(self->given, self->step)) return true;
    self->filling = true;
    std::uint64_t taken = 0;
    const PyRef source = PyRef::share(self->source);
    bool ended = false;
    while (!ended && run.has_room(self->given, 1)) {
        PyObject* item = PyIter_Next(source.get());
        if (item != nullptr && !self->closed) {
            run.put(item);
            ++taken;
            continue;
        }
        Py_XDECREF(item);
        ended = true;
        if (PyErr_Occurred() != nullptr) Py_XSETREF(self->input_error, take_raised());
    }
    self->filling = false;
    if (ended) Py_CLEAR(self->source);
    if (taken != 0 && !run.launch()) {
        if (run.added() == taken) return false;  // nothing of it has begun
        PyErr_Clear();                           // comes in the place of what cannot run
        ended = true;
        Py_CLEAR(self->source);
    }
    if (ended) run.finish_input();
    return true;
}

namespace {

constexpr std::uint64_t kNapNs = 2 * ItemClaims::kLongestWholeRunNs;

// As long as two runs, while plenty is left. Told of each run, a reader would take 5 % of two cores.
void nap_while_plenty(const MapRun& run, Deadline deadline) {
    if (run.lasts_ns() < kNapNs) return;
    const std::uint64_t now = now_ns();
    if (now >= deadline) return;
    PyThreadState* state = PyEval_SaveThread();
    std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(kNapNs, deadline - now)));
    PyEval_RestoreThread(state);
}

}  // namespace

bool wait(MapObject* self, std::uint64_t index) {
    const std::shared_ptr<MapRun> run = self->run;
    if (run->is_worker()) run->help(index);
    if (run->is_ready(index) || run->is_over()) return true;
    if (current_future() == run->future()) {
        PyErr_SetString(PyExc_RuntimeError, "a map cannot be read inside one of its own calls: it would wait for ever");
        return false;
    }
    if (is_on_own_loop(run->future())) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the coroutines of this map run on the event loop of this very thread and would wait for ever: "
                        "await the map, or read it by async for");
        return false;
    }
    if (self->source == nullptr && index != MapRun::kAll && !run->is_worker()) {
        nap_while_plenty(*run, self->deadline);
        if (PyErr_CheckSignals() != 0) return false;
        if (run->is_ready(index)) return true;
    }
    const PyRef promise = PyRef::steal(run->promise(index));
    if (!promise) return false;
    for (;;) {
        const std::uint64_t now = now_ns();
        Deadline until = self->deadline;
        if (self->show != nullptr) until = std::min(until, now + kShowEveryNs);
        const int done = wait_final(as_future(promise.get()), until);
        if (done > 0) return true;
        if (done == 0 && now_ns() < self->deadline) {
            if (show(self, run->finished(), false)) continue;
        } else if (done == 0) {
            PyErr_Format(module_state().timeout_error, "the map's time is over: %llu of %llu items have finished",
                         static_cast<unsigned long long>(run->finished()),
                         static_cast<unsigned long long>(run->added()));
        }
        run->forget(promise.get());
        return false;
    }
}

}  // namespace pyferris::python
