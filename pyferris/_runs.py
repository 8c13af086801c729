"""Runs of a map's items that isolated workers do: what comes back, and what becomes of an item that cannot travel."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, CancelledError
from typing import TYPE_CHECKING, Any, TypeAlias

from . import _wire
from .errors import PoolClosed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Outcome", "Send", "outcome_of"]

Outcome: TypeAlias = tuple[list[Any], "dict[int, BaseException] | None", int]
"""Results, with None for each item that failed; errors by place; nanoseconds of work."""
Send: TypeAlias = "Callable[[list[Any]], tuple[bytes, dict[int, bytes] | None, int]]"
"""Has a worker do items; returns what ``call_each`` does there."""


def outcome_of(send: Send, items: list[Any], fail_fast: bool) -> Outcome:
    """Have the items done. One that cannot travel fails alone. With ``fail_fast`` nothing is done after a failure."""
    try:
        data, errors, took = send(items)
    except (PoolClosed, BrokenExecutor, CancelledError, MemoryError):
        raise
    except Exception as error:  # one of them cannot travel: none was called
        return ([None], {0: error}, 0) if len(items) == 1 else _one_by_one(send, items, fail_fast)
    results: list[Any] = _wire.loads(data)
    if errors is None:
        return results, None, took
    return (
        results + [None] * (len(items) - len(results)),
        {place: _wire.loads_error(error) for place, error in errors.items()},
        took,
    )


def _one_by_one(send: Send, items: list[Any], fail_fast: bool) -> Outcome:
    results: list[Any] = []
    failures: dict[int, BaseException] = {}
    took = 0
    for place, item in enumerate(items):
        given, failed, nanoseconds = outcome_of(send, [item], fail_fast)
        results += given
        took += nanoseconds
        if failed:
            failures[place] = failed[0]
            if fail_fast:
                break
    return results + [None] * (len(items) - len(results)), failures or None, took
