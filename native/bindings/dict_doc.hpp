// The docstrings of SafeDict. The first line of each is what `inspect.signature` reads; the examples are run by the
// tests.
#pragma once

namespace pyferris::python {

inline constexpr char kSafeDictDoc[] =
    "SafeDict(initial=None)\n--\n\n"
    "A dict that threads share. Every method but `update` is one atomic step, from any thread.\n\n"
    "initial: a mapping, an iterable of pairs, or None. Keys are hashable, as a dict's (else TypeError), and keep\n"
    "the order in which they were inserted. A missing key is a KeyError.\n\n"
    "Iteration, `keys()`, `values()` and `items()` go over what was there at that moment: other threads may change\n"
    "the dict meanwhile. `d[k] += 1` is two steps, between which another thread may come: use `increment` or\n"
    "`update_value`. Keys' `__eq__` and `__hash__` may use the dict itself. A dict has no hash.\n\n"
    ">>> from pyferris.safe_thread import SafeDict\n"
    ">>> d = SafeDict({'a': 1})\n"
    ">>> d.increment('a'), d.increment('b', 5), d\n"
    "(2, 5, SafeDict({'a': 2, 'b': 5}))\n";

inline constexpr char kGetDoc[] =
    "get($self, /, key, default=None)\n--\n\n"
    "Returns the value of `key`, or `default` if it is missing. Any thread. TypeError if `key` is unhashable.\n\n"
    ">>> from pyferris.safe_thread import SafeDict\n"
    ">>> SafeDict({'a': 1}).get('a'), SafeDict().get('a', 0)\n"
    "(1, 0)\n";

inline constexpr char kPutDoc[] =
    "put($self, /, key, value)\n--\n\n"
    "Stores `value` under `key`, as `d[key] = value` does; returns None. Any thread. TypeError if `key` is\n"
    "unhashable.\n\n"
    ">>> from pyferris.safe_thread import SafeDict\n"
    ">>> d = SafeDict(); d.put('a', 1); d\n"
    "SafeDict({'a': 1})\n";

inline constexpr char kSizeDoc[] =
    "size($self, /)\n--\n\n"
    "Returns the number of keys, as `len(d)` does. Any thread.\n\n"
    ">>> from pyferris.safe_thread import SafeDict\n"
    ">>> SafeDict({'a': 1}).size()\n"
    "1\n";

inline constexpr char kIncrementDoc[] =
    "increment($self, /, key, n=1)\n--\n\n"
    "Adds `n` to the value of `key` and returns the new value, in one step; a missing key counts as 0. Any thread.\n\n"
    "Any numbers: ints have no limit, and floats, Fractions and others that add to the value will do. TypeError if\n"
    "the value or `n` is no number; then nothing changes. Where adding is Python code, it may run twice.\n\n"
    ">>> from pyferris.safe_thread import SafeDict\n"
    ">>> d = SafeDict({'a': 1})\n"
    ">>> d.increment('a'), d.increment('b', 0.5)\n"
    "(2, 0.5)\n";

inline constexpr char kUpdateValueDoc[] =
    "update_value($self, /, key, fn, default)\n--\n\n"
    "Stores `fn(value of key)`, or `fn(default)` if the key is missing, and returns it. Any thread.\n\n"
    "`fn` runs outside of locks, and once more if another thread has changed the value meanwhile: it should return a\n"
    "new value, and not change the one that it gets. What it raises is raised here, and nothing changes. TypeError if\n"
    "`fn` is not callable.\n\n"
    ">>> from pyferris.safe_thread import SafeDict\n"
    ">>> d = SafeDict()\n"
    ">>> d.update_value('a', lambda seen: seen + ('x',), ()), d.update_value('a', lambda seen: seen + ('y',), ())\n"
    "(('x',), ('x', 'y'))\n";

inline constexpr char kGetOrInsertDoc[] =
    "get_or_insert($self, /, key, value)\n--\n\n"
    "Returns the value of `key`; if it is missing, stores `value` and returns that, in one step. Any thread: all that\n"
    "ask for a new key at once get the same object. TypeError if `key` is unhashable.\n\n"
    ">>> from pyferris.safe_thread import SafeDict\n"
    ">>> d = SafeDict()\n"
    ">>> d.get_or_insert('a', 1), d.get_or_insert('a', 2)\n"
    "(1, 1)\n";

inline constexpr char kCompareExchangeDoc[] =
    "compare_exchange($self, /, key, expected, new)\n--\n\n"
    "Stores `new` if the value of `key` is `expected` (the same object, or equal), in one step; returns whether it\n"
    "was. Any thread. A missing key has no value and equals nothing. What the values' `__eq__` raises is raised\n"
    "here.\n\n"
    ">>> from pyferris.safe_thread import SafeDict\n"
    ">>> d = SafeDict({'state': 'new'})\n"
    ">>> d.compare_exchange('state', 'new', 'taken'), d.compare_exchange('state', 'new', 'taken')\n"
    "(True, False)\n";

inline constexpr char kSetDefaultDoc[] =
    "setdefault($self, /, key, default=None)\n--\n\n"
    "As `get_or_insert`, under the name that dicts have for it. Any thread.\n\n"
    ">>> from pyferris.safe_thread import SafeDict\n"
    ">>> d = SafeDict()\n"
    ">>> d.setdefault('a', 1), d.setdefault('a', 2)\n"
    "(1, 1)\n";

inline constexpr char kPopDoc[] =
    "pop(key[, default])\n\n"
    "Removes `key` and returns its value; if it is missing, returns `default`, or raises KeyError where none is\n"
    "given. Any thread: of several, one gets the value.\n\n"
    ">>> from pyferris.safe_thread import SafeDict\n"
    ">>> d = SafeDict({'a': 1})\n"
    ">>> d.pop('a'), d.pop('a', None)\n"
    "(1, None)\n";

inline constexpr char kPopItemDoc[] =
    "popitem($self, /)\n--\n\n"
    "Removes the key that was inserted last and returns `(key, value)`. Any thread. KeyError if the dict is empty.\n\n"
    ">>> from pyferris.safe_thread import SafeDict\n"
    ">>> SafeDict({'a': 1, 'b': 2}).popitem()\n"
    "('b', 2)\n";

inline constexpr char kUpdateDoc[] =
    "update($self, other=(), /, **named)\n--\n\n"
    "Stores all entries of a mapping or an iterable of pairs, then `named`; returns None. Any thread.\n\n"
    "Each entry is stored in a step of its own: other threads may see some of them before the rest, and after an\n"
    "error the first ones are there. TypeError or ValueError where `other` is neither.\n\n"
    ">>> from pyferris.safe_thread import SafeDict\n"
    ">>> d = SafeDict(); d.update([('a', 1)], b=2); d\n"
    "SafeDict({'a': 1, 'b': 2})\n";

inline constexpr char kClearDoc[] =
    "clear($self, /)\n--\n\n"
    "Removes everything; returns None. Any thread.\n\n"
    ">>> from pyferris.safe_thread import SafeDict\n"
    ">>> d = SafeDict({'a': 1}); d.clear(); d\n"
    "SafeDict()\n";

inline constexpr char kCopyDoc[] =
    "copy($self, /)\n--\n\n"
    "Returns a SafeDict of its own with the same keys and values (not copies of them), as of one moment. Any\n"
    "thread.\n\n"
    ">>> from pyferris.safe_thread import SafeDict\n"
    ">>> d = SafeDict({'a': 1}); e = d.copy(); e['b'] = 2; d\n"
    "SafeDict({'a': 1})\n";

inline constexpr char kKeysDoc[] =
    "keys($self, /)\n--\n\n"
    "Returns the keys as of this moment, as a dict's `keys()` are. Any thread; later changes do not show in them.\n\n"
    ">>> from pyferris.safe_thread import SafeDict\n"
    ">>> SafeDict({'a': 1, 'b': 2}).keys() & {'b', 'c'}\n"
    "{'b'}\n";

inline constexpr char kValuesDoc[] =
    "values($self, /)\n--\n\n"
    "Returns the values as of this moment, as a dict's `values()` are. Any thread; later changes do not show in\n"
    "them.\n\n"
    ">>> from pyferris.safe_thread import SafeDict\n"
    ">>> sum(SafeDict({'a': 1, 'b': 2}).values())\n"
    "3\n";

inline constexpr char kItemsDoc[] =
    "items($self, /)\n--\n\n"
    "Returns the pairs of key and value as of this moment, as a dict's `items()` are. Any thread; later changes do\n"
    "not show in them.\n\n"
    ">>> from pyferris.safe_thread import SafeDict\n"
    ">>> sorted(SafeDict({'b': 2, 'a': 1}).items())\n"
    "[('a', 1), ('b', 2)]\n";

}  // namespace pyferris::python
