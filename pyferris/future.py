"""SafeFuture: one future for threads and for asyncio."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, TypeVar

from . import _native

__all__ = ["SafeFuture", "cancel_requested", "check_cancelled", "current_future", "sleep"]

T = TypeVar("T")


class SafeFuture(_native.FutureCore[T], concurrent.futures.Future[T]):
    """A ``concurrent.futures.Future`` that can also be awaited.

    Block on it with ``result()`` from any thread, or ``await`` it in any number of tasks, on any number of asyncio
    loops. ``SafeFuture()`` alone is a promise: complete it with ``set_result`` or ``set_exception``. All methods may be
    called from any thread.

    >>> future = SafeFuture()
    >>> future.set_result(42)
    >>> future.result()
    42
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def __init__(self) -> None: ...


def current_future() -> SafeFuture[object] | None:
    """Return the future of the call that this thread runs, or None outside of calls.

    In a coroutine of a pool, and the tasks that it makes, that of the coroutine. The other functions here likewise.

    >>> current_future() is None
    True
    """
    return _native.current_future()


def cancel_requested() -> bool:
    """Return True if the call that this thread runs was asked to stop. False outside of calls.

    >>> cancel_requested()
    False
    """
    return _native.cancel_requested()


def check_cancelled() -> None:
    """Raise ``CallCancelled`` if the call that this thread runs was asked to stop.

    Does nothing outside of calls. The future of a call that ends by ``CallCancelled`` ends cancelled.

    >>> check_cancelled()
    """
    _native.check_cancelled()


def sleep(seconds: float) -> None:
    """Sleep for ``seconds``, or until the call that this thread runs is asked to stop.

    Raises ``CallCancelled`` then; ``ValueError`` if ``seconds`` is negative, ``OverflowError`` if no clock can hold it,
    as infinity; ``RuntimeError`` in a coroutine of a pool, whose loop it would stop: ``await asyncio.sleep`` there.
    Outside of calls it is ``time.sleep``.

    >>> sleep(0)
    """
    _native.sleep(seconds)
