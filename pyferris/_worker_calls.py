"""What workers of pools of interpreters and processes run beside single calls: runs of a map's items, coroutines."""

from __future__ import annotations

import time

from ._native import CallCancelled
from ._wire import dumps_error, dumps_result

TYPE_CHECKING = False  # typing is not imported in a worker
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["CHECKED", "CHECKED_APART", "await_item", "call_each", "run_coroutine"]

CHECKED = 2
"""As ``single`` of a run of items: see ``_auto_worker.call_checked``."""
CHECKED_APART = 3
"""The same in another process."""


def call_each(
    function: Callable[..., Any], items: list[Any], single: int, fail_fast: bool
) -> tuple[bytes, dict[int, Any] | None, int]:
    """Call ``function`` for each of a run's items, or, where not ``single``, with the items of each.

    Return the encoded results, the encoded errors by place, or None, and the nanoseconds it took. With ``fail_fast``
    the first error ends it.
    """
    if single >= CHECKED:  # for isolation="auto"
        from ._auto_worker import call_checked

        return call_checked(function, items, fail_fast, single == CHECKED_APART)
    results: list[Any] = []
    failures: dict[int, bytes] = {}
    began = time.perf_counter_ns()
    for item in items:
        try:
            results.append(function(item) if single else function(*item))
        except CallCancelled:
            raise
        except BaseException as error:
            failures[len(results)] = dumps_error(error)
            results.append(None)
            if fail_fast:
                break
    took = time.perf_counter_ns() - began
    try:
        data = dumps_result(results, "the results")
    except Exception:
        _replace_what_cannot_travel(results, failures, function)
        data = dumps_result(results, "the results")
    return data, failures or None, took


def _replace_what_cannot_travel(results: list[Any], failures: dict[int, bytes], function: Callable[..., Any]) -> None:
    what = f"the result of {getattr(function, '__qualname__', function)}()"
    for place, result in enumerate(results):
        try:
            dumps_result(result, what)
        except Exception as error:
            failures[place] = dumps_error(error)
            results[place] = None


def run_coroutine(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a coroutine function on an event loop of its own."""
    import asyncio

    async def run() -> Any:
        return await function(*args, **kwargs)

    return asyncio.run(run())


def await_item(function: Callable[..., Any], *args: Any) -> Any:
    """Run a coroutine function for one item of a map."""
    return run_coroutine(function, args, {})
