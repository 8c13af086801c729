"""A background event loop for the coroutine functions that are submitted to a pool."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import weakref
from typing import TYPE_CHECKING, Any

from . import _runtime
from .errors import CallCancelled, PoolClosed
from .future import SafeFuture

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._native import PoolCore

__all__ = ["CoroutineRunner"]

_runners: weakref.WeakSet[CoroutineRunner] = weakref.WeakSet()
# Of a forked child's parent: ending one here would be seen there, or be complained of.
_lost: list[tuple[asyncio.AbstractEventLoop, dict[SafeFuture[Any], asyncio.Task[Any]]]] = []


class CoroutineRunner:
    """One thread with one loop; runs coroutine functions as tasks. Any thread may call its methods."""

    def __init__(self, pool: PoolCore, name: str, daemon: bool) -> None:
        self._pool = weakref.ref(pool)
        self._name = name
        self._daemon = daemon
        self._lock = threading.Lock()
        self._closed = False  # guarded by _lock
        self._begin()
        _runners.add(self)

    def _begin(self) -> None:
        self._futures: set[SafeFuture[Any]] = set()  # guarded by _lock
        self._tasks: dict[SafeFuture[Any], asyncio.Task[Any]] = {}  # the loop's thread only
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=self._daemon)
        self._lost = False  # guarded by _lock: this is a forked child, the thread is its parent's
        self._thread.start()

    @property
    def ident(self) -> int:
        """The loop's thread; 0 where it is not there."""
        return 0 if self._lost else self._thread.ident or 0

    @property
    def active(self) -> int:
        """How many coroutines have not ended."""
        return len(self._futures)

    def submit(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> SafeFuture[Any]:
        future: SafeFuture[Any] = SafeFuture()
        context = contextvars.copy_context()
        context.run(_runtime.coroutine_call.set, future)
        future._set_cancel_hook(lambda: self._loop.call_soon_threadsafe(self._cancel, future))
        with self._lock:
            if self._closed:
                raise PoolClosed("cannot submit to this pool: it was shut down; make a new SafeThreadPool")
            if self._lost:
                self._begin()
            pool = self._pool()
            if pool is not None:
                future._set_loop(self.ident, pool)
            self._futures.add(future)
            self._loop.call_soon_threadsafe(self._start, future, fn, args, kwargs, context)
        return future

    def close(self) -> None:
        """Take no more; the thread ends with the last task."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._lost:
                return
            self._loop.call_soon_threadsafe(self._stop_if_idle)

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread, at most ``timeout`` seconds; False if the time ran out."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def cancel_all(self) -> None:
        """Cancel every task."""
        with self._lock:
            futures = list(self._futures)
        for future in futures:
            future.cancel()

    @staticmethod
    def close_all() -> None:
        """At exit: close all, wait for those that are no daemons."""
        runners = list(_runners)
        for runner in runners:
            runner.close()
        for runner in runners:
            if not runner._thread.daemon:
                runner.join()

    def _forked(self) -> None:
        if self._thread is threading.current_thread():
            return
        self._lock = threading.Lock()  # the old one may be held by a thread of the parent
        futures, self._futures = self._futures, set()
        _lost.append((self._loop, self._tasks))
        self._lost = True
        for future in futures:
            _runtime.lose(future, "this coroutine")

    @staticmethod
    def forked() -> None:
        """In a forked child: what was running is lost; a new thread starts with the next coroutine."""
        for runner in list(_runners):
            runner._forked()

    def _run(self) -> None:
        pool = self._pool()
        if pool is not None:
            pool._become_loop()
        del pool
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    def _start(
        self,
        future: SafeFuture[Any],
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: contextvars.Context,
    ) -> None:
        if not future.done() and future.set_running_or_notify_cancel():
            self._tasks[future] = self._loop.create_task(self._call(future, fn, args, kwargs), context=context)
        else:
            self._leave(future)

    async def _call(
        self, future: SafeFuture[Any], fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        try:
            try:
                result = await fn(*args, **kwargs)
            finally:
                _runtime.coroutine_call.set(None)  # not for callbacks of the future
        except (asyncio.CancelledError, CallCancelled):
            future._set_cancelled()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        finally:
            self._tasks.pop(future, None)
            self._leave(future)

    def _leave(self, future: SafeFuture[Any]) -> None:
        with self._lock:
            self._futures.discard(future)
        self._stop_if_idle()

    def _stop_if_idle(self) -> None:
        with self._lock:
            idle = self._closed and not self._futures
        if idle:
            self._loop.stop()

    def _cancel(self, future: SafeFuture[Any]) -> None:
        task = self._tasks.get(future)
        if task is not None:
            task.cancel()


_runtime.after_fork_in_child(CoroutineRunner.forked)
