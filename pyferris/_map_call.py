"""One call of ``safe_parallel_map``: who runs its items, and what is said of it afterwards."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any, TypeVar

from . import _kept_pool, _native, _runtime
from ._auto import Driver
from ._auto_caller import number_from, number_of
from .isolation import resolve_isolation
from .map_report import ExplainedList, MapReport
from .map_result import MapResult, check_arguments, start_map
from .thread_pool import SafeThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["ParallelMap"]

R = TypeVar("R")

_LOGGER = logging.getLogger("pyferris")
_MODES = {
    "none": ("threads", "threads of this interpreter"),
    "interpreter": ("interpreters", "interpreters with a GIL of their own"),
    "process": ("processes", "worker processes"),
}


class ParallelMap:
    """One call of ``safe_parallel_map``: its mode, pool and report."""

    def __init__(self, name: str, max_workers: int | None, isolation: str | None) -> None:
        if not isinstance(max_workers, int) and hasattr(max_workers, "__iter__"):
            raise TypeError(
                f"{name}() takes one iterable, then max_workers, which is not {max_workers!r}; SafeThreadPool.map "
                "takes several iterables"
            )
        self.name = name
        self.auto = False
        kind: Any = resolve_isolation(isolation, for_map=True)
        if kind == "inline":
            self.mode, self.reason = "inline", "isolation is 'inline'"
        elif _native.is_worker() or _runtime.is_worker_process:
            kind = "inline"
            self.mode, self.reason = "inline", "called inside a worker of a pool"
        else:
            self.auto = kind == "auto"
            kind = "none" if self.auto else kind
            self.mode, what = _MODES[kind]
            self.reason = f"isolation is {isolation or 'none'!r}: {what}"
        self.driver: Driver | None = None
        self.chunks = 0  # that the caller ran by itself
        self.rest: MapResult[Any] | None = None  # the map of what it left to others
        self.began = time.perf_counter()
        self.max_workers = max_workers
        self.made: SafeThreadPool | None = None
        self.kind: Any = kind
        if max_workers is not None or not self.auto:
            self.pool()  # raises here for wrong arguments

    def pool(self) -> SafeThreadPool:
        """Made when it is first asked for: a short map of a pure function needs none."""
        if self.made is None:
            if self.kind == "none":
                self.made = _kept_pool.take(self.max_workers)
            else:
                self.made = SafeThreadPool(self.max_workers, "safe_parallel_map", isolation=self.kind)
        return self.made

    def release(self) -> SafeThreadPool | None:
        """After a map that has come to its end: the pool that is to be shut down, if there is one."""
        pool = self.made
        return None if pool is None or (self.kind == "none" and _kept_pool.give_back(pool)) else pool

    def start(
        self,
        func: Callable[[Any], R],
        data: Iterable[Any],
        return_exceptions: bool,
        *,
        chunksize: int | None = None,
        timeout: float | None = None,
        progress: bool = False,
        first: int = 0,
    ) -> MapResult[R]:
        """Have the pool run the items from number ``first`` on: each as it is when it runs, as in a loop, where the
        function cannot change them. ``data``: them all, where no driver has them yet.
        """
        if self.auto and self.driver is None:
            check_arguments(self.name, func, (data,))
            self.driver = Driver(func, list(data), self.pool, self.max_workers, not return_exceptions)
        exactly, lanes, since = 1 if chunksize is None else chunksize, 0, None
        driver = self.driver
        if driver is not None:
            driver.prepare()
            lanes = driver.lanes
            if lanes == 1 and type(driver.items) in (list, tuple) and driver.verdict.keeps_to_data:
                since = first
            elif first:
                driver.items = driver.items[first:]
            data = driver.items
        return self.pool()._start_map(
            self.name,
            func,
            (data,),
            timeout,
            exactly,
            None,
            progress,
            return_exceptions,
            fail_fast=True,
            lanes=lanes,
            since=since,
        )

    def begin(
        self,
        func: Callable[[Any], R],
        items: Sequence[Any],
        return_exceptions: bool,
    ) -> list[R] | None:
        """The results, where the caller of a pure function can begin to run it by itself: as a loop, over the items as
        they are. So does one worker that goes on with them; several have a copy.
        """
        outer = sys.exception()
        driver = self.driver = Driver(func, items, self.pool, self.max_workers, not return_exceptions)
        beginning = driver.begin(return_exceptions) if driver.lanes else None
        if beginning is None:
            return None
        results: list[R] = beginning.results
        done = beginning.run()
        self.chunks = beginning.stretches
        if done:
            return results
        first = len(results)
        if driver.shared:
            driver.items = driver.items[first:]
            rest = self.rest = start_map(
                self.name,
                self.pool(),
                func,
                (driver.items,),
                timeout=None,
                chunksize=1,
                buffersize=None,
                progress=False,
                return_exceptions=return_exceptions,
                fail_fast=True,
                batches=lambda _function, _single, _fail_fast: (
                    driver.hold
                ),  # no item here: it may change what others share
                lanes=1,
            )
        else:
            rest = self.rest = self.start(func, items, return_exceptions, first=first)
        driver.go_on(rest, beginning)
        failure: Exception | None = None
        try:
            found: list[R] = rest._results(True)
        except Exception as error:
            found, failure = [], error
        if driver.is_void:
            beginning.run(alone=True)
            return results
        found[:0] = results  # the shorter one, mostly
        results = found
        if failure is not None:
            try:
                if number_of(failure) is not None and driver.verdict.reason is None:
                    _raise_as_a_loop(func, rest._own_items() or driver.items, rest, first, outer)
                number_from(first, failure)
                raise failure
            finally:
                del failure  # which has this frame in its traceback
        if return_exceptions:
            for place in reversed(range(first, len(results))):  # one error may be that of several: the last is named
                number_from(first, results[place], place - first)
        return results

    def abort(self) -> None:
        """Cancel what is queued, ask the running to stop, wait for nobody."""
        if self.made is not None:
            self.made._abort()
            self.made.shutdown(wait=False)

    def finish(self, mapped: MapResult[R] | None, results: list[R], explain: bool) -> list[R]:
        chunks, workers, driver = self.chunks, 0, self.driver
        if mapped is not None:
            chunks, workers = chunks + mapped._runs, mapped._lanes
        if not explain and not _LOGGER.isEnabledFor(logging.DEBUG):
            return results
        if driver is not None:
            self.mode, self.reason = driver.mode, f"isolation is 'auto': {driver.reason}"
            workers = driver.workers or workers
            if not results:
                self.reason = "isolation is 'auto': there are no items"
        elif self.made is not None:
            workers = min(workers, self.made._max_workers)  # maps of interpreters have two runs a worker on their way
        report = MapReport(self.mode, self.reason, len(results), chunks, workers, time.perf_counter() - self.began)
        _LOGGER.debug("safe_parallel_map: %s", report)
        if not explain:
            return results
        explained = ExplainedList(results)
        explained.report = report
        return explained


def _raise_as_a_loop(
    func: Callable[[Any], Any],
    items: Sequence[Any],
    rest: MapResult[Any],
    first: int,
    outer: BaseException | None,
) -> None:
    """Raise what the first item raises that does, as ``rest``, the map of ``items``, has ended by another one perhaps.

    The function is pure: what was not run, or cut short, can be. ``first``: items before these. ``outer``: what is
    being handled around the loop.
    """
    for index, item in enumerate(items):
        try:
            if not _is_there(rest, index):
                try:
                    func(item)
                except StopIteration as error:
                    raise RuntimeError("the call raised StopIteration") from error
        except Exception as error:
            if number_of(error) is None:
                _native.name_item(error, index)
            number_from(first, error)
            _happens_in(outer, error)
            raise


def _is_there(rest: MapResult[Any], index: int) -> bool:
    """Once nothing is going to happen to the item any more: whether it gave a result. Raises its error."""
    try:
        rest._result(index)
    except Exception:
        if rest._has_run(index):
            raise
        return False
    return True


def _happens_in(outer: BaseException | None, error: BaseException) -> None:
    """Give an error that another thread has raised the context that it would have here."""
    last, seen = error, {id(error)}
    while last.__context__ is not None and id(last.__context__) not in seen:
        last = last.__context__
        seen.add(id(last))
    if outer is not None and id(outer) not in seen:
        last.__context__ = outer
