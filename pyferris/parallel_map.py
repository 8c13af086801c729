"""safe_parallel_map: a list of results from a pool that lives for one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from . import _native
from .isolation import resolve_isolation
from .thread_pool import SafeThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["safe_parallel_map", "safe_parallel_map_async"]

T = TypeVar("T")
R = TypeVar("R")


def safe_parallel_map(
    func: Callable[[T], R],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    *,
    isolation: str | None = "auto",
    progress: bool = False,
    timeout: float | None = None,
    return_exceptions: bool = False,
) -> list[R]:
    """Return ``[func(item) for item in data]``, computed by threads.

    ``max_workers``: threads at most; ``chunksize``: items a run of a worker (None: measured); ``isolation``:
    ``"auto"`` and ``"none"`` are threads, ``"inline"`` the caller; ``progress``: show a progress line; ``timeout``:
    seconds for the whole. The first exception in order is raised, what is queued is cancelled; with
    ``return_exceptions`` it takes its item's place. Called inside a worker it runs inline. Any thread.

    >>> safe_parallel_map(len, ["a", "bb"])
    [1, 2]
    """
    mode = resolve_isolation(isolation, for_map=True)
    if _native.current_future() is not None:
        mode = "inline"
    with SafeThreadPool(max_workers, "safe_parallel_map", isolation="inline" if mode == "inline" else "none") as pool:
        return list(
            pool.map(
                func,
                data,
                timeout=timeout,
                chunksize=1 if chunksize is None else chunksize,
                progress=progress,
                return_exceptions=return_exceptions,
            )
        )


async def safe_parallel_map_async(
    func: Callable[[T], R],
    data: Iterable[T],
    max_workers: int | None = None,
    chunksize: int | None = None,
    **options: Any,
) -> list[R]:
    """As ``safe_parallel_map``, awaited: the event loop goes on meanwhile.

    >>> import asyncio
    >>> asyncio.run(safe_parallel_map_async(len, ["a", "bb"]))
    [1, 2]
    """
    mode = resolve_isolation(options.pop("isolation", "auto"), for_map=True)
    async with SafeThreadPool(
        max_workers, "safe_parallel_map", isolation="inline" if mode == "inline" else "none"
    ) as pool:
        results = pool.map(func, data, chunksize=1 if chunksize is None else chunksize, **options)
        return await results
