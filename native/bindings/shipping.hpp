// Which bytes stand for a function, and whether they still do.
//
// `pyferris._shipping.ship(function)` gives the bytes and a list of checks: what the function reached when it was
// shipped, each one compared by identity. Only where all of that is immutable is the list not None, and only then may
// the bytes be used again without a new look. Equal bytes are one shipment, so that a worker decodes them once.
//
// All of this belongs to the main interpreter. Attached.
#pragma once

#include <memory>

#include "isolated_call.hpp"

namespace pyferris::python {

/// The current shipment of `function`. Null with an error set: a TypeError where it cannot be shipped.
std::shared_ptr<const Shipment> ship(PyObject* function);

}  // namespace pyferris::python
