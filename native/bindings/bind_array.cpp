// SafeArray: the Python type over array_storage.hpp.
#include "array_storage.hpp"
#include "module_state.hpp"
#include "structmember.h"
#include "type_support.hpp"

namespace pyferris::python {

namespace {

struct ArrayObject {
    PyObject_HEAD
    std::shared_ptr<ArrayStorage> storage;
    Py_ssize_t shape;  // for buffers: the length and the distance of the elements in bytes; set once
    Py_ssize_t stride;
    PyObject* weakrefs;
};

ArrayObject* as_array(PyObject* object) { return reinterpret_cast<ArrayObject*>(object); }
ArrayStorage& storage_of(PyObject* object) { return *as_array(object)->storage; }
Py_ssize_t length(PyObject* object) { return static_cast<Py_ssize_t>(storage_of(object).size()); }

int traverse(PyObject* object, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(object));
    ObjectSlots* slots = storage_of(object).objects();
    if (slots == nullptr || slots->is_encoded()) return 0;
    for (const Cell element : slots->unlocked()) Py_VISIT(element.object());
    return 0;
}

int clear(PyObject* object) {
    if (ObjectSlots* slots = storage_of(object).objects()) slots->clear();
    return 0;
}

void dealloc(PyObject* object) {
    PyTypeObject* type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    Py_TRASHCAN_BEGIN(object, dealloc)  // arrays in arrays in arrays: bounds the depth of the stack
        if (as_array(object)->weakrefs != nullptr) PyObject_ClearWeakRefs(object);
    clear(object);
    as_array(object)->storage.~shared_ptr();
    type->tp_free(object);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

PyObject* make_on(PyTypeObject* type, std::shared_ptr<ArrayStorage> storage) {
    PyObject* object = type->tp_alloc(type, 0);
    if (object == nullptr) {
        if (ObjectSlots* slots = storage->objects()) slots->clear();
        return nullptr;
    }
    ArrayObject* self = as_array(object);
    new (&self->storage) std::shared_ptr<ArrayStorage>(std::move(storage));
    self->shape = length(object);
    self->stride = sizeof(std::int64_t);
    return object;
}

// The length is fixed, so everything happens here and nothing in `__init__`.
PyObject* make(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    static const char* names[] = {"initial", "dtype", nullptr};
    PyObject* initial = Py_None;
    PyObject* dtype = Py_None;
    if (PyArg_ParseTupleAndKeywords(args, kwargs, "|O$O:SafeArray", const_cast<char**>(names), &initial, &dtype) == 0) {
        return nullptr;
    }
    const PyRef nothing = PyRef::steal(initial == Py_None ? PyTuple_New(0) : nullptr);
    if (initial == Py_None && !nothing) return nullptr;
    std::shared_ptr<ArrayStorage> storage;
    try {
        storage = std::make_shared<ArrayStorage>();
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
    if (!storage->fill(nothing ? nothing.get() : initial, dtype)) return nullptr;
    return make_on(type, std::move(storage));
}

bool raise_out_of_range(PyObject* object, PyObject* index) {
    const PyRef text = describe(index);
    if (text) {
        PyErr_Format(PyExc_IndexError, "index %U is out of range for a SafeArray of length %zd", text.get(),
                     length(object));
    }
    return false;
}

// Reads an index, negative ones from the end; false with an error set.
bool read_index(PyObject* object, PyObject* index, std::size_t* position) {
    if (PyIndex_Check(index) == 0) {
        const PyRef text = describe(index);
        if (text) {
            PyErr_Format(PyExc_TypeError, "indices of a SafeArray are ints, or slices in brackets, not %.200s: %U",
                         Py_TYPE(index)->tp_name, text.get());
        }
        return false;
    }
    Py_ssize_t at = PyNumber_AsSsize_t(index, nullptr);  // saturates: out of range all the same
    if (at == -1 && PyErr_Occurred() != nullptr) return false;
    const Py_ssize_t size = length(object);
    if (at < 0) at += size;
    if (at < 0 || at >= size) return raise_out_of_range(object, index);
    *position = static_cast<std::size_t>(at);
    return true;
}

bool read_slice(PyObject* object, PyObject* slice, ElementRange* range) {
    Py_ssize_t stop = 0;
    if (PySlice_Unpack(slice, &range->start, &stop, &range->step) != 0) return false;
    range->count = PySlice_AdjustIndices(length(object), &range->start, &stop, range->step);
    return true;
}

ElementRange all_of(PyObject* object) { return ElementRange{0, 1, length(object)}; }

PyObject* subscript(PyObject* object, PyObject* index) {
    if (PySlice_Check(index)) {
        ElementRange range{};
        return read_slice(object, index, &range) ? storage_of(object).to_list(range).release() : nullptr;
    }
    std::size_t position = 0;
    return read_index(object, index, &position) ? storage_of(object).get(position).release() : nullptr;
}

// For those who take it for a sequence (`reversed`, numpy); `index` was made positive already.
PyObject* item(PyObject* object, Py_ssize_t index) {
    if (index >= 0 && index < length(object)) return storage_of(object).get(static_cast<std::size_t>(index)).release();
    PyErr_Format(PyExc_IndexError, "index %zd is out of range for a SafeArray of length %zd", index, length(object));
    return nullptr;
}

int assign_slice(PyObject* object, PyObject* slice, PyObject* values) {
    ElementRange range{};
    if (!read_slice(object, slice, &range)) return -1;
    const PyRef list = PyRef::steal(PySequence_List(values));  // our own: nobody changes it meanwhile
    if (!list) return -1;
    if (PyList_GET_SIZE(list.get()) != range.count) {
        PyErr_Format(PyExc_ValueError,
                     "cannot store %zd values in a slice of %zd elements: the length of a SafeArray is fixed",
                     PyList_GET_SIZE(list.get()), range.count);
        return -1;
    }
    return storage_of(object).set_range(range, list.get()) ? 0 : -1;
}

int assign_subscript(PyObject* object, PyObject* index, PyObject* value) {
    if (value == nullptr) {
        PyErr_SetString(PyExc_TypeError, "the elements of a SafeArray cannot be deleted: its length is fixed");
        return -1;
    }
    if (PySlice_Check(index)) return assign_slice(object, index, value);
    std::size_t position = 0;
    return read_index(object, index, &position) && storage_of(object).set(position, value) ? 0 : -1;
}

PyObject* get(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static constexpr Parameters<1> kParameters{"get", {"i"}, 1};
    std::array<PyObject*, 1> given;
    std::size_t position = 0;
    if (!kParameters.read(args, count, keywords, &given) || !read_index(object, given[0], &position)) return nullptr;
    return storage_of(object).get(position).release();
}

PyObject* set(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static constexpr Parameters<2> kParameters{"set", {"i", "value"}, 2};
    std::array<PyObject*, 2> given;
    std::size_t position = 0;
    if (!kParameters.read(args, count, keywords, &given) || !read_index(object, given[0], &position)) return nullptr;
    if (!storage_of(object).set(position, given[1])) return nullptr;
    Py_RETURN_NONE;
}

PyObject* add(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static constexpr Parameters<2> kParameters{"add", {"i", "n"}, 2};
    std::array<PyObject*, 2> given;
    std::size_t position = 0;
    if (!kParameters.read(args, count, keywords, &given) || !read_index(object, given[0], &position)) return nullptr;
    return storage_of(object).add(position, given[1]).release();
}

PyObject* compare_exchange(PyObject* object, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    static constexpr Parameters<3> kParameters{"compare_exchange", {"i", "expected", "new"}, 3};
    std::array<PyObject*, 3> given;
    std::size_t position = 0;
    if (!kParameters.read(args, count, keywords, &given) || !read_index(object, given[0], &position)) return nullptr;
    const int stored = storage_of(object).compare_exchange(position, given[1], given[2]);
    return stored < 0 ? nullptr : PyBool_FromLong(stored);
}

PyObject* len(PyObject* object, PyObject* /*unused*/) { return PyLong_FromSsize_t(length(object)); }

PyObject* to_list(PyObject* object, PyObject* /*unused*/) {
    return storage_of(object).to_list(all_of(object)).release();
}

PyObject* dtype(PyObject* object, void* /*closure*/) {
    return PyUnicode_FromString(name_of(storage_of(object).type()));
}

PyObject* iterate(PyObject* object) {
    const PyRef list = storage_of(object).to_list(all_of(object));
    return list ? PyObject_GetIter(list.get()) : nullptr;
}

PyObject* repr(PyObject* object) {
    const char* name = short_name(Py_TYPE(object));
    const Visit visit(storage_of(object), Visit::Purpose::show);
    if (visit.is_nested()) return PyUnicode_FromFormat("%s([...])", name);
    const PyRef list = storage_of(object).to_list(all_of(object));
    if (!list) return nullptr;
    return PyUnicode_FromFormat("%s(%R, dtype='%s')", name, list.get(), name_of(storage_of(object).type()));
}

PyObject* reduce(PyObject* self, PyObject* /*unused*/) { return reduce_to_handle(self, as_array(self)->storage); }

// The memory lives as long as the array, and the view holds the array: nothing to do when a view goes.
int get_buffer(PyObject* object, Py_buffer* view, int flags) {
    ArrayObject* self = as_array(object);
    view->obj = nullptr;
    view->buf = self->storage->memory();
    if (view->buf == nullptr) {
        PyErr_SetString(PyExc_BufferError,
                        "a SafeArray of objects has no buffer (dtype 'int64' and 'float64' have): use to_list()");
        return -1;
    }
    static char int64_format[] = "q";
    static char float64_format[] = "d";
    char* format = self->storage->type() == ElementType::int64 ? int64_format : float64_format;
    view->obj = Py_NewRef(object);
    view->len = self->shape * self->stride;
    view->itemsize = self->stride;
    view->readonly = 0;
    view->ndim = 1;
    view->format = (flags & PyBUF_FORMAT) == PyBUF_FORMAT ? format : nullptr;
    view->shape = (flags & PyBUF_ND) == PyBUF_ND ? &self->shape : nullptr;
    view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? &self->stride : nullptr;
    view->suboffsets = nullptr;
    view->internal = nullptr;
    return 0;
}

constexpr const char* kDoc =
    "SafeArray(initial=(), *, dtype=None)\n--\n\n"
    "A fixed number of elements that threads share. Every method on one element is one atomic step, from any\n"
    "thread.\n\n"
    "initial: an iterable of the initial values, whose number is the length. dtype: what the elements are.\n"
    "'int64', signed 64 bits; 'float64'; 'object', anything; None for what holds the initial values as they are: all\n"
    "ints 'int64', ints and floats 'float64', else 'object' (also for ints beyond 64 bits).\n\n"
    "A number that does not fit is an OverflowError, a value of another type a TypeError, an index past the end an\n"
    "IndexError; negative indexes count from the end. Slices are read as lists; as many values can be stored in a\n"
    "slice, one after the other. Iteration goes over what was there when it began.\n\n"
    "Arrays of numbers are writable buffers: `numpy.asarray(a)` and `memoryview(a)` share their memory. Writing there\n"
    "is not atomic as the methods are. Two arrays are equal only if they are the same: compare `to_list()`.\n\n"
    "Pickled, it is a handle: the same array in other interpreters of the process. Objects are pickled themselves\n"
    "then, for good: each `get` gives a new one, equal to what was set.\n\n"
    ">>> from pyferris.safe_thread import SafeArray\n"
    ">>> a = SafeArray([1, 2, 3])\n"
    ">>> a.add(-1, 10), a\n"
    "(13, SafeArray([1, 2, 13], dtype='int64'))\n";

constexpr int kNamed = METH_FASTCALL | METH_KEYWORDS;

PyMethodDef methods[] = {
    {"get", as_method(get), kNamed,
     "get($self, /, i)\n--\n\n"
     "Returns element `i`, as `a[i]` does. Any thread. IndexError past the ends.\n\n"
     ">>> from pyferris.safe_thread import SafeArray\n"
     ">>> SafeArray([1, 2, 3]).get(-1)\n"
     "3\n"},
    {"set", as_method(set), kNamed,
     "set($self, /, i, value)\n--\n\n"
     "Stores `value` in element `i`, as `a[i] = value` does; returns None. Any thread.\n\n"
     "IndexError past the ends; TypeError or OverflowError for what the array cannot hold.\n\n"
     ">>> from pyferris.safe_thread import SafeArray\n"
     ">>> a = SafeArray([1, 2]); a.set(0, 5); a.to_list()\n"
     "[5, 2]\n"},
    {"add", as_method(add), kNamed,
     "add($self, /, i, n)\n--\n\n"
     "Adds `n` to element `i` and returns the new value, in one step. Any thread.\n\n"
     "IndexError past the ends; OverflowError if the sum does not fit into an 'int64' array; TypeError for what the\n"
     "array cannot hold, or for objects that do not add. Then nothing changes. Where adding is Python code, it may\n"
     "run twice.\n\n"
     ">>> from pyferris.safe_thread import SafeArray\n"
     ">>> SafeArray([1, 2.5]).add(1, 1)\n"
     "3.5\n"},
    {"compare_exchange", as_method(compare_exchange), kNamed,
     "compare_exchange($self, /, i, expected, new)\n--\n\n"
     "Stores `new` in element `i` if that is equal to `expected` (or the same object), in one step; returns whether\n"
     "it was. Any thread. Errors as `set`; what an object's `__eq__` raises is raised here. NaN counts as equal to\n"
     "NaN.\n\n"
     ">>> from pyferris.safe_thread import SafeArray\n"
     ">>> a = SafeArray([1])\n"
     ">>> a.compare_exchange(0, 1, 7), a.compare_exchange(0, 1, 8), a[0]\n"
     "(True, False, 7)\n"},
    {"len", len, METH_NOARGS,
     "len($self, /)\n--\n\n"
     "Returns the number of elements, as `len(a)` does. Any thread.\n\n"
     ">>> from pyferris.safe_thread import SafeArray\n"
     ">>> SafeArray([1, 2]).len()\n"
     "2\n"},
    {"to_list", to_list, METH_NOARGS,
     "to_list($self, /)\n--\n\n"
     "Returns the elements in a new list; those of objects as of one moment, numbers one after the other. Any\n"
     "thread.\n\n"
     ">>> from pyferris.safe_thread import SafeArray\n"
     ">>> SafeArray('ab').to_list()\n"
     "['a', 'b']\n"},
    {"__reduce__", reduce, METH_NOARGS, "__reduce__($self, /)\n--\n\nA handle, for interpreters of this process."},
    {"__copy__", refuse_copy, METH_NOARGS, "__copy__($self, /)\n--\n\nTypeError: an array is shared, not copied."},
    {"__deepcopy__", refuse_copy, METH_O, "__deepcopy__($self, memo, /)\n--\n\nAs `__copy__`."},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,
     "__class_getitem__($cls, item, /)\n--\n\n`SafeArray[T]`, for annotations."},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef properties[] = {
    {"dtype", dtype, nullptr, "What the elements are: 'int64', 'float64' or 'object'.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ArrayObject, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_new, as_slot(make)},
    {Py_tp_dealloc, as_slot(dealloc)},
    {Py_tp_traverse, as_slot(traverse)},
    {Py_tp_clear, as_slot(clear)},
    {Py_tp_repr, as_slot(repr)},
    {Py_tp_iter, as_slot(iterate)},
    {Py_tp_methods, static_cast<void*>(methods)},
    {Py_tp_getset, static_cast<void*>(properties)},
    {Py_tp_members, static_cast<void*>(members)},
    {Py_tp_doc, const_cast<char*>(kDoc)},
    {Py_mp_length, as_slot(length)},
    {Py_mp_subscript, as_slot(subscript)},
    {Py_mp_ass_subscript, as_slot(assign_subscript)},
    {Py_sq_length, as_slot(length)},
    {Py_sq_item, as_slot(item)},
    {Py_bf_getbuffer, as_slot(get_buffer)},
    {0, nullptr},
};

PyType_Spec spec = {
    "pyferris._native.SafeArray", sizeof(ArrayObject), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_SEQUENCE,
    slots};

}  // namespace

PyObject* attach_array(PyTypeObject* type, std::shared_ptr<SharedState> state) {
    return make_on(type, std::static_pointer_cast<ArrayStorage>(std::move(state)));
}

bool register_array(PyObject* module) { return add_shared_type(module, &spec, SharedKind::array); }

}  // namespace pyferris::python
