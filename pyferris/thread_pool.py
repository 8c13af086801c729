"""SafeThreadPool: native worker threads whose futures block and await."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import os
import threading
import time
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from . import _native, _runtime
from ._coroutines import CoroutineRunner
from .errors import CallCancelled
from .future import SafeFuture
from .isolation import Isolation, resolve_isolation
from .map_result import MapResult, start_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType


__all__ = ["SafeThreadPool"]

P = ParamSpec("P")
T = TypeVar("T")

_names = itertools.count().__next__


class WorkQueue:
    """What is left of ``ThreadPoolExecutor._work_queue`` for those who read it."""

    def __init__(self, pool: SafeThreadPool) -> None:
        self._pool = pool

    def qsize(self) -> int:
        return self._pool._queued


class SafeThreadPool(_native.PoolCore, concurrent.futures.ThreadPoolExecutor):
    """A pool of native worker threads. Its futures can be blocked on and awaited.

    A ``concurrent.futures.ThreadPoolExecutor`` by ``isinstance`` that runs none of its machinery. Calls start first
    in, first out, each in a copy of the submitter's contextvars. All methods may be called from any thread.

    Parameters: ``max_workers``, an int of 1 or more (default: as the standard library's); ``thread_name_prefix``;
    ``initializer`` and ``initargs``, called in each worker before its first call; ``isolation``, ``"none"`` or
    ``"inline"`` (the submitter runs each call at once); ``daemon=True``: the interpreter's exit does not wait for it.
    Raises ``ValueError`` or ``TypeError`` for others.

    >>> with SafeThreadPool(2) as pool:
    ...     pool.submit(pow, 2, 10).result()
    1024
    """

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        isolation: Isolation | None = "none",
        daemon: bool = False,
    ) -> None:
        if max_workers is None:
            max_workers = min(32, (os.cpu_count() or 1) + 4)
        if isinstance(max_workers, bool) or not isinstance(max_workers, int):
            raise TypeError(f"max_workers must be an int of 1 or more, or None, not {max_workers!r}")
        if max_workers < 1:
            raise ValueError(f"max_workers must be 1 or more, not {max_workers}")
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer must be a callable, not {initializer!r}")
        self._inline = resolve_isolation(isolation) == "inline"
        self._max_workers = max_workers
        self._thread_name_prefix = thread_name_prefix or f"SafeThreadPool-{_names()}"
        self._runner: CoroutineRunner | None = None
        self._runner_lock = threading.Lock()
        self._daemon = bool(daemon)
        self._open(
            max_workers,
            self._thread_name_prefix,
            initializer,
            tuple(initargs),
            self._inline,
            self._daemon,
            threading.stack_size(),
        )
        if self._inline and initializer is not None:
            initializer(*initargs)

    @property
    def _shutdown(self) -> bool:  # type: ignore[override]
        return self._closed

    @property
    def _work_queue(self) -> WorkQueue:  # type: ignore[override]
        return WorkQueue(self)

    @property
    def active_tasks(self) -> int:
        """How many calls are queued or running."""
        runner = self._runner
        return self._active + (0 if runner is None else runner.active)

    if TYPE_CHECKING:

        def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> SafeFuture[T]:
            """Queue ``fn(*args, **kwargs)``; return its future. Raises ``PoolClosed`` after ``shutdown``."""
            ...

    def _submit_coroutine(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> SafeFuture[Any]:
        with self._runner_lock:
            if self._runner is None:
                self._runner = CoroutineRunner(self, f"{self._thread_name_prefix}_loop", self._daemon)
            runner = self._runner
        future = runner.submit(fn, args, kwargs)
        if self._inline:
            future.exception()
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool = False,
        return_exceptions: bool = False,
    ) -> MapResult[T]:
        """Apply ``fn`` to the items of ``iterables``, in the pool; return the results, in order, as a ``MapResult``.

        ``timeout``: seconds from now until which results are waited for. ``chunksize``: items a run of a worker,
        exactly; 1 lets the measured cost decide (200 microseconds at most). ``buffersize``: take items from the
        iterables only as results are read, at most so many ahead. ``progress``: show a progress line.
        ``return_exceptions``: failed items give their exception, if it is an ``Exception``: ``SystemExit``,
        ``KeyboardInterrupt`` and the like are raised all the same. Each call runs in a copy of the caller's
        contextvars; of a coroutine function each worker awaits one call at a time. Other calls of the pool wait for
        one run at most. Raises ``PoolClosed`` after ``shutdown``, ``TypeError`` and ``ValueError`` for wrong arguments.

        >>> with SafeThreadPool(2) as pool:
        ...     list(pool.map(abs, [-1, 2, -3]))
        [1, 2, 3]
        """
        return start_map(
            self,
            fn,
            iterables,
            timeout=timeout,
            chunksize=chunksize,
            buffersize=buffersize,
            progress=progress,
            return_exceptions=return_exceptions,
        )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False, timeout: float | None = None) -> bool:  # type: ignore[override]
        """Take no more calls; with ``wait``, return when all workers are gone, or after ``timeout`` seconds.

        ``cancel_futures`` cancels what is queued. Returns False if the time ran out, else True. Raises
        ``RuntimeError`` when a worker of this pool would wait for itself.
        """
        if wait and self._is_worker():
            raise RuntimeError(
                "shutdown(wait=True) called by a worker of this very pool would wait for itself; use wait=False"
            )
        self._close(f"{threading.current_thread().name} called shutdown()")
        if cancel_futures:
            self._cancel_queued()
        with self._runner_lock:
            runner = self._runner
        if runner is not None:
            runner.close()
        if not wait:
            return True
        began = time.monotonic()
        if not self._join(timeout):
            return False
        if runner is None:
            return True
        return runner.join(None if timeout is None else timeout - (time.monotonic() - began))

    def _abort(self) -> None:
        """End because the block around the pool was interrupted: cancel what is queued, ask the running to stop."""
        self._close(f"{threading.current_thread().name} was interrupted in its with block")
        self._cancel_queued()
        self._stop_running()
        if self._runner is not None:
            self._runner.cancel_all()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, (KeyboardInterrupt, SystemExit, asyncio.CancelledError, CallCancelled)):
            self._abort()
        self.shutdown(wait=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, (KeyboardInterrupt, SystemExit, asyncio.CancelledError, CallCancelled)):
            self._abort()
        self.shutdown(wait=False)
        gone: SafeFuture[bool] = SafeFuture()
        # A thread of its own: the loop's default executor may be this very pool.
        threading.Thread(target=lambda: gone.set_result(self.shutdown()), name="SafeThreadPool-exit").start()
        await gone

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<SafeThreadPool {self._thread_name_prefix!r} max_workers={self._max_workers} {state}>"


_runtime.before_drain(CoroutineRunner.close_all)
