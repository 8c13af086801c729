// The reader of a map: the object behind MapResult, and how it takes items from their source and waits for results.
//
// One reader at a time: its own fields are guarded by the GIL, or by a critical section where there is none. With a
// bounded buffer the reader also takes the items from their source, as it goes.
//
// Who waits is told at the end of the run that has settled its item. Where runs are done elsewhere (isolated workers)
// and many are left, it looks for itself every few milliseconds instead: each time it is told it takes a core from
// those who compute.
#pragma once

#include "map_run.hpp"

namespace pyferris::python {

constexpr std::uint64_t kShowEveryNs = 100'000'000;  // between two looks at the progress

struct MapObject {
    PyObject_HEAD
    std::shared_ptr<MapRun> run;
    PyObject* source;       // iterator over the items that were not taken yet; null: all were
    PyObject* input_error;  // what `source` raised: comes after the items before it
    PyObject* show;         // called with (items finished, is that all); null: nobody watches
    std::uint64_t given;    // items that were let go of
    std::uint64_t step;     // items to take from the source at a time
    std::uint64_t shown;    // ns: the last look at the progress
    Deadline deadline;
    bool closed;
    bool read_out;  // the end was reached
    bool filling;   // somebody takes items from the source just now
};

inline MapObject* as_map(PyObject* object) { return reinterpret_cast<MapObject*>(object); }

// All of these: attached, the reader's thread.

/// The map behind `self`, there as long as `self` is; null with an error set where there is none.
MapRun* run_of(const MapObject* self);
/// Shows the progress, for the last time where `all`. False with an error set.
bool show(MapObject* self, std::uint64_t count, bool all);
/// What has not run is cancelled; nothing more is read.
void close_map(MapObject* self);
/// Takes items from the source as far as there is room. False with an error set.
bool fill(MapObject* self);
/// Waits until `index` is ready or the map is over. False with an error set.
bool wait(MapObject* self, std::uint64_t index);

// See map_start.cpp.
PyObject* map_start(PyObject* self, PyObject* args);

// What `isolation="auto"` steers a map by, see bind_map_lanes.cpp.
PyObject* map_widen(PyObject* self, PyObject* lanes);
PyObject* map_run_by(PyObject* self, PyObject* batch);
PyObject* map_own_items(PyObject* self, PyObject* unused);
PyObject* map_samples(PyObject* self, PyObject* unused);
PyObject* map_watch(PyObject* self, PyObject* args);

}  // namespace pyferris::python
