"""SafeThread: a ``threading.Thread`` that has a result."""

from __future__ import annotations

import concurrent.futures
import threading
import types
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

from . import _native, _runtime
from .errors import CallCancelled
from .future import SafeFuture
from .isolation import Isolation, resolve_isolation
from .thread_pool import SafeThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping

__all__ = ["SafeThread"]

T = TypeVar("T")

_running: dict[SafeThread[Any], int] = {}  # by which thread each is run; 0 until it begins


class SafeThread(threading.Thread, Generic[T]):
    """A ``threading.Thread`` in every respect, with the result of its target, which can also be awaited.

    A target that is a coroutine function is run by ``asyncio.run``, in the thread.
    ``isolation="inline"``: ``start()`` runs it in the caller; other values as for ``SafeThreadPool``: the target runs
    in a worker of its own, an overridden ``run`` is a ``TypeError``, and ``start()`` raises ``TypeError`` for arguments
    that cannot be copied. An exception goes to ``threading.excepthook``, too,
    which ignores ``SystemExit`` where it was not replaced.

    >>> thread = SafeThread(target=pow, args=(2, 10))
    >>> thread.start()
    >>> thread.get_result()
    1024
    """

    _inline = _begun = False  # also where __init__ was not called
    _own_run: Callable[[], Any] | None = None  # set on the instance by the user

    def __init__(
        self,
        group: None = None,
        target: Callable[..., T] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
        isolation: Isolation | None = "none",
    ) -> None:
        kind = resolve_isolation(isolation)
        isolated = kind not in ("none", "inline")
        if isolated and (target is None or getattr(type(self), "run", None) is not SafeThread.__dict__["run"]):
            raise TypeError(f"isolation={isolation!r} needs a target: run() would be called in this interpreter")
        super().__init__(group, target, name, args, kwargs, daemon=daemon)
        self._inline = kind == "inline"
        self._isolation: Any = kind if isolated else None
        self._begun = False
        self.future: SafeFuture[T] = SafeFuture()
        """What the thread returns, as a future. Any thread."""
        self._body: Callable[[], Any] | None = None

    def start(self) -> None:
        """Start the thread, once. Raises ``RuntimeError`` if it was started, or cannot be."""
        if not self._initialized:  # type: ignore[attr-defined]
            raise RuntimeError("thread.__init__() not called")
        if self._begun:
            raise RuntimeError("threads can only be started once")
        self._begun = True
        # The instance's `run` hides the class's, so that what an overridden one returns is kept as well.
        self._body = self.run
        self._own_run = self.__dict__.get("run")
        self.run = self._run_body  # type: ignore[method-assign]
        _running[self] = 0
        if self._inline:
            self._set_ident()  # type: ignore[attr-defined]
            self._set_native_id()  # type: ignore[attr-defined]
            self._started.set()  # type: ignore[attr-defined]
            self.run()
            return
        pool: SafeThreadPool | None = None
        try:
            if self._isolation is not None:
                pool = SafeThreadPool(1, self.name, isolation=self._isolation, daemon=self.daemon)
                self._body = self._shipped(pool)
            super().start()
        except BaseException:
            if pool is not None:
                pool._abort()
            _running.pop(self, None)
            self._begun = False
            self._body = None
            self._show_run()
            raise

    def _shipped(self, pool: SafeThreadPool) -> Callable[[], Any]:
        """What the thread does: wait for the target, which runs in the pool's one worker."""
        target = cast("Callable[..., Any]", self._target)  # type: ignore[attr-defined]
        call: SafeFuture[Any] = pool.submit(target, *self._args, **self._kwargs).detach()  # type: ignore[attr-defined]
        self.future._set_cancel_hook(call.cancel)

        def wait() -> Any:
            if self.future.cancelled() or self.future._stop_requested():
                call.cancel()
            del self._target, self._args, self._kwargs  # type: ignore[attr-defined]
            try:
                error = call.exception()
            except concurrent.futures.CancelledError:
                raise CallCancelled("this thread was asked to stop") from None
            finally:
                self.future._set_cancel_hook(None)
                pool.shutdown()
            if error is not None:
                raise error
            return call.result()

        return wait

    def run(self) -> Any:
        """Call the target, or run it where it is a coroutine function; return what it gave. May be overridden."""
        try:
            target = cast("Callable[..., Any] | None", self._target)  # type: ignore[attr-defined]
            if target is None:
                return None
            result: Any = target(*self._args, **self._kwargs)  # type: ignore[attr-defined]
            awaitable = hasattr(result, "__await__") or isinstance(cast("object", result), types.GeneratorType)
            if awaitable and _runtime.is_coroutine_function(target):
                import asyncio

                return asyncio.run(self._as_task(result))
            return result
        finally:
            del self._target, self._args, self._kwargs  # type: ignore[attr-defined]

    async def _as_task(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await ``coroutine``; ``cancel()`` cancels it."""
        import asyncio

        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self.future._set_cancel_hook(lambda: loop.call_soon_threadsafe(task.cancel))
        try:
            if self.future._stop_requested():
                task.cancel()
            return await coroutine
        except asyncio.CancelledError:
            if self.future._stop_requested():
                raise CallCancelled from None
            raise
        finally:
            self.future._set_cancel_hook(None)

    def _show_run(self) -> None:
        """Have ``run`` be again what it was before ``start``."""
        own, self._own_run = self._own_run, None
        if own is None:
            del self.run
        else:
            self.run = own  # type: ignore[method-assign]

    def _run_body(self) -> None:
        body, self._body = self._body, None
        self._show_run()
        assert body is not None
        _running[self] = threading.get_ident()
        try:
            self._complete(body)
        finally:
            _running.pop(self, None)

    def _complete(self, body: Callable[[], Any]) -> None:
        future = self.future
        future.set_running_or_notify_cancel()
        try:
            result = _native.run_as_current(future, body)
        except CallCancelled:
            future._set_cancelled()
        except BaseException as error:
            try:
                self._invoke_excepthook(self)  # type: ignore[attr-defined]  # reports a hook that raises
            finally:
                future.set_exception(error)
                future.mark_retrieved()
        else:
            future.set_result(result)

    def _check_begun(self) -> None:
        if not self._initialized:  # type: ignore[attr-defined]
            raise RuntimeError("Thread.__init__() not called")
        if not self._begun:
            raise RuntimeError(f"{self.name} was not started: call start() before asking for its result")

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"cannot pickle or copy {self!r}: a thread lives in one process; pass its get_result(), or its target and "
            "arguments, instead"
        )

    def __repr__(self) -> str:
        text = super().__repr__()
        # Nobody tells the base class when an inline one has ended.
        over = self._initialized and self._inline and self._begun and self.future.done()  # type: ignore[attr-defined]
        head, found, tail = text.rpartition(", started")
        return f"{head}, stopped{tail}" if over and found else text

    def is_alive(self) -> bool:
        """Return True while the thread runs."""
        if not self._initialized:  # type: ignore[attr-defined]
            raise RuntimeError("Thread.__init__() not called")
        if self._inline:
            return self._begun and not self.future.done()
        return super().is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread ends, ``timeout`` seconds at most."""
        if self._inline:
            self._check_begun()
            return
        super().join(timeout)

    def get_result(self, timeout: float | None = None) -> T:
        """Return what the thread returned, or raise what it raised; wait ``timeout`` seconds at most.

        Raises ``TimeoutError``, and ``RuntimeError`` before ``start``. Any thread.
        """
        self._check_begun()
        return self.future.result(timeout)

    def get_exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the thread raised, or None; as ``get_result``."""
        self._check_begun()
        return self.future.exception(timeout)

    def cancel(self) -> None:
        """Ask the thread to stop: ``check_cancelled`` and ``sleep`` in it raise ``CallCancelled``. Any thread."""
        if not self._initialized:  # type: ignore[attr-defined]
            raise RuntimeError("Thread.__init__() not called")
        if not self._begun:
            raise RuntimeError(f"{self.name} was not started: there is nothing to stop")
        self.future.cancel()

    def __await__(self) -> Generator[Any, None, T]:
        self._check_begun()
        return self.future.detach().__await__()


def _forked() -> None:
    """Only the thread that has forked runs on in the child."""
    lost = [thread for thread, ident in _running.items() if ident != threading.get_ident()]
    for thread in lost:
        del _running[thread]
        _runtime.lose(thread.future, thread.name)


_runtime.after_fork_in_child(_forked)
