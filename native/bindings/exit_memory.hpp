// What lets a process end where CPython 3.12 would abort because interpreters of their own GIL have run in it.
#pragma once

#include <Python.h>

namespace pyferris::python {

/// From the clearing of the main interpreter on, the memory of objects is left to the end of the process. Before the
/// first interpreter is made; attached to the main one. False with an error set.
bool keep_memory_at_exit();

}  // namespace pyferris::python
