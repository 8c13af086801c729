"""What native code needs of Python: reports, worker threads, loops that only the reactor can wake, exit and fork."""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import contextvars
import functools
import logging
import os
import queue
import sys
import threading
import types
import weakref
from typing import TYPE_CHECKING, Any

from . import _native, errors
from .future import SafeFuture

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__: list[str] = []

LOGGER = logging.getLogger("pyferris")
is_worker_process = False  # this process is a worker of a pool in another

_CO_COROUTINES = 0x80 | 0x100  # inspect.CO_COROUTINE, and what types.coroutine makes

# Modules that take long to import, and that not every program needs, are imported where they are used: asyncio and
# inspect make two thirds of what `import pyferris.safe_thread` would take, in a worker process as well.

# The future of the coroutine in whose context this is. Tasks, and threads of `asyncio.to_thread`, have it from theirs.
coroutine_call: contextvars.ContextVar[SafeFuture[Any] | None] = contextvars.ContextVar(
    "pyferris_coroutine_call", default=None
)


def is_coroutine_function(fn: object) -> bool:
    """True where calling ``fn`` makes a coroutine; also for an object with an async ``__call__``."""
    inner = fn
    while isinstance(inner, (functools.partial, types.MethodType)):
        inner = inner.func if isinstance(inner, functools.partial) else inner.__func__
    if isinstance(inner, types.FunctionType):
        if inner.__code__.co_flags & _CO_COROUTINES:
            return True
        if not inner.__dict__:  # nothing that `inspect` would see
            return False
    if isinstance(inner, (types.BuiltinFunctionType, type)):
        return False
    import inspect

    if inspect.iscoroutinefunction(fn):
        return True
    while isinstance(fn, functools.partial):
        fn = fn.func
    call = getattr(type(fn), "__call__", None)  # noqa: B004
    return isinstance(call, types.FunctionType) and inspect.iscoroutinefunction(call)


def means_to_stop(error: BaseException | None) -> bool:
    """Whether a block that is left by ``error`` was interrupted or cancelled."""
    if isinstance(error, (KeyboardInterrupt, SystemExit, errors.CallCancelled)):
        return True
    cancelled: Any = getattr(sys.modules.get("asyncio"), "CancelledError", ())
    return isinstance(error, cancelled)


def report_unretrieved(exception: BaseException) -> None:
    # The call itself is gone by now; the first frame that is not ours is where it began.
    traceback = exception.__traceback__
    while traceback is not None and traceback.tb_frame.f_globals.get("__package__") == __package__:
        traceback = traceback.tb_next
    where = "" if traceback is None else f" in {traceback.tb_frame.f_code.co_qualname}()"
    LOGGER.error("a call failed%s and nobody looked at its outcome", where, exc_info=exception)


def report_callback(future: object, callback: object, exception: BaseException) -> None:
    LOGGER.error("exception calling callback %r of %r", callback, future, exc_info=exception)


def report_initializer(exception: BaseException) -> None:
    LOGGER.critical("Exception in initializer:", exc_info=exception)


class WorkerThread(threading.Thread):
    """Stands for a native worker in ``threading.enumerate()``; made on the worker itself, never started."""

    def __init__(self, name: str, daemon: bool) -> None:
        self._over = threading.Event()  # first: a fork may come as soon as the base class has registered the thread
        super().__init__(name=name, daemon=daemon)
        self._started.set()  # type: ignore[attr-defined]
        self._set_ident()  # type: ignore[attr-defined]
        self._set_native_id()  # type: ignore[attr-defined]
        self.at_end: list[Callable[[], object]] = []  # called on the worker before it goes
        make_handle: Any = getattr(threading, "_make_thread_handle", None)  # from Python 3.13 on
        if make_handle is not None:
            self._handle: Any = make_handle(self.ident)
        with threading._active_limbo_lock:  # type: ignore[attr-defined]
            threading._active[self.ident] = self  # type: ignore[attr-defined]

    def is_alive(self) -> bool:
        return not self._over.is_set()

    def join(self, timeout: float | None = None) -> None:
        if self is threading.current_thread():
            raise RuntimeError("cannot join current thread")
        self._over.wait(timeout)

    def _after_fork(self, new_ident: int | None = None) -> None:  # from Python 3.13 on
        super()._after_fork(new_ident)  # type: ignore[misc]
        self._forked(new_ident is not None)

    def _reset_internal_locks(self, is_alive: bool) -> None:  # until Python 3.12
        super()._reset_internal_locks(is_alive)  # type: ignore[misc]
        self._forked(is_alive)

    def _forked(self, is_alive: bool) -> None:
        self._over._at_fork_reinit()  # type: ignore[attr-defined]
        if not is_alive:
            self._over.set()

    def leave(self) -> None:
        with threading._active_limbo_lock:  # type: ignore[attr-defined]
            threading._active.pop(self.ident, None)  # type: ignore[attr-defined]
        self._over.set()


def worker_started(name: str, daemon: bool) -> WorkerThread:
    thread = WorkerThread(name, daemon)
    trace, profile = threading.gettrace(), threading.getprofile()
    if trace is not None:
        sys.settrace(trace)
    if profile is not None:
        sys.setprofile(profile)
    return thread


def worker_stopped(thread: WorkerThread) -> None:
    try:
        for function in thread.at_end:
            function()
    finally:
        thread.leave()


# Loops that cannot watch a descriptor of ours: what drains their finished calls. A loop keeps its own alive.
_drains: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Callable[[], None]] = weakref.WeakKeyDictionary()


def reactor_connect(loop: asyncio.AbstractEventLoop, drain: Callable[[], None]) -> Any:
    _drains[loop] = drain
    return weakref.ref(loop)


def reactor_wake(reference: weakref.ref[asyncio.AbstractEventLoop]) -> bool:
    loop = reference()
    if loop is None:
        return False
    try:
        loop.call_soon_threadsafe(_drains[loop])
    except RuntimeError:
        if not loop.is_closed():
            raise
        _drains.pop(loop, None)
        return False
    return True


_before_drain: list[Callable[[], object]] = []
_after_drain: list[Callable[[], object]] = []
draining = False  # the interpreter ends
_stuck = False  # an interpreter runs on that could not be stopped


def before_drain(function: Callable[[], object]) -> None:
    """Have ``function`` called at exit before the pools are drained; not if that has begun."""
    if not draining:
        _before_drain.insert(0, function)


def after_drain(function: Callable[[], object]) -> None:
    """Have ``function`` called at exit when the pools are drained."""
    _after_drain.append(function)


def _drain() -> None:
    global _stuck, draining
    draining = True
    try:
        for function in _before_drain:
            function()
        _stuck = _native.drain_pools() is False
    except BaseException:  # Ctrl-C: nobody waits any longer
        _stuck = _native.abandon_pools() is False
        raise
    finally:
        for function in _after_drain:
            function()


def _leave_if_stuck() -> None:
    """Registered first, so that it runs last: CPython aborts when it ends while another interpreter runs."""
    if not _stuck:
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(1 if getattr(sys, "last_value", None) is not None else 0)


_in_child: list[Callable[[], None]] = [_native.after_fork_in_child]


def after_fork_in_child(function: Callable[[], None]) -> None:
    """Have ``function`` called in a forked child, when futures can be used there."""
    _in_child.append(function)


def lose(future: SafeFuture[Any], what: str) -> None:
    """In a forked child: end ``future``, unless it has ended."""
    with contextlib.suppress(concurrent.futures.InvalidStateError):
        future.set_exception(errors.BrokenPool(f"{what} was pending when the process forked: only the parent runs it"))
    future.mark_retrieved()  # it is the parent's to report


_locks: weakref.WeakSet[Any] = weakref.WeakSet()


def make_lock() -> threading.RLock:
    """A lock that a forked child finds free, but where the thread that forked holds it: the others are not there."""
    lock = threading.RLock()
    _locks.add(lock)
    return lock


def _forked() -> None:
    for lock in list(_locks):
        if not lock._is_owned():
            lock._at_fork_reinit()
    for function in _in_child:
        function()


def _install() -> None:
    _native.install(
        safe_future=SafeFuture,
        pool_closed=errors.PoolClosed,
        broken_pool=errors.BrokenPool,
        shut_down=errors.ShutDown,
        queue_empty=queue.Empty,
        queue_full=queue.Full,
        cf_cancelled_error=concurrent.futures.CancelledError,
        cf_invalid_state_error=concurrent.futures.InvalidStateError,
        timeout_error=TimeoutError,
        condition_type=threading.Condition,
        report_unretrieved=report_unretrieved,
        report_callback=report_callback,
        report_initializer=report_initializer,
        worker_started=worker_started,
        worker_stopped=worker_stopped,
        reactor_connect=reactor_connect,
        reactor_wake=reactor_wake,
        is_coroutine_function=is_coroutine_function,
        coroutine_call=coroutine_call,
    )
    if os.environ.get("PYFERRIS_LOOP_BRIDGE") == "reactor":
        _native.force_reactor(True)
    atexit.register(_leave_if_stuck)
    try:
        threading._register_atexit(_drain)  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):  # not there, or the interpreter is ending already
        atexit.register(_drain)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_native.before_fork,
            after_in_parent=_native.after_fork_in_parent,
            after_in_child=_forked,
        )


_install()
