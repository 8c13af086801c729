"""A background event loop for the coroutine functions that are submitted to a pool."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import threading
import weakref
from typing import TYPE_CHECKING, Any

from . import _runtime
from .errors import BrokenPool, CallCancelled, PoolClosed
from .future import SafeFuture

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._native import PoolCore

__all__ = ["CoroutineRunner"]

_drained = _runtime.draining  # the interpreter ends; a new loop would not be waited for
_runners: weakref.WeakSet[CoroutineRunner] = weakref.WeakSet()
# Of a forked child's parent: ending one here would be seen there, or be complained of.
_lost: list[tuple[asyncio.AbstractEventLoop, dict[SafeFuture[Any], asyncio.Task[Any]]]] = []


class CoroutineRunner:
    """One thread with one loop; runs coroutine functions as tasks. Any thread may call its methods.

    Its thread keeps it; when the pool is dropped, or closes it, the thread ends with the last task.
    """

    def __init__(self, pool: PoolCore, name: str, daemon: bool) -> None:
        if _drained:
            raise PoolClosed("cannot submit to this pool: the interpreter is shutting down")
        self._pool = weakref.ref(pool, lambda _: self.close())
        self._name = name
        self._daemon = daemon
        self._lock = threading.RLock()  # the collector may drop the pool wherever this thread is
        self._closed = False  # guarded by _lock
        self._begin()
        _runners.add(self)

    def _begin(self) -> None:
        self._futures: set[SafeFuture[Any]] = set()  # guarded by _lock
        self._tasks: dict[SafeFuture[Any], asyncio.Task[Any]] = {}  # the loop's thread only
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=self._daemon)
        self._lost = True  # guarded by _lock: there is no thread (this is a forked child, or it broke)
        try:
            self._thread.start()
        except BaseException:
            self._loop.close()
            raise
        self._lost = False

    @property
    def ident(self) -> int:
        """The loop's thread; 0 where it is not there: the number of one that has ended is another's soon."""
        return 0 if self._lost or not self._thread.is_alive() else self._thread.ident or 0

    @property
    def active(self) -> int:
        """How many coroutines have not ended."""
        with self._lock:
            return sum(not future.done() for future in self._futures)

    def submit(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> SafeFuture[Any]:
        future: SafeFuture[Any] = SafeFuture()
        context = contextvars.copy_context()
        context.run(_runtime.coroutine_call.set, future)
        reference = weakref.ref(future)
        future._set_cancel_hook(lambda: self._ask_to_cancel(reference))
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
        if timeout is not None:
            timeout = max(0.0, timeout) if timeout < threading.TIMEOUT_MAX else None
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def cancel_all(self) -> None:
        """Cancel every task."""
        with self._lock:
            futures = list(self._futures)
        for future in futures:
            future.cancel()

    @staticmethod
    def begin_to_close_all() -> None:
        """Have those without a task end, and the others with their last one, without waiting."""
        for runner in list(_runners):
            runner.close()

    @staticmethod
    def close_all() -> None:
        """At exit: close all, wait for those that are no daemons."""
        global _drained
        while True:
            runners = list(_runners)
            _drained = all(runner._closed for runner in runners)  # else a coroutine may make a pool meanwhile
            for runner in runners:
                runner.close()
            for runner in runners:
                if not runner._thread.daemon:
                    runner.join()
            if _drained:
                return

    def _forked(self) -> None:
        if self._thread is threading.current_thread():
            return
        self._lock = threading.RLock()  # the old one may be held by a thread of the parent
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
        loop = self._loop
        asyncio.set_event_loop(loop)
        try:
            self._run_to_the_end(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
        except BaseException as error:
            if not self._break(loop, error):
                raise
        else:
            loop.close()

    def _run_to_the_end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Until the pool is closed and the last task over: what stops the loop before is one task of many."""
        while True:
            try:
                loop.run_forever()
            except (KeyboardInterrupt, SystemExit) as error:
                text = f"a task on the loop of a pool raised {type(error).__name__}; the loop goes on"
                with contextlib.suppress(KeyboardInterrupt, SystemExit):
                    loop.call_exception_handler({"message": text, "exception": error})
            with self._lock:
                if self._closed and not self._futures:
                    return

    def _break(self, loop: asyncio.AbstractEventLoop, error: BaseException) -> bool:
        """The loop cannot go on: all that is pending fails; the next coroutine gets a new loop. False: nothing was."""
        with self._lock:
            futures, self._futures, self._tasks = self._futures, set(), {}
            self._lost = True
        for future in futures:
            broken = BrokenPool(f"the loop that ran this pool's coroutines broke: {error!r}")
            broken.__cause__ = error
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                future.set_exception(broken)
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with contextlib.suppress(BaseException):
                coroutine: Any = task.get_coro()
                coroutine.close()
        with contextlib.suppress(Exception):
            loop.close()
        return bool(futures)

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
            with contextlib.suppress(concurrent.futures.InvalidStateError):  # the loop broke meanwhile
                future.set_exception(error)
        else:
            future.set_result(result)
        finally:
            self._tasks.pop(future, None)
            self._leave(future)
            del future, fn, args, kwargs  # the traceback of what it raised refers to this frame

    def _leave(self, future: SafeFuture[Any]) -> None:
        with self._lock:
            self._futures.discard(future)
        self._stop_if_idle()

    def _stop_if_idle(self) -> None:
        with self._lock:
            idle = self._closed and not self._futures
        if idle:
            self._loop.stop()

    def _ask_to_cancel(self, reference: weakref.ref[SafeFuture[Any]]) -> None:
        future = reference()
        if future is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._cancel, future)

    def _cancel(self, future: SafeFuture[Any]) -> None:
        task = self._tasks.get(future)
        if task is not None:
            task.cancel()


_runtime.before_drain(CoroutineRunner.close_all)
_runtime.after_fork_in_child(CoroutineRunner.forked)
