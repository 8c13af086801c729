// The shortest way for what calls mostly take and give: numbers, text, bytes, and tuples and lists of them.
//
// marshal says the same in as many bytes, but makes an object for them, and reports to the audit hooks each time.
// Whatever is not written here (larger ints, dicts, a list that others refer to as well) is left to it.
//
//   value:  '0' None  'T' True  'F' False  '.' Ellipsis  'i' int64  'j' int32  'f' double  'b' bytes: size, data
//           's' str: kind (1, 2, 4), length, data  '(' tuple: length, values  ')' tuple: length of 8 bits, values
//           '[' list: length, values
//   Sizes and other lengths are 64 bits, in the machine's order: the bytes never leave the process. The short forms
//   keep the arguments of most calls, and their results, within what a std::string holds without memory of its own.
#pragma once

#include <string>

#include "py_ref.hpp"

namespace pyferris::python {

/// Appends `object` to `data`. False if it has something that is not written here; then `data` is as it was. Attached.
bool write_scalars(PyObject* object, std::string* data);
/// Reads what was written, all of it: a new reference, null with an error set. Attached.
PyObject* read_scalars(const char* data, std::size_t size);

}  // namespace pyferris::python
