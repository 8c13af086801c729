"""Whether the code of a module of the standard library is what it came with; for ``_purity``."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import builtins
import operator
import sys
from collections.abc import Iterator
from typing import Any

from . import _native, _pure_names, _reach
from ._shipping import is_original_builtin

__all__: list[str] = []

# Modules that others are made of.
_BELOW = {
    "json": ("json.encoder", "json.decoder", "json.scanner"),
    "re": ("re._compiler", "re._parser"),
    "collections": (),
    "statistics": ("fractions", "numbers"),
}


# What a library's functions find among builtins; others put names of theirs there as well.
_BUILTINS = (
    {name for name, value in vars(builtins).items() if is_original_builtin(name, value)}
    | _pure_names.BUILTINS
    | _pure_names.KEEPING_BUILTINS
) - {"__debug__", "__doc__", "__name__", "copyright", "credits", "exit", "license", "quit"}
_seen_builtins: Any = None  # a snapshot of them


# Of modules that were found as they came: these modules, and a snapshot of all that was looked at.
_seen: dict[str, tuple[list[Any], Any]] = {}


def find_patched(name: str) -> str | None:
    """What has been patched of module ``name``, those below it, and builtins: "module.attribute". None if nothing."""
    replaced = _find_replaced_builtin()
    if replaced is not None:
        return f"builtins.{replaced}"
    names = (name, *_BELOW.get(name, ()))
    modules = [sys.modules.get(each) for each in names]
    seen = _seen.get(name)
    if seen is not None and all(map(operator.is_, seen[0], modules)) and _native.is_unchanged(seen[1]):
        return None
    looked_at = {
        each: module
        for each, module in zip(names, modules, strict=True)
        if isinstance(getattr(module, "__file__", None), str)
    }
    snapshot = _native.take_snapshot([holder for module in looked_at.values() for holder in _holders(module)])
    for each, module in looked_at.items():
        for attribute, value in list(module.__dict__.items()):
            if attribute.startswith("__"):
                continue
            if not _is_genuine(value) or _reach.judge(module, attribute, value)[0] == _reach.PATCHED:
                return f"{each}.{attribute}"
    if _native.is_unchanged(snapshot):  # while it was looked at
        _seen[name] = modules, snapshot
    return None


def _find_replaced_builtin() -> str | None:
    global _seen_builtins
    if _seen_builtins is not None and _native.is_unchanged(_seen_builtins):
        return None
    snapshot = _native.take_snapshot([builtins.__dict__])
    for name in _BUILTINS:
        if not is_original_builtin(name, vars(builtins).get(name, _reach)):
            return name
    if _native.is_unchanged(snapshot):  # while it was looked at
        _seen_builtins = snapshot
    return None


def _holders(module: Any) -> Iterator[Any]:
    """The dicts and classes that ``find_patched`` looks into."""
    yield module.__dict__
    for value in list(module.__dict__.values()):
        holder = _looked_into(value)
        if isinstance(holder, (dict, type)):
            yield holder


def _looked_into(value: Any) -> Any:
    """A class that Python code has made, or what an object of one holds; None for all else."""
    kind: Any = type(value)
    if issubclass(kind, type):
        return value if _reach.is_made_at_run_time(value) else None
    return getattr(value, "__dict__", None) if type(kind) is type and _reach.is_made_at_run_time(kind) else None


def _is_genuine(value: Any) -> bool:
    """Whether a function of the standard library, each of a class, and what an object holds, came with it."""
    if type(value) is _reach.Function:
        return _of_library(value)
    holder = _looked_into(value)
    members: Any = vars(holder) if isinstance(holder, type) else holder
    return members is None or all(map(_is_genuine_member, members.values()))


def _is_genuine_member(value: Any) -> bool:
    kind = type(value)
    if kind is _reach.Function:
        return _of_library(value)
    if kind is _reach.Builtin:
        return not isinstance(value.__module__, str) or value.__module__ in _pure_names.ACCELERATORS
    made_by = kind.__module__
    return made_by != "unittest.mock" and not (
        type(kind) is type and _reach.is_made_at_run_time(kind) and _reach.is_own(made_by)
    )


def _of_library(function: Any) -> bool:
    namespace = function.__globals__
    if not _reach.own_space(namespace) or str(namespace.get("__name__", "")).startswith("namedtuple_"):
        return True
    name = getattr(namespace.get("__spec__"), "name", None)  # _collections_abc says that it is collections.abc
    module = sys.modules.get(name) if isinstance(name, str) else None
    return module is not None and module.__dict__ is namespace and not _reach.is_own(name)
