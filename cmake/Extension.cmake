# pyferris._native: the only part that knows Python.
set(PYBIND11_FINDPYTHON ON)
find_package(Python 3.11 REQUIRED COMPONENTS Interpreter Development.Module)
find_package(pybind11 3.0 CONFIG REQUIRED)

file(GLOB binding_sources CONFIGURE_DEPENDS native/bindings/*.cpp)
pybind11_add_module(_native MODULE NO_EXTRAS ${binding_sources})
target_include_directories(_native PRIVATE native/bindings)
target_link_libraries(_native PRIVATE pyferris_core)
# C API tables (PyMethodDef, PyMemberDef, PyGetSetDef) are filled in part on purpose, and an object's struct begins with
# PyObject_HEAD, which makes offsetof in it "conditionally supported": every compiler that builds CPython supports it.
pyferris_enable_warnings(_native -Wno-missing-field-initializers -Wno-invalid-offsetof)
# A component of its own: the install rules of fetched dependencies stay out of the wheel.
install(TARGETS _native DESTINATION pyferris COMPONENT python)
