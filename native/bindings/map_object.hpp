// MapCore's object: what reads a map.
#pragma once

#include "map_run.hpp"

namespace pyferris::python {

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

/// The map behind `self`; null with an error set where there is none.
inline std::shared_ptr<MapRun> run_of(const MapObject* self) {
    if (self->run == nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "this map was not made by a pool: use SafeThreadPool.map");
    }
    return self->run;
}

// What `isolation="auto"` steers a map by, see bind_map_lanes.cpp.
PyObject* map_widen(PyObject* self, PyObject* lanes);
PyObject* map_run_by(PyObject* self, PyObject* batch);
PyObject* map_samples(PyObject* self, PyObject* unused);

/// False with an error set.
bool register_map_lanes(PyObject* module);

}  // namespace pyferris::python
