"""The one meaning of the ``isolation`` keyword."""

from __future__ import annotations

import os
import sys
from typing import Any, Literal

from . import _native

__all__ = ["Isolation", "MapIsolation", "is_traced", "resolve_isolation"]

Isolation = Literal["none", "interpreter", "process", "isolated", "inline"]
MapIsolation = Literal["none", "interpreter", "process", "isolated", "inline", "auto"]

VARIABLE = "PYFERRIS_ISOLATION"
_VALUES = ("none", "interpreter", "process", "isolated", "inline")
_MAP_VALUES = (*_VALUES, "auto")
_OVERRIDES = ("none", "inline")
_ENVIRON: Any = type(os.environ)
_KEY: Any = getattr(os.environ, "encodekey", str)(VARIABLE)

HAS_INTERPRETERS = sys.version_info >= (3, 12)
"""Whether this Python can make interpreters with a GIL of their own."""


def is_traced() -> bool:
    """Whether ``tracemalloc`` traces the main interpreter's memory: asked there, as others cannot import it."""
    if not _native.in_main_interpreter():
        return False
    import _tracemalloc

    return _tracemalloc.is_tracing()


def _override() -> str | None:
    # What is not in os.environ takes it two exceptions, at each map: a tenth of what one of these takes to begin.
    environ: Any = os.environ
    if type(environ) is _ENVIRON and _KEY not in getattr(environ, "_data", {_KEY}):
        return None
    value: str | None = environ.get(VARIABLE)
    return value


def resolve_isolation(value: str | None, *, for_map: bool = False) -> str:
    """Return what ``value`` means in this process: ``"none"``, ``"interpreter"``, ``"process"``, ``"inline"``, or
    ``"auto"``, for maps only.

    ``None`` is ``"none"``; ``"isolated"`` is ``"interpreter"`` where this Python can (while ``tracemalloc`` traces it
    cannot), else ``"process"``. The
    environment's ``PYFERRIS_ISOLATION`` overrides what the code says. Raises ``ValueError`` that lists the values, and
    ``RuntimeError`` for ``"interpreter"`` where this Python cannot.
    """
    allowed = _MAP_VALUES if for_map else _VALUES
    if value is not None and value not in allowed:
        raise ValueError(f"isolation must be one of {', '.join(map(repr, allowed))} or None, not {value!r}")
    override = _override()
    if override:
        if override not in _OVERRIDES:
            raise ValueError(
                f"the environment's {VARIABLE} must be one of {', '.join(map(repr, _OVERRIDES))}, not {override!r}"
            )
        return override
    if value is None:
        return "none"
    if value == "isolated":
        return "interpreter" if HAS_INTERPRETERS and not is_traced() else "process"
    if value == "interpreter" and not HAS_INTERPRETERS:
        version = ".".join(map(str, sys.version_info[:2]))
        raise RuntimeError(
            f"isolation='interpreter' needs Python 3.12 or later, this is {version}; use isolation='process', or "
            "'isolated' for the best that there is"
        )
    if value == "interpreter" and is_traced():
        raise RuntimeError(
            "isolation='interpreter' while tracemalloc traces: CPython cannot make interpreters then; call "
            "tracemalloc.stop() first, or use isolation='process'"
        )
    return value
