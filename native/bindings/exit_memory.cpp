#include "exit_memory.hpp"

#include "py_ref.hpp"

namespace pyferris::python {

// Below 3.13 the names of a C function's keywords are kept, for all interpreters, in a tuple of the first one that
// calls it by keyword. The main interpreter frees these tuples when it ends, after all Python code, with an allocator
// that does not know the memory of others, and aborts.
#if PY_VERSION_HEX >= 0x030C0000 && PY_VERSION_HEX < 0x030D0000

namespace {

constexpr PyMemAllocatorDomain kDomains[] = {PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ};
PyMemAllocatorEx allocators[2];  // what was there before; the main interpreter's thread, at its end

void keep(void* /*context*/, void* /*memory*/) {}

void restore() {
    for (int each = 0; each < 2; ++each) PyMem_SetAllocator(kDomains[each], &allocators[each]);
}

// When the interpreter's dict is cleared: user code has run, what is global to the process is still there.
void begin_to_keep(PyObject* /*capsule*/) {
    for (int each = 0; each < 2; ++each) {
        PyMem_GetAllocator(kDomains[each], &allocators[each]);
        PyMemAllocatorEx keeping = allocators[each];
        keeping.free = keep;
        PyMem_SetAllocator(kDomains[each], &keeping);
    }
    Py_AtExit(restore);  // for a program that begins Python again
}

}  // namespace

bool keep_memory_at_exit() {
    static const char name[] = "pyferris exit memory";
    PyObject* dict = PyInterpreterState_GetDict(PyInterpreterState_Get());
    if (dict == nullptr || PyDict_GetItemString(dict, name) != nullptr) return true;
    static char anything;
    const PyRef capsule = PyRef::steal(PyCapsule_New(&anything, name, begin_to_keep));
    return capsule && PyDict_SetItemString(dict, name, capsule.get()) == 0;
}

#else

bool keep_memory_at_exit() { return true; }

#endif

}  // namespace pyferris::python
