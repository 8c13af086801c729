"""Whether the standard library here is that of isolated workers: nobody has patched it, or put another before it.

Both sides describe the modules that a function uses, and compare. What fills up as it is used, caches and registries,
is left out.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import marshal
import sys

TYPE_CHECKING = False  # typing is not imported in a worker
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

__all__ = ["describe"]

# Modules whose functions are used by those of another.
_BELOW = {
    "base64": ("binascii", "re", "struct"),
    "collections": ("_collections_abc", "heapq", "itertools", "operator"),
    "copy": ("copyreg",),
    "fractions": ("math", "numbers", "operator", "re"),
    "functools": ("operator",),
    "html": ("html.entities", "re"),
    "json": ("json.decoder", "json.encoder", "json.scanner"),
    "re": ("re._casefix", "re._compiler", "re._parser"),
    "statistics": ("collections", "fractions", "itertools", "math", "numbers", "operator"),
    "string": ("collections", "re"),
    "textwrap": ("re",),
}
_ONLY = {"typing": ("cast",), "codecs": ()}  # the rest grows with what is imported; of the latter, the handlers
_HANDLERS = ("backslashreplace", "ignore", "namereplace", "replace", "strict", "surrogateescape", "xmlcharrefreplace")
_TABLES = ("_a85chars", "_a85chars2", "_b85chars", "_b85chars2", "_b85dec", "_b32tab2", "_b32rev")  # base64's
_CACHES = frozenset(["_cache", "_cache2", "_abc_impl", "_abc_registry", "_abc_cache", *_TABLES])
_OF_CLASSES = frozenset(
    [
        "__abstractmethods__",
        "__annotate__",
        "__annotations__",
        "__annotations_cache__",
        "__dict__",
        "__doc__",
        "__firstlineno__",
        "__hash__",
        "__module__",
        "__orig_bases__",
        "__static_attributes__",
        "__weakref__",
        "_removal_version",
    ]
)
_ATOMS = (int, float, complex, str, bytes, bool, type(None), type(...))
_DEEPEST = 8


def describe(names: Iterable[str]) -> dict[str, int]:
    """A number for each of these modules, and those that they use: equal where they are alike. Imports them.

    Any function may use codecs.
    """
    from binascii import crc32  # a file in some builds: not for workers that need none

    wanted: list[str] = ["codecs", *names]
    found: dict[str, int] = {}
    for name in wanted:
        if name in found:
            continue
        try:
            __import__(name)
        except ImportError:  # other versions have not got it
            found[name] = 0
            continue
        found[name] = _Description(sys.modules[name], crc32).number
        wanted += _BELOW.get(name, ())
    return found


def _is_passing(module: str, name: str, value: Any) -> bool:
    """Whether it comes and goes as the module is used."""
    if name in _CACHES or name.startswith("__"):
        return True
    return isinstance(value, type(sys)) and value.__name__ == f"{module}.{name}"


def _of_builtins(table: dict[Any, Any]) -> dict[Any, Any]:
    """Of how objects are pickled and copied, what concerns plain data; other modules register their classes there."""
    return {kind: function for kind, function in table.items() if getattr(kind, "__module__", "") == "builtins"}


class _Description:
    def __init__(self, module: Any, crc32: Callable[..., int]) -> None:
        self._crc32 = crc32
        self._package = module.__name__.partition(".")[0]
        self._seen: dict[int, int] = {}
        self._alive: list[Any] = []  # what has an id in `_seen`
        self.number = self._crc32(repr((getattr(module, "__file__", None), type(module).__qualname__)).encode())
        for name, value in sorted(vars(module).items()):
            if name in _ONLY.get(module.__name__, (name,)) and not _is_passing(module.__name__, name, value):
                self._add(name)
                self._value(_of_builtins(value) if name == "dispatch_table" else value, 0)
        if module.__name__ == "codecs":
            for name in _HANDLERS:
                self._value(module.lookup_error(name), 0)

    def _add(self, *parts: object) -> None:
        self.number = self._crc32(repr(parts).encode("utf-8", "surrogatepass"), self.number)

    def _value(self, value: Any, depth: int) -> None:
        kind: Any = type(value)
        if kind in _ATOMS:
            self.number = self._crc32(marshal.dumps(value, 2), self.number)
            return
        known = None if kind is tuple else self._seen.get(id(value))  # whether equal tuples are one is chance
        self._add(kind.__module__, kind.__qualname__, known, depth == _DEEPEST)
        if known is not None or depth == _DEEPEST:
            return
        self._seen[id(value)] = len(self._seen)
        self._alive.append(value)
        if kind in (tuple, list):
            for each in value:
                self._value(each, depth + 1)
        elif kind in (set, frozenset):
            self._add(sorted(map(repr, value)))
        elif kind is dict:
            self._items(value.items(), depth)
        else:
            self._object(value, depth)

    def _items(self, items: Iterable[tuple[Any, Any]], depth: int) -> None:
        for key, value in items:
            self._value(key, depth + 1)
            self._value(value, depth + 1)

    def _object(self, value: Any, depth: int) -> None:
        if isinstance(value, type):
            self._class(value, depth)
            return
        code = getattr(value, "__code__", None)
        if code is not None and type(code).__name__ == "code":
            self._code(code)
            self._value((value.__defaults__, value.__kwdefaults__), depth + 1)
        elif isinstance(value, (staticmethod, classmethod)):
            self._value(value.__func__, depth + 1)
        elif isinstance(value, property):
            self._value((value.fget, value.fset, value.fdel), depth + 1)
        elif type(value).__name__ == "Pattern":
            self._add(value.pattern, value.flags)
        else:
            # Builtins, modules and the like have names; other objects what they hold.
            names = [getattr(value, each, None) for each in ("__module__", "__qualname__", "__name__")]
            self._add(*(each if isinstance(each, str) else None for each in names))
            own = getattr(value, "__dict__", None)
            if type(own) is dict and not isinstance(value, type(sys)):
                self._items(((key, each) for key, each in own.items() if key not in _CACHES), depth)

    def _class(self, value: Any, depth: int) -> None:
        self._add(value.__module__, value.__qualname__)
        if str(value.__module__).partition(".")[0].lstrip("_") != self._package.lstrip("_"):
            return
        self._add(*(f"{each.__module__}.{each.__qualname__}" for each in value.__mro__))
        if "_member_map_" in vars(value):  # an enumeration grows with the combinations that are asked for
            self._add(*value.__members__)
            return
        for name, each in sorted(vars(value).items()):
            # CPython gives types in C other slots in another interpreter.
            if name not in _OF_CLASSES and name not in _CACHES and type(each).__name__ != "wrapper_descriptor":
                self._add(name)
                self._value(each, depth + 1)

    def _code(self, code: Any) -> None:
        self._add(code.co_qualname, code.co_filename, code.co_names, code.co_varnames)
        self.number = self._crc32(code.co_code, self.number)
        for constant in code.co_consts:
            if type(constant).__name__ == "code":
                self._code(constant)
            elif type(constant) is frozenset:
                self._add(sorted(map(repr, constant)))
            else:
                self._add(constant)
