"""Pools of worker processes: each thread of the native pool feeds one, sends it a call and waits for its answer."""

from __future__ import annotations

import os
import sys
import threading
import types
from typing import TYPE_CHECKING, Any, cast

from . import _blame, _environment, _native, _runtime, _shipping, _wire
from ._process_main import CALL, EACH, INITIALIZE
from ._worker_process import Job, WorkerProcess, prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._runs import Send
    from .future import SafeFuture
    from .thread_pool import SafeThreadPool

__all__ = ["ProcessWorkers", "open_pool"]


class ProcessWorkers:
    """The processes of one pool."""

    def __init__(
        self, name: str, initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = ()
    ) -> None:
        self._name = name
        self._environment = _environment.capture()
        try:
            self._directory = os.getcwd()
        except OSError:  # it is gone
            self._directory = os.sep
        self._first: Job | None = None
        if initializer is not None:
            self._first = _job(INITIALIZE, initializer, (initargs, {}), "the initargs")
        self._by_thread: dict[int, WorkerProcess] = {}  # each thread sees to its own
        self._started: list[WorkerProcess] = []  # that no thread has taken yet
        self._owner = os.getpid()

    def start(self, count: int) -> None:
        """Start so many processes that threads will take: here nobody has to wait for the interpreter, which computes.

        Before the first call.
        """
        for _ in range(count):
            made = self._make()
            made.start()
            self._started.append(made)

    def submit(
        self, pool: SafeThreadPool, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> SafeFuture[Any]:
        """Queue a call. Raises ``TypeError`` that names what cannot be copied. Any thread."""
        return pool._submit_thread(self._call, _job(CALL, fn, (args, kwargs)))

    def sender(self, fn: Callable[..., Any], single: int, fail_fast: bool) -> Send:
        """What has this thread's process do the items of a run of a map. On the pool's threads."""
        job = _job_of_runs(fn, single, fail_fast)
        return lambda items: self._call(job(items))

    def runs(
        self, pool: SafeThreadPool, fn: Callable[..., Any], single: int, fail_fast: bool
    ) -> Callable[[list[Any]], SafeFuture[Any]]:
        """What queues the items of a run of a map as one call, whose result is that of ``call_each``. Any thread."""
        job = _job_of_runs(fn, single, fail_fast)
        return lambda items: pool._submit_thread(self._call, job(items))

    def begin(self) -> None:
        """Start the process of this thread and have it run the initializer. Raises what that raised."""
        self._process().begin()

    def _call(self, job: Job) -> Any:
        """The call of one job, on a thread of the pool."""
        return _wire.loads(self._run(job))

    def _run(self, job: Job) -> bytes:
        """The answer to a job, by this thread's process."""
        process = self._process()
        if not process.busy:
            return process.run(job)
        other = self._make()  # what a call prints has led to another call
        try:
            return other.run(job)
        finally:
            other.end()

    def _process(self) -> WorkerProcess:
        if self._owner != os.getpid():  # forked: none of them is this process's
            self._owner = os.getpid()
            self._by_thread.clear()
            self._started.clear()
        ident = threading.get_ident()
        found = self._by_thread.get(ident)
        if found is None:
            found = made = self._by_thread[ident] = self._take()

            def end() -> None:
                self._by_thread.pop(ident, None)
                made.end()
                while not self._by_thread and self._started:
                    self._take().end()

            cast("_runtime.WorkerThread", threading.current_thread()).at_end.append(end)
        return found

    def _take(self) -> WorkerProcess:
        try:
            return self._started.pop()
        except IndexError:
            return self._make()

    def _make(self) -> WorkerProcess:
        return WorkerProcess(self._name, self._environment, self._directory, self._first)


def open_pool(
    pool: SafeThreadPool, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
) -> ProcessWorkers:
    """Make ``pool`` one of processes. Raises ``TypeError`` where the initializer cannot be shipped."""
    prepare()
    name = str(pool._thread_name_prefix)
    processes = ProcessWorkers(name, initializer, initargs)
    first = None if initializer is None else processes.begin
    pool._open(pool._max_workers, name, first, (), False, pool._daemon, threading.stack_size())
    pool._delegate()
    return processes


# --- what is sent


# What lasts as long as its module; a shipment keeps its function, so that others would never go.
_shipments: dict[types.FunctionType, _shipping.Shipment] = {}
MOST_SHIPMENTS = 256


def ship(fn: Callable[..., Any]) -> bytes:
    """The current bytes of a function; those of before where nothing has changed that it reaches."""
    lasts = isinstance(fn, types.FunctionType) and fn.__closure__ is None and "<" not in fn.__qualname__
    if lasts:
        known = _shipments.get(cast("types.FunctionType", fn))
        if known is not None and known.checks is not None and _shipping.still_valid(known.checks):
            return known.blob
    with _RefusingHandles():
        shipment = _shipping.ship(fn)
    if lasts and shipment.checks is not None:
        if len(_shipments) >= MOST_SHIPMENTS:
            _shipments.clear()
        _shipments[cast("types.FunctionType", fn)] = shipment
    return shipment.blob


def dumps(value: object, what: str) -> bytes:
    with _RefusingHandles():
        return _wire.dumps(value, what)


class _RefusingHandles:
    """Meanwhile, on this thread, shared containers say that another process cannot have them."""

    def __enter__(self) -> None:
        self._before = _native.refuse_handles(True)

    def __exit__(self, *_: object) -> None:
        _native.refuse_handles(self._before)


def _job(kind: int, fn: Callable[..., Any], given: Any, what: str | None = None) -> Job:
    name = _blame.name(fn)
    arguments = dumps(given, what or _blame.BOTH + name)
    return Job(kind, ship(fn), name, arguments, (sys.stdout, sys.stderr))


def _job_of_runs(fn: Callable[..., Any], single: int, fail_fast: bool) -> Callable[[list[Any]], Job]:
    blob, name, output = ship(fn), _blame.name(fn), (sys.stdout, sys.stderr)

    def job(items: list[Any]) -> Job:
        return Job(EACH, blob, name, dumps((items, single, fail_fast), _blame.ITEM + name), output)

    return job
