"""Whether the code of a module of the standard library is what it came with; for ``_purity``."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import sys
from typing import Any

from . import _reach

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
    """Whether a function of the standard library, or each of a class, has been compiled there."""
    kind = type(value)
    if kind is _reach.Function:
        return _of_library(value)
    if kind is type and value.__flags__ & 1 << 9:
        return all(_of_library(each) for each in vars(value).values() if type(each) is _reach.Function)
    return True


def _of_library(function: Any) -> bool:
    namespace = function.__globals__
    return not _reach.own_space(namespace) or str(namespace.get("__name__", "")).startswith("namedtuple_")
