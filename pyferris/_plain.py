"""Plain data: exact built-in types all the way down, of which a copy cannot be told from the original."""

from __future__ import annotations

import marshal
from _operator import ne  # operator itself is a file

from ._native import encode_plain

TYPE_CHECKING = False  # typing is not imported in a worker
if TYPE_CHECKING:
    from typing import Any

__all__ = ["has_sets", "is_plain", "keeps", "keeps_all", "keeps_order"]

_SCALARS = frozenset({int, str, bytes, bool, type(None), type(...)})
_NUMBERS = frozenset({float, complex})


def is_plain(value: object) -> bool:
    """Whether it is of exact built-in types all the way down, and a copy of it cannot be told from it.

    Not a nan, which equals itself only by identity; not a set that is walked through in another order when copied.
    """
    return encode_plain(value) is not None and keeps(value)


def keeps(value: Any) -> bool:
    """The second half of ``is_plain``, for a tree of exact built-in types."""
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind in _SCALARS:
        return True
    if kind in _NUMBERS:
        return bool(value == value)
    if kind is dict:
        return keeps_all(value) and keeps_all(value.values())
    if kind is set or kind is frozenset:
        return keeps_all(value) and keeps_order(value)
    return keeps_all(value)


def keeps_all(values: Any) -> bool:
    """The same of each of them."""
    kinds = set(map(type, values))
    if kinds <= _SCALARS:
        return True
    if kinds <= _SCALARS | _NUMBERS:
        return not any(map(ne, values, values))
    return all(map(keeps, values))


def has_sets(value: Any) -> bool:
    """Whether there is a set in a tree of exact built-in types: another process walks through it in another order."""
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind is set or kind is frozenset:
        return True
    if kind is dict:
        return has_sets(tuple(value)) or has_sets(tuple(value.values()))
    if kind is not list and kind is not tuple:
        return False
    return not set(map(type, value)) <= _SCALARS | _NUMBERS and any(map(has_sets, value))


def keeps_order(values: Any) -> bool:
    """Whether a copy of this set is walked through in the same order."""
    return list(marshal.loads(marshal.dumps(values))) == list(values)
