"""Whether the code of a module of the standard library is what it came with; for ``_purity``."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import sys
from typing import Any

from . import _pure_names, _reach

__all__: list[str] = []

# Modules that others are made of.
_BELOW = {
    "json": ("json.encoder", "json.decoder", "json.scanner"),
    "re": ("re._compiler", "re._parser"),
    "collections": (),
    "statistics": ("fractions", "numbers"),
}


def find_patched(name: str) -> str | None:
    """What has been patched of module ``name`` and those below it: "module.attribute". None if nothing."""
    for each in (name, *_BELOW.get(name, ())):
        module = sys.modules.get(each)
        if module is None or not isinstance(getattr(module, "__file__", None), str):
            continue
        for attribute, value in list(module.__dict__.items()):
            if attribute.startswith("__"):
                continue
            if not _is_genuine(value) or _reach.judge(module, attribute, value)[0] == _reach.PATCHED:
                return f"{each}.{attribute}"
    return None


def _is_genuine(value: Any) -> bool:
    """Whether a function of the standard library, each of a class, and what an object holds, came with it."""
    kind: Any = type(value)
    if kind is _reach.Function:
        return _of_library(value)
    if issubclass(kind, type):
        return not _reach.is_made_at_run_time(value) or all(map(_is_genuine_member, vars(value).values()))
    if type(kind) is type and _reach.is_made_at_run_time(kind):
        return all(map(_is_genuine_member, getattr(value, "__dict__", {}).values()))
    return True


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
