"""Data that threads share: a counter, a dict, an array and a queue whose every operation is one atomic step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Literal, TypeVar, overload

from ._native import SafeArray, SafeCounter, SafeDict
from .queue import SafeQueue

__all__ = ["SafeArray", "SafeCounter", "SafeDict", "create_safe_shared_data"]

_K = TypeVar("_K")
_V = TypeVar("_V")
_T = TypeVar("_T")

# A native type has no bases in Python: it is registered instead, and has all of the mapping's methods itself.
MutableMapping.register(SafeDict)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


@overload
def create_safe_shared_data(
    kind: Literal["counter"], initial: int | None = None, *, initial_value: None = None
) -> SafeCounter: ...
@overload
def create_safe_shared_data(
    kind: Literal["counter"], initial: None = None, *, initial_value: int | None = None
) -> SafeCounter: ...
@overload
def create_safe_shared_data(
    kind: Literal["dict"], initial: None = None, *, initial_value: None = None
) -> SafeDict[Any, Any]: ...
@overload
def create_safe_shared_data(
    kind: Literal["dict"],
    initial: Mapping[_K, _V] | Iterable[tuple[_K, _V]],
    *,
    initial_value: None = None,
) -> SafeDict[_K, _V]: ...
@overload
def create_safe_shared_data(
    kind: Literal["dict"],
    initial: None = None,
    *,
    initial_value: Mapping[_K, _V] | Iterable[tuple[_K, _V]],
) -> SafeDict[_K, _V]: ...
@overload
def create_safe_shared_data(
    kind: Literal["queue"], initial: None = None, *, initial_value: None = None
) -> SafeQueue[Any]: ...
@overload
def create_safe_shared_data(
    kind: Literal["queue"], initial: Iterable[_T], *, initial_value: None = None
) -> SafeQueue[_T]: ...
@overload
def create_safe_shared_data(
    kind: Literal["queue"], initial: None = None, *, initial_value: Iterable[_T]
) -> SafeQueue[_T]: ...
@overload
def create_safe_shared_data(
    kind: Literal["array"], initial: None = None, *, initial_value: None = None
) -> SafeArray[Any]: ...
@overload
def create_safe_shared_data(
    kind: Literal["array"], initial: Iterable[_T], *, initial_value: None = None
) -> SafeArray[_T]: ...
@overload
def create_safe_shared_data(
    kind: Literal["array"], initial: None = None, *, initial_value: Iterable[_T]
) -> SafeArray[_T]: ...
def create_safe_shared_data(
    kind: str, initial: Any = None, *, initial_value: Any = None
) -> SafeCounter | SafeDict[Any, Any] | SafeQueue[Any] | SafeArray[Any]:
    """Return a new `SafeDict`, `SafeQueue`, `SafeCounter` or `SafeArray`.

    kind: ``"dict"``, ``"queue"``, ``"counter"`` or ``"array"``; another one is a `ValueError`.
    initial, or initial_value, which means the same: a mapping or pairs for a dict, an iterable of the first items for
    a queue, an int for a counter, an iterable of the elements for an array. Both given: `TypeError`. Without: empty,
    or 0. What the kind cannot start from is an error of its class, a `TypeError` as a rule.

    May be called from any thread.

    >>> hits = create_safe_shared_data("counter", 5)
    >>> hits.increment()
    6
    >>> create_safe_shared_data("array", initial_value=[1, 2.5])
    SafeArray([1.0, 2.5], dtype='float64')
    """
    if initial is not None and initial_value is not None:
        raise TypeError(
            "create_safe_shared_data() takes initial or initial_value, which mean the same, not both: "
            f"{initial!r} and {initial_value!r}"
        )
    value = initial_value if initial is None else initial
    if kind == "dict":
        return SafeDict(value)
    if kind == "queue":
        return _filled_queue(() if value is None else value)
    if kind == "counter":
        return SafeCounter(0 if value is None else value)
    if kind == "array":
        return SafeArray(value)
    raise ValueError(f"kind must be 'dict', 'queue', 'counter' or 'array', not {kind!r}")


def _filled_queue(items: Any) -> SafeQueue[Any]:
    try:
        iterator = iter(items)
    except TypeError:
        raise TypeError(
            f"a SafeQueue starts from an iterable of its first items, not from {type(items).__name__}: {items!r}; "
            "for a limited one, call SafeQueue(maxsize)"
        ) from None
    queue: SafeQueue[Any] = SafeQueue()
    for item in iterator:
        queue.push(item)
    return queue
