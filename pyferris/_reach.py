"""What code reaches: the names in it, whose module a thing is, whether it is what its module made it."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false
from __future__ import annotations

import opcode
import sys
import types
import weakref
from typing import TYPE_CHECKING, Any

from ._homes import MISSING, Label
from ._native import encode_plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

__all__: list[str] = []

Code: Any = type((lambda: None).__code__)
Function: Any = type(lambda: None)
Builtin: Any = type(len)
Module: Any = type(sys)


def is_a(value: object, kind: Any) -> bool:
    """``isinstance`` that no ``__class__`` deceives: a mock says that it is what it stands for."""
    return issubclass(type(value), kind)


def is_made_at_run_time(kind: Any) -> bool:
    """Whether a class is not one of those that are compiled in."""
    return bool(kind.__flags__ & 1 << 9)


def makes_its_like(function: Any) -> bool:
    """Whether functions that it makes find the builtins that it finds itself; the globals say which these are."""
    found, builtins = function.__globals__.get("__builtins__", MISSING), function.__builtins__
    return found is MISSING or found is builtins or (type(found) is Module and found.__dict__ is builtins)


_MAP = opcode.opmap
_NEWER = sys.version_info >= (3, 12)
_GLOBALS = {
    _MAP[name]: shift
    for name, shift in (("LOAD_GLOBAL", 1), ("LOAD_NAME", 0), ("LOAD_FROM_DICT_OR_GLOBALS", 0))
    if name in _MAP
}
_WRITES = {_MAP[name] for name in ("STORE_GLOBAL", "DELETE_GLOBAL")}
_ATTRIBUTES = {_MAP["LOAD_ATTR"]: int(_NEWER)}
if "LOAD_METHOD" in _MAP and not _NEWER:
    _ATTRIBUTES[_MAP["LOAD_METHOD"]] = 0
_CELLS = {_MAP[name] for name in ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF") if name in _MAP}
_IMPORT, _IMPORT_FROM, EXTENDED, CACHE = (
    _MAP[name] for name in ("IMPORT_NAME", "IMPORT_FROM", "EXTENDED_ARG", "CACHE")
)
_CONSTANT, _SMALL = _MAP["LOAD_CONST"], _MAP.get("LOAD_SMALL_INT", -1)

# Builtins that reach names of a namespace by their text.
OF_GLOBALS = frozenset({"globals", "eval", "exec", "vars", "locals", "dir"})
BY_TEXT = OF_GLOBALS | {"getattr", "hasattr", "setattr", "delattr"}

Chain = tuple[str, ...]


class Names:
    """The names in a code object and those nested in it.

    ``globals`` and ``cells``: name -> the attributes that follow it, ``()`` where its value goes elsewhere.
    ``written``: globals that are bound or deleted. ``imports``: (module's name, level, names of it).
    ``attributes``: every name that is not a global for certain; ``texts``: identifiers in constant strings.
    ``refusal``: why it is not pure, as long as a global, or None, is bound to a module, or to nothing: see ``_purity``.
    ``verdict``: what was found of a function with this code, likewise.
    """

    __slots__ = ("attributes", "cells", "globals", "imports", "refusal", "texts", "verdict", "written")

    def __init__(self) -> None:
        self.globals: dict[str, set[Chain]] = {}
        self.cells: dict[str, set[Chain]] = {}
        self.written: set[str] = set()
        self.imports: set[tuple[str, int, tuple[str, ...]]] = set()
        self.attributes: set[str] = set()
        self.texts: set[str] = set()
        self.refusal: tuple[str, str | None, weakref.ref[Any] | None] | None = None
        self.verdict: Any = None


_names: dict[CodeType, Names] = {}


def names_of(code: CodeType) -> Names:
    found = _names.get(code)
    if found is None:
        found = Names()
        _collect(code, found)
        if not BY_TEXT.isdisjoint(found.globals):
            _collect_texts(code, found.texts)
        if len(_names) >= 2048:
            _names.clear()
        _names[code] = found
    return found


def globals_of(names: Names, namespace: dict[str, Any]) -> dict[str, set[Chain]]:
    """The globals that code reaches, by text too where it may."""
    if OF_GLOBALS.isdisjoint(names.globals):
        return names.globals
    return {**{name: {()} for name in sorted(names.texts) if name in namespace}, **names.globals}


def light_annotations(function: Any) -> dict[str, Any]:
    """Those that bring nothing with them."""
    if sys.version_info >= (3, 14):
        return {}  # they would be evaluated
    found: dict[str, Any] = function.__annotations__
    return {
        name: value
        for name, value in found.items()
        if value is None or type(value) is str or (type(value) is type and value.__module__ == "builtins")
    }


def instructions(code: CodeType) -> Iterator[tuple[int, int]]:
    """Opcodes with their arguments. Caches are zeros in ``co_code``, which is opcode ``CACHE``."""
    extended = 0
    units = iter(code.co_code)
    for operation, argument in zip(units, units, strict=True):
        if operation == EXTENDED:
            extended = (extended | argument) << 8
        else:
            if operation != CACHE:
                yield operation, extended | argument
            extended = 0


def _collect(code: CodeType, found: Names) -> None:
    names, constants = code.co_names, code.co_consts
    target: set[Chain] | None = None
    chain: Chain = ()
    before: list[Any] = [None, None]  # the constants that were loaded last
    for operation, argument in instructions(code):
        if target is not None:
            if operation in _ATTRIBUTES:
                chain = (*chain, names[argument >> _ATTRIBUTES[operation]])
                continue
            target.add(chain)
            target = None
        if operation in _GLOBALS:
            target, chain = found.globals.setdefault(names[argument >> _GLOBALS[operation]], set()), ()
        elif operation in _CELLS:
            target, chain = found.cells.setdefault(code._varname_from_oparg(argument), set()), ()  # type: ignore[attr-defined]
        elif operation in _WRITES:
            found.written.add(names[argument])
            found.globals.setdefault(names[argument], set()).add(())
        elif operation == _CONSTANT:
            before = [before[1], constants[argument]]
        elif operation == _SMALL:
            before = [before[1], argument]
        elif operation == _IMPORT:
            found.imports.add((names[argument], before[0], before[1] or ()))
    if target is not None:
        target.add(chain)
    found.attributes.update(names)
    for constant in constants:
        if is_a(constant, Code):
            _collect(constant, found)


def _collect_texts(code: CodeType, found: set[str]) -> None:
    for constant in code.co_consts:
        if is_a(constant, Code):
            _collect_texts(constant, found)
        elif isinstance(constant, str):
            word = ""
            for letter in constant + " ":
                if (word + letter).isidentifier():
                    word += letter
                else:
                    found.add(word)
                    word = letter if letter.isidentifier() else ""


# --- whose a module is

_STDLIB: str = getattr(sys, "_stdlib_dir", None) or ""
_INSTALLED = ("site-packages", "dist-packages")
_own: dict[str, tuple[int, bool]] = {}  # with the id of the module


def is_own(name: str | None) -> bool:
    """Whether a module is the application's: its code travels by value.

    All but the standard library, what is installed (an editable install counts as own), built-in modules, and this
    package. What is not in ``sys.modules`` can only be the application's: no worker could import it.
    """
    if not isinstance(name, str) or name == "__main__":
        return True
    module = sys.modules.get(name)
    known = _own.get(name)
    if known is not None and known[0] == id(module):
        return known[1]
    own = _is_own(name, module)
    if module is not None:
        _own[name] = (id(module), own)
    return own


def _is_own(name: str, module: Any) -> bool:
    if name == "pyferris" or name.startswith("pyferris."):
        return False
    if name in sys.builtin_module_names:
        return False
    if module is None:
        return True
    spec = getattr(module, "__spec__", None)
    origin = getattr(spec, "origin", None)
    if origin in ("built-in", "frozen"):
        return False
    path = getattr(module, "__file__", None) or origin
    if not isinstance(path, str):
        path = next(iter(getattr(module, "__path__", ())), None)
    if not isinstance(path, str):
        parent = name.rpartition(".")[0]
        return is_own(parent) if parent else True
    parts = path.replace("\\", "/").split("/")
    if any(part in parts for part in _INSTALLED):
        return False
    if _STDLIB and path.startswith(_STDLIB + "/"):
        return False
    # An extension module has no code that could travel: the worker imports it by its name.
    return not path.endswith((".so", ".pyd")) or spec is None


def name_of(module: Any) -> str | None:
    """The name by which a worker can import a module that is not the application's; None if there is none."""
    name = module.__dict__.get("__name__")
    if not isinstance(name, str) or sys.modules.get(name) is not module:
        # _collections_abc says that it is collections.abc
        name = next((each for each, other in list(sys.modules.items()) if other is module), None)
    return None if name is None or is_own(name) else name


def find(name: object, path: object) -> Any:
    """What is found at ``path`` of the module ``name``, ``MISSING`` if nothing; imports nothing."""
    if not isinstance(name, str) or not isinstance(path, str):
        return MISSING
    found: Any = sys.modules.get(name)
    if found is None:
        return MISSING
    for part in path.split("."):
        if part == "<locals>":
            return MISSING
        try:
            found = getattr(found, part)
        except Exception:
            return MISSING
    return found


def refer(value: Any) -> tuple[str, str] | None:
    """Module and path of a function or class that workers can import; None where they cannot, or shall not."""
    path = getattr(value, "__qualname__", None)
    if is_a(value, Builtin):
        owner = value.__self__
        if is_a(owner, Module):  # compiled functions are where their module has put them
            return None if is_own(owner.__name__) else (owner.__name__, value.__name__)
    name = getattr(value, "__module__", None)
    if is_a(value, Function):
        defined = value.__globals__.get("__name__")
        if defined != name and is_own(defined):
            return None  # made to look like another, as functools.wraps does
    if not isinstance(name, str) or not isinstance(path, str) or is_own(name):
        return None
    found = find(name, path)
    if name == "builtins" and found is MISSING:  # types.MappingProxyType says that it is builtins.mappingproxy
        return next((("types", each) for each in types.__all__ if getattr(types, each) is value), None)
    return (name, path) if found is value or _is_displaced(value, name, path, found) else None


def _is_displaced(value: Any, name: str, path: str, found: Any) -> bool:
    """Whether ``found`` has been put in the place of ``value``, which a worker finds there."""
    if found is MISSING or "." in path:
        return False
    module = sys.modules[name]
    if is_a(value, Function):
        original = value.__globals__ is module.__dict__ and value.__code__.co_qualname == path
    else:
        original = is_a(value, type)
    return original and judge(module, path, found)[0] == PATCHED


def own_space(namespace: dict[str, Any]) -> bool:
    """Whether a function's globals travel; others are those of a module that the worker imports."""
    if isinstance(namespace.get("__loader__"), Label):
        return True
    name = namespace.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    return module is None or module.__dict__ is not namespace or is_own(name)


IMMUTABLE = frozenset({int, float, complex, str, bytes, bool, type(None), type(...), type(NotImplemented)})


def is_immutable(value: Any) -> bool:
    """Whether it is an exact built-in that cannot change, down to its last element."""
    kind = type(value)
    if kind in IMMUTABLE:
        return True
    return (kind is tuple or kind is frozenset) and all(is_immutable(item) for item in value)


# --- whether a module's attribute is what the module made it

ORIGINAL, CONSTANT, REFERRED, PATCHED = range(4)


def judge(module: Any, name: str, value: Any) -> tuple[int, Any]:
    """How an attribute of an importable module travels: ``ORIGINAL``, or by a value or reference that is compared.

    ``CONSTANT`` and ``REFERRED`` are compared with the worker's own module, ``PATCHED`` is put in its place.
    """
    if name.startswith("__") or value is MISSING:
        return ORIGINAL, None
    if is_immutable(value):
        if module.__name__ == "sys":
            return ORIGINAL, None  # they differ from one interpreter to the other
        return CONSTANT, value
    kind = type(value)
    if kind in (list, dict, set) and encode_plain(value) is not None:
        return (ORIGINAL if module.__name__ == "sys" else CONSTANT), value
    if is_a(value, Module):
        return (PATCHED, value) if name_of(value) is None else (ORIGINAL, None)
    if is_a(value, (Function, Builtin, type)):
        return _judge_named(module, name, value)
    made_by = getattr(kind, "__module__", None)
    if made_by == "unittest.mock" or (is_own(made_by) and find(made_by, "__name__") is not MISSING):
        return PATCHED, value
    if made_by in ("functools", "operator"):
        return _judge_named(module, name, value)
    function: Any = value.__func__ if kind is types.MethodType else None
    if is_a(function, Function):  # like those of the module random
        defined = str(function.__globals__.get("__name__"))
        if own_space(function.__globals__) or is_own(type(value.__self__).__module__):
            return PATCHED, value
        if not _akin(defined, module.__name__):
            return PATCHED, value  # another module's
        if function.__name__ != name and module.__dict__.get(function.__name__) == value:
            return REFERRED, (module.__name__, function.__name__)
    return ORIGINAL, None


def loose_chains(module: Any, attributes: set[str]) -> set[Chain]:
    """The chains of these attributes, in any order, that a module has."""
    found: set[Chain] = set()
    for name in attributes:
        value = module.__dict__.get(name, MISSING)
        found.add((name,))
        if is_a(value, Module) and value is not module:
            found |= {(name, below) for below in attributes if below in value.__dict__}
    return found


def judge_chains(module: Any, chains: set[Chain]) -> Iterator[tuple[Chain, Any, Any, int, Any]]:
    """For each attribute that is reached: its chain, the module that holds it, its value, ``judge`` of it."""
    seen: set[Chain] = set()
    for chain in sorted(chains):
        holder = module
        for depth, name in enumerate(chain):
            value = holder.__dict__.get(name, MISSING)
            if chain[: depth + 1] not in seen:
                seen.add(chain[: depth + 1])
                yield (chain[: depth + 1], holder, value, *judge(holder, name, value))
            if not is_a(value, Module):
                break
            holder = value


def is_patched(module: Any, names: set[str]) -> bool:
    """Whether some of these attributes are not what the module made them, or might not be."""
    found = judge_chains(module, {(name,) for name in names if name in module.__dict__})
    return any(verdict == PATCHED for _, _, _, verdict, _ in found)


def absolute(name: str, level: int, namespace: dict[str, Any]) -> str:
    """The full name of what code imports."""
    if not level:
        return name
    package = namespace.get("__package__") or str(namespace.get("__name__", "")).rpartition(".")[0]
    base = package.rsplit(".", level - 1)[0]
    return f"{base}.{name}" if name else base


def _judge_named(module: Any, name: str, value: Any) -> tuple[int, Any]:
    where = refer(value)
    if where is not None:
        if where[1] == name and _akin(where[0], module.__name__):
            return ORIGINAL, None
        return REFERRED, where
    if is_a(value, Builtin):
        owner = getattr(value, "__self__", None)
        return (PATCHED, value) if is_own(type(owner).__module__) else (ORIGINAL, None)
    if is_a(value, Function):
        namespace = value.__globals__
        defined = namespace.get("__name__")
        if own_space(namespace) or not _akin(str(defined), module.__name__):
            return PATCHED, value
        wrapped: Any = getattr(value, "__wrapped__", None)
        if is_a(wrapped, Function) and own_space(wrapped.__globals__):
            return PATCHED, value
        return ORIGINAL, None
    if not is_a(value, type):
        return PATCHED, value  # a partial, a getter: a copy of it does the same
    defined = value.__module__
    return (PATCHED, value) if is_own(defined) or not _akin(defined, module.__name__) else (ORIGINAL, None)


def _akin(one: str, other: str) -> bool:
    """Whether both are of one package, ``_json`` and ``json.decoder`` too."""
    return one.split(".")[0].lstrip("_") == other.split(".")[0].lstrip("_")
