"""SafeThreadPool: native worker threads whose futures block and await."""

from __future__ import annotations

import concurrent.futures
import functools
import itertools
import sys
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, NoReturn, ParamSpec, Self, TypeVar, overload

from . import _native, _runtime
from ._cores import usable_cores
from ._worker_calls import await_item, run_coroutine
from .errors import PoolClosed
from .future import SafeFuture
from .isolation import Isolation, resolve_isolation
from .map_result import MapResult, start_map

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from ._coroutines import CoroutineRunner
    from ._process_workers import ProcessWorkers

__all__ = ["SafeThreadPool"]

P = ParamSpec("P")
T = TypeVar("T")

_names = itertools.count().__next__
_LAST_WORDS = 2.0  # seconds that isolated calls get to end when they are interrupted


def time_left(timeout: float | None) -> Callable[[], float | None]:
    """A function that says how much of ``timeout`` seconds from now is left."""
    if timeout is None:
        return lambda: None
    end = time.monotonic() + timeout
    return lambda: max(0.0, end - time.monotonic())


def default_workers(kind: str) -> int:
    """How many workers a pool has that is not told."""
    cores = usable_cores()
    return cores if kind in ("interpreter", "process") else min(32, cores + 4)


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
    ``initializer`` and ``initargs``, called in each worker before its first call; ``isolation``: ``"none"`` (threads),
    ``"inline"`` (the submitter runs each call at once), ``"interpreter"`` or ``"process"`` (CPU-bound Python runs in
    parallel; functions, arguments and results are copied; as many workers as cores by default), ``"isolated"`` (the
    best of the two); ``daemon=True``: the interpreter's exit does not wait for it. Raises ``ValueError`` or
    ``TypeError`` for others.

    >>> with SafeThreadPool(2) as pool:
    ...     pool.submit(pow, 2, 10).result()
    1024
    """

    _kind = "none"  # also where __init__ was not called: what is native says so
    # Interpreters at most that begin before there is a call: a small pool is whole by then, a large one grows by need.
    _early_workers = 2

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
        kind = resolve_isolation(isolation)
        if max_workers is None:
            max_workers = default_workers(kind)
        if isinstance(max_workers, bool) or not isinstance(max_workers, int):
            raise TypeError(f"max_workers must be an int of 1 or more, or None, not {max_workers!r}")
        if max_workers < 1:
            raise ValueError(f"max_workers must be 1 or more, not {max_workers}")
        if max_workers > sys.maxsize:
            raise OverflowError(f"max_workers must be {sys.maxsize} at most, not {max_workers}")
        if not isinstance(thread_name_prefix, (str, type(None))):  # the standard library takes None, too
            raise TypeError(
                f"thread_name_prefix must be a str, not {type(thread_name_prefix).__name__}: {thread_name_prefix!r}"
            )
        if not isinstance(initargs, Iterable):
            raise TypeError(
                f"initargs must be a tuple of the initializer's arguments, not {type(initargs).__name__}: {initargs!r}"
            )
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer must be a callable, not {initializer!r}")
        initargs = tuple(initargs)
        self._kind = kind
        self._inline = kind == "inline"
        self._max_workers = max_workers
        self._thread_name_prefix = thread_name_prefix or f"SafeThreadPool-{_names()}"
        self._runner: CoroutineRunner | None = None
        self._runner_lock = _runtime.make_lock()
        self._daemon = bool(daemon)
        self._maps: SafeThreadPool | None = None  # threads that hand a map's runs to the workers
        self._processes: ProcessWorkers | None = None
        if kind == "interpreter":
            from . import _interpreters

            _interpreters.open_pool(
                self,
                max_workers,
                self._thread_name_prefix,
                initializer,
                tuple(initargs),
                self._daemon,
                self._early_workers,
            )
            return
        if kind == "process":
            from . import _process_workers

            self._processes = _process_workers.open_pool(self, initializer, tuple(initargs))
            return
        self._open(
            max_workers,
            self._thread_name_prefix,
            initializer,
            initargs,
            self._inline,
            self._daemon,
            threading.stack_size(),
        )
        if self._inline and initializer is not None:
            initializer(*initargs)

    def _submit_delegated(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> SafeFuture[Any]:
        assert self._processes is not None
        return self._processes.submit(self, fn, args, kwargs)

    @property
    def _shutdown(self) -> bool:  # type: ignore[override]
        return self._closed

    @property
    def _work_queue(self) -> WorkQueue:  # type: ignore[override]
        return WorkQueue(self)

    @property
    def active_tasks(self) -> int:
        """How many calls are queued or running."""
        active = self._active
        runner, maps = self._runner, self._maps
        return active + (0 if runner is None else runner.active) + (0 if maps is None else maps._active)

    if TYPE_CHECKING:

        @overload
        def submit(
            self, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
        ) -> SafeFuture[T]: ...
        @overload
        def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> SafeFuture[T]: ...
        def submit(self, fn: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> SafeFuture[Any]:
            """Queue ``fn(*args, **kwargs)``; return its future. Raises ``PoolClosed`` after ``shutdown``."""
            ...

    def _submit_coroutine(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> SafeFuture[Any]:
        if self._kind in ("interpreter", "process"):
            return self.submit(run_coroutine, fn, args, kwargs)
        runner = self._coroutine_runner()
        future = runner.submit(fn, args, kwargs)
        if self._inline and runner.ident != threading.get_ident():
            future.exception()
        return future

    def _coroutine_runner(self) -> CoroutineRunner:
        self._is_worker()  # raises where __init__ was not called
        with self._runner_lock:
            if self._runner is None:
                from ._coroutines import CoroutineRunner

                if self._closed:
                    raise PoolClosed("cannot submit to this pool: it was shut down; make a new SafeThreadPool")
                self._runner = CoroutineRunner(self, f"{self._thread_name_prefix}_loop", self._daemon)
            return self._runner

    def _loop_thread(self) -> int:
        """The thread of the loop that coroutine functions run on; 0 where there is none any more."""
        return 0 if self._closed else self._coroutine_runner().ident

    def _refuse_own_wait(self, own: bool) -> None:
        """Raise where a worker, or a coroutine of this pool, would wait for itself."""
        if own or (self._runner is not None and self._runner.ident == threading.get_ident()):
            raise RuntimeError(
                "shutdown(wait=True) called by a worker of this very pool would wait for itself; use wait=False"
            )

    @overload
    def map(
        self,
        fn: Callable[..., Coroutine[Any, Any, T]],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool = False,
        return_exceptions: Literal[False] = False,
    ) -> MapResult[T]: ...
    @overload
    def map(
        self,
        fn: Callable[..., Coroutine[Any, Any, T]],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool = False,
        return_exceptions: bool,
    ) -> MapResult[T | Exception]: ...
    @overload
    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool = False,
        return_exceptions: Literal[False] = False,
    ) -> MapResult[T]: ...
    @overload
    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool = False,
        return_exceptions: bool,
    ) -> MapResult[T | Exception]: ...
    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool = False,
        return_exceptions: bool = False,
    ) -> MapResult[Any]:
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
        return self._start_map("map", fn, iterables, timeout, chunksize, buffersize, progress, return_exceptions)

    def _start_map(
        self,
        name: str,
        fn: Callable[..., T],
        iterables: tuple[Iterable[Any], ...],
        timeout: float | None,
        chunksize: int,
        buffersize: int | None,
        progress: bool,
        return_exceptions: bool,
        fail_fast: bool = False,
        lanes: int = 0,
        since: int | None = None,
    ) -> MapResult[T]:
        self._is_worker()  # raises where __init__ was not called
        where, run = self, None
        if self._kind == "interpreter" and not self._closed:
            where, run = self._map_threads(), self._batches
        elif self._processes is not None:
            run = self._batches
        return start_map(
            name,
            where,
            fn,
            iterables,
            timeout=timeout,
            chunksize=chunksize,
            buffersize=buffersize,
            progress=progress,
            return_exceptions=return_exceptions,
            fail_fast=fail_fast,
            batches=run,
            lanes=lanes,
            since=since,
        )

    def _map_threads(self) -> SafeThreadPool:
        """Those that send the runs of maps to interpreters: two a worker, so that its next run is there in time."""
        with self._runner_lock:
            if self._maps is None:
                self._maps = SafeThreadPool(
                    2 * self._max_workers, f"{self._thread_name_prefix}_map", daemon=self._daemon, isolation="none"
                )
            return self._maps

    def _batches(self, fn: Callable[..., Any], single: bool, fail_fast: bool) -> Callable[[list[Any]], Any]:
        if _runtime.is_coroutine_function(fn):
            fn = functools.partial(await_item, fn)
        from . import _runs

        if self._processes is not None:
            send = self._processes.sender(fn, single, fail_fast)
        else:
            from . import _interpreters

            send = _interpreters.sender(self, fn, single, fail_fast)
        return lambda items: _runs.outcome_of(send, items, fail_fast)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False, timeout: float | None = None) -> bool:  # type: ignore[override]
        """Take no more calls; with ``wait``, return when all workers are gone, or after ``timeout`` seconds.

        ``cancel_futures`` cancels what is queued. Returns False if the time ran out, else True. Raises
        ``RuntimeError``, and does nothing, where a worker or a coroutine of this pool would wait for itself.
        """
        own = self._is_worker()  # raises where __init__ was not called
        if wait:
            self._refuse_own_wait(own)
        by = f"{threading.current_thread().name} called shutdown()"
        with self._runner_lock:
            maps = self._maps
        if maps is None:
            self._close(by)
        else:
            self._refuse(by)
            maps._close(by)
        if cancel_futures:
            self._cancel_all_queued()
        with self._runner_lock:
            runner = self._runner  # none is made in a closed pool
        if runner is not None:
            runner.close()
        if not wait:
            if maps is not None:  # their runs come yet
                threading.Thread(target=self._close_after_maps, args=(by,), daemon=self._daemon).start()
            return True
        left = time_left(timeout)
        if maps is not None:
            if not maps._join(left()):
                return False
            self._close(by)
        if not self._join(left()):
            return False
        return runner is None or runner.join(left())

    def _close_after_maps(self, by: str) -> None:
        if self._maps is not None:
            self._maps._join(None)
        self._close(by)

    def _cancel_all_queued(self) -> None:
        if self._maps is not None:
            self._maps._cancel_queued()
        self._cancel_queued()

    def _abort(self) -> None:
        """End because the block around the pool was interrupted: cancel what is queued, ask the running to stop."""
        by = f"{threading.current_thread().name} was interrupted in its with block"
        self._close(by)
        self._cancel_all_queued()
        if self._maps is not None:
            self._maps._close(by)
            self._maps._stop_running()
        self._stop_running()
        if self._runner is not None:
            self._runner.cancel_all()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._refuse_own_wait(self._is_worker())
        if _runtime.means_to_stop(error):
            self._abort()
        try:
            self.shutdown(wait=True)
        except BaseException:  # Ctrl-C came while it waited
            self._abort()
            if self._kind in ("interpreter", "process"):
                self.shutdown(wait=True, timeout=_LAST_WORDS)
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._refuse_own_wait(self._is_worker())
        if _runtime.means_to_stop(error):
            self._abort()
        self.shutdown(wait=False)
        gone: SafeFuture[bool] = SafeFuture()
        # A thread of its own: the loop's default executor may be this very pool.
        threading.Thread(target=lambda: gone.set_result(self.shutdown()), name="SafeThreadPool-exit").start()
        try:
            await gone
        except BaseException:
            self._abort()
            raise

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"cannot pickle or copy {self!r}: its threads live in one process; pass what they are to do, and make a "
            "SafeThreadPool there"
        )

    def __repr__(self) -> str:
        if not hasattr(self, "_runner_lock"):
            return f"<{type(self).__name__} not made completely>"
        state = "closed" if self._closed else "open"
        return f"<SafeThreadPool {self._thread_name_prefix!r} max_workers={self._max_workers} {state}>"
