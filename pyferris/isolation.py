"""The one meaning of the ``isolation`` keyword."""

from __future__ import annotations

import os
from typing import Literal

__all__ = ["Isolation", "MapIsolation", "resolve_isolation"]

Isolation = Literal["none", "inline"]
MapIsolation = Literal["none", "inline", "auto"]

VARIABLE = "PYFERRIS_ISOLATION"
_VALUES = ("none", "inline")
_MAP_VALUES = (*_VALUES, "auto")


def resolve_isolation(value: str | None, *, for_map: bool = False) -> str:
    """Return ``"none"`` or ``"inline"``: what ``value`` means in this process.

    ``None`` is ``"none"``; ``"auto"``, for maps only, is threads. The environment's ``PYFERRIS_ISOLATION`` overrides
    what the code says. Raises ``ValueError`` that lists the values.
    """
    allowed = _MAP_VALUES if for_map else _VALUES
    if value is not None and value not in allowed:
        raise ValueError(f"isolation must be one of {', '.join(map(repr, allowed))} or None, not {value!r}")
    override = os.environ.get(VARIABLE)
    if override:
        if override not in _VALUES:
            raise ValueError(
                f"the environment's {VARIABLE} must be one of {', '.join(map(repr, _VALUES))}, not {override!r}"
            )
        return override
    return "inline" if value == "inline" else "none"
