"""safe_thread_decorator: calls of a function become futures."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from . import _runtime
from .isolation import resolve_isolation
from .thread_pool import SafeThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .future import SafeFuture
    from .isolation import Isolation

__all__ = ["ThreadedFunction", "safe_thread_decorator"]

P = ParamSpec("P")
Q = ParamSpec("Q")
T = TypeVar("T")
R = TypeVar("R")


class _Default(int):
    """The number of workers that nobody has given."""


_FOUR = _Default(4)


class ThreadedFunction(Generic[P, T]):
    """A function whose calls run in a pool. ``pool`` is that pool; ``shutdown()`` ends it, unless it was lent."""

    def __init__(
        self, function: Callable[P, Any], max_workers: int, isolation: Isolation | None, pool: SafeThreadPool | None
    ) -> None:
        if not callable(function):
            raise TypeError(f"safe_thread_decorator takes a function, not {type(function).__name__}: {function!r}")
        functools.update_wrapper(self, function)
        self._function = function
        self._max_workers = max_workers
        self._isolation: Isolation | None = isolation
        self._pool = pool
        self._lent = pool is not None
        self._lock = _runtime.make_lock()

    @property
    def pool(self) -> SafeThreadPool:
        """The pool; made at the first call where none was given."""
        with self._lock:
            if self._pool is None:
                name = getattr(self._function, "__name__", "call")
                self._pool = SafeThreadPool(self._max_workers, name, isolation=self._isolation)
            return self._pool

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> SafeFuture[T]:
        return self.pool.submit(self._function, *args, **kwargs)

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> ThreadedFunction[P, T]: ...
    @overload
    def __get__(
        self: ThreadedFunction[Concatenate[Any, Q], R], instance: object, owner: type | None = None
    ) -> Callable[Q, SafeFuture[R]]: ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(cast("Any", self), instance)

    def __reduce__(self) -> str:
        """By name, as functions are."""
        return getattr(self._function, "__qualname__", type(self).__qualname__)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False, timeout: float | None = None) -> bool:
        """End the function's own pool; as ``SafeThreadPool.shutdown``. A pool that was lent is left alone: True."""
        if self._lent:
            return True
        return self.pool.shutdown(wait, cancel_futures=cancel_futures, timeout=timeout)


class Decorate(Protocol):
    """What ``safe_thread_decorator(...)`` gives."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> ThreadedFunction[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> ThreadedFunction[P, T]: ...


@overload
def safe_thread_decorator(function: Callable[P, Coroutine[Any, Any, T]], /) -> ThreadedFunction[P, T]: ...
@overload
def safe_thread_decorator(function: Callable[P, T], /) -> ThreadedFunction[P, T]: ...
@overload
def safe_thread_decorator(
    max_workers: int = 4, *, isolation: Isolation | None = "none", pool: SafeThreadPool | None = None
) -> Decorate: ...
def safe_thread_decorator(
    max_workers: Any = _FOUR, *, isolation: Isolation | None = "none", pool: SafeThreadPool | None = None
) -> Any:
    """Make calls of a function return a ``SafeFuture``. With or without parentheses; functions and methods.

    ``max_workers``: threads of the function's own pool, 4 unless said; ``pool``: one to use instead, whose workers are
    its own and which stays its owner's to shut down; ``isolation`` as for ``SafeThreadPool``. Raises ``TypeError`` or
    ``ValueError`` for others. The function is pickled by name. Isolated calls take it along as any other function;
    there its calls run at once, in the worker.

    >>> @safe_thread_decorator
    ... def double(x):
    ...     return 2 * x
    >>> double(21).result()
    42
    >>> double.shutdown()
    True
    """
    if pool is not None and not isinstance(pool, SafeThreadPool):
        raise TypeError(f"pool must be a SafeThreadPool or None, not {type(pool).__name__}: {pool!r}")
    if pool is not None and max_workers is not _FOUR and not callable(max_workers):
        raise TypeError(f"max_workers is for a pool of the function's own: give pool or max_workers={max_workers!r}")
    if pool is not None and isolation not in (None, "none"):
        raise TypeError(f"isolation is for a pool of the function's own: give pool or isolation={isolation!r}")
    resolve_isolation(isolation)  # raises for what is none
    if callable(max_workers):
        threaded: ThreadedFunction[..., Any] = ThreadedFunction(max_workers, 4, isolation, pool)
        return threaded
    if isinstance(max_workers, bool) or not isinstance(max_workers, int):
        raise TypeError(f"max_workers must be an int of 1 or more, not {max_workers!r}")
    if max_workers < 1:
        raise ValueError(f"max_workers must be 1 or more, not {max_workers}")

    def decorate(function: Callable[P, T]) -> ThreadedFunction[P, T]:
        return ThreadedFunction(function, max_workers, isolation, pool)

    return decorate
