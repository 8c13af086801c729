"""safe_parallel_map: a list of results from a pool that it has to itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

from ._auto_aside import Aside
from ._map_call import ParallelMap
from .map_result import MapResult, check_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from .isolation import MapIsolation
    from .map_report import ExplainedList

__all__ = ["safe_parallel_map", "safe_parallel_map_async"]

T = TypeVar("T")
R = TypeVar("R")


@overload
def safe_parallel_map(
    func: Callable[[T], Coroutine[Any, Any, R]],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: MapIsolation | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: Literal[False] = False,
    explain: Literal[True],
) -> ExplainedList[R]: ...
@overload
def safe_parallel_map(
    func: Callable[[T], Coroutine[Any, Any, R]],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: MapIsolation | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: bool,
    explain: Literal[True],
) -> ExplainedList[R | Exception]: ...
@overload
def safe_parallel_map(
    func: Callable[[T], R],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: MapIsolation | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: Literal[False] = False,
    explain: Literal[True],
) -> ExplainedList[R]: ...
@overload
def safe_parallel_map(
    func: Callable[[T], R],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: MapIsolation | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: bool,
    explain: Literal[True],
) -> ExplainedList[R | Exception]: ...
@overload
def safe_parallel_map(
    func: Callable[[T], Coroutine[Any, Any, R]],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: MapIsolation | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: Literal[False] = False,
    explain: bool = False,
) -> list[R]: ...
@overload
def safe_parallel_map(
    func: Callable[[T], Coroutine[Any, Any, R]],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: MapIsolation | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: bool,
    explain: bool = False,
) -> list[R | Exception]: ...
@overload
def safe_parallel_map(
    func: Callable[[T], R],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: MapIsolation | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: Literal[False] = False,
    explain: bool = False,
) -> list[R]: ...
@overload
def safe_parallel_map(
    func: Callable[[T], R],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: MapIsolation | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: bool,
    explain: bool = False,
) -> list[R | Exception]: ...
def safe_parallel_map(
    func: Callable[[T], Any],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: MapIsolation | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: bool = False,
    explain: bool = False,
) -> list[Any]:
    """Return ``[func(item) for item in data]``, computed by the workers of a pool.

    ``max_workers``: workers at most; ``chunksize``: items a run of a worker (None: measured); ``isolation``:
    ``"none"`` and others as for ``SafeThreadPool``; ``"auto"`` isolates a pure function that computes, where
    provably the same answers come of it, sooner (before Python 3.12, in processes, from 1.5 s of work on), and is
    threads, or the caller itself, elsewhere;
    ``progress``: show a progress line; ``timeout``: seconds for the whole; ``explain``: the list has a ``report``
    (``MapReport``) of how it came about.

    The first exception is raised at once: the first in time; of a pure function (docs/cpu-bound.md) that of a loop.
    What is queued is cancelled, what runs is asked to stop and not waited for; with ``return_exceptions`` it takes its
    item's place, unless it is no ``Exception`` (``SystemExit``,
    ``KeyboardInterrupt`` and the like). Raises ``TimeoutError`` when the time is over,
    ``ValueError`` and ``TypeError`` for wrong arguments. Any thread; inside a worker of a pool it runs inline.

    >>> safe_parallel_map(len, ["a", "bb"])
    [1, 2]
    """
    work = ParallelMap("safe_parallel_map", max_workers, isolation)
    try:
        results: list[Any] | None = None
        mapped: MapResult[Any] | None = None
        if work.auto and chunksize is None and timeout is None and not progress:
            check_arguments(work.name, func, (data,))
            items = cast("Sequence[Any]", data) if type(data) in (range, tuple, list) else list(data)
            results = work.begin(func, items, return_exceptions)
            data, mapped = items, work.rest
        if results is None:
            mapped = work.start(func, data, return_exceptions, chunksize=chunksize, timeout=timeout, progress=progress)
            if work.driver is not None:
                work.driver.run(mapped)
            results = mapped._results(True)
    except BaseException:
        work.abort()
        if work.driver is not None:
            work.driver.close(False)
        raise
    if work.driver is not None:
        work.driver.close(True)
    pool = work.release()
    if pool is not None:
        pool.shutdown()
    return work.finish(mapped, results, explain)


@overload
async def safe_parallel_map_async(
    func: Callable[[T], Coroutine[Any, Any, R]],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: MapIsolation | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: Literal[False] = False,
    explain: Literal[True],
) -> ExplainedList[R]: ...
@overload
async def safe_parallel_map_async(
    func: Callable[[T], Coroutine[Any, Any, R]],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: MapIsolation | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: bool,
    explain: Literal[True],
) -> ExplainedList[R | Exception]: ...
@overload
async def safe_parallel_map_async(
    func: Callable[[T], R],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: MapIsolation | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: Literal[False] = False,
    explain: Literal[True],
) -> ExplainedList[R]: ...
@overload
async def safe_parallel_map_async(
    func: Callable[[T], R],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: MapIsolation | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: bool,
    explain: Literal[True],
) -> ExplainedList[R | Exception]: ...
@overload
async def safe_parallel_map_async(
    func: Callable[[T], Coroutine[Any, Any, R]],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: MapIsolation | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: Literal[False] = False,
    explain: bool = False,
) -> list[R]: ...
@overload
async def safe_parallel_map_async(
    func: Callable[[T], Coroutine[Any, Any, R]],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: MapIsolation | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: bool,
    explain: bool = False,
) -> list[R | Exception]: ...
@overload
async def safe_parallel_map_async(
    func: Callable[[T], R],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: MapIsolation | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: Literal[False] = False,
    explain: bool = False,
) -> list[R]: ...
@overload
async def safe_parallel_map_async(
    func: Callable[[T], R],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: MapIsolation | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: bool,
    explain: bool = False,
) -> list[R | Exception]: ...
async def safe_parallel_map_async(
    func: Callable[[T], Any],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: MapIsolation | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: bool = False,
    explain: bool = False,
) -> list[Any]:
    """As ``safe_parallel_map``, awaited: the event loop goes on meanwhile. Cancelling it stops the map.

    >>> import asyncio
    >>> asyncio.run(safe_parallel_map_async(len, ["a", "bb"]))
    [1, 2]
    """
    work = ParallelMap("safe_parallel_map_async", max_workers, isolation)
    aside: Aside | None = None
    try:
        mapped = work.start(func, data, return_exceptions, chunksize=chunksize, timeout=timeout, progress=progress)
        if work.driver is not None:
            import asyncio

            aside = Aside(work.driver, mapped, asyncio.get_running_loop())
        results: list[Any] = await mapped
    except BaseException:
        work.abort()
        if aside is not None:
            aside.abort()
        raise
    if aside is not None:
        await aside.finish()
    pool = work.release()
    if pool is not None:
        await pool.__aexit__(None, None, None)
    return work.finish(mapped, results, explain)
