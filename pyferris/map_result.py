"""MapResult: the results of a map, in order, for threads and for asyncio."""

from __future__ import annotations

import asyncio
import collections
import itertools
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator

    from .future import SafeFuture
    from .thread_pool import SafeThreadPool

__all__ = ["MapResult", "start_map"]

T = TypeVar("T")

_LARGEST_RUN = 64  # items that one queued run has at most when the caller leaves the size to us


class _Run:
    """The outcome of consecutive items: their results, and the error that ended the run, if one did."""

    __slots__ = ("error", "results")

    def __init__(self, results: list[Any], error: BaseException | None) -> None:
        self.results = results
        self.error = error


def _run_items(fn: Callable[..., Any], first: int, items: list[Any], single: bool, return_exceptions: bool) -> _Run:
    """On a worker: call ``fn`` for each item."""
    results: list[Any] = []
    calls = map(fn, items) if single else itertools.starmap(fn, items)
    while True:
        try:
            results.extend(calls)  # what came before an error stays in the list
        except Exception as error:
            error.add_note(f"raised for item {first + len(results)} of the map")
            if not return_exceptions:
                return _Run(results, error)
            results.append(error)
            continue
        if len(results) == len(items):
            return _Run(results, None)
        # The call raised StopIteration, which looks like the end of the items from out here.
        stopped = RuntimeError(f"the call for item {first + len(results)} of the map raised StopIteration")
        if not return_exceptions:
            return _Run(results, stopped)
        results.append(stopped)


class MapResult(Generic[T]):
    """The results of a map: an iterator in order, one pass, which lets go of each item as it yields it.

    Also ``await result`` (the list), ``async for``, ``len``, index and ``==`` with a list; these wait, and do not
    consume. ``close()`` cancels what has not run. Made by ``SafeThreadPool.map``; to be read by one thread at a time.
    With ``buffersize``, only iteration and ``close()`` are there; others raise ``TypeError``.
    """

    def __init__(
        self,
        runs: Iterator[tuple[int, SafeFuture[_Run]]],
        total: int | None,
        deadline: float | None,
        progress: Callable[[int], None] | None,
        refill: bool,
    ) -> None:
        self._source = runs
        self._runs: collections.deque[tuple[int, SafeFuture[_Run]]] = collections.deque()
        self._total = total
        self._deadline = deadline
        self._progress = progress
        self._refill = refill
        self._given = 0  # items that were let go of
        self._ready: collections.deque[Any] = collections.deque()
        self._error: BaseException | None = None
        self._closed = False
        self._finished = False

    def __iter__(self) -> Iterator[T]:
        if self._finished:
            raise RuntimeError("this map was read to its end already; keep a list of it to read it again")
        return self

    def _left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _take(self, run: _Run) -> None:
        self._ready.extend(run.results)
        self._error = run.error
        if self._progress is not None:
            self._progress(len(run.results))

    def _end(self) -> None:
        self._finished = True
        self._end_progress()

    def _end_progress(self) -> None:
        progress, self._progress = self._progress, None
        if progress is not None:
            progress(-1)

    def _fail(self) -> BaseException:
        error = self._error
        assert error is not None
        self._error = None
        self.close()
        return error

    def __next__(self) -> T:
        while not self._ready:
            if self._error is not None:
                raise self._fail()
            if self._closed or not self._runs:
                self._end()
                raise StopIteration
            future = self._runs[0][1]
            try:
                run = future.result(self._left())
            except BaseException:
                self.close()
                raise
            self._advance()
            self._take(run)
        self._given += 1
        return self._ready.popleft()  # type: ignore[no-any-return]

    def _advance(self) -> None:
        self._runs.popleft()
        if self._refill:
            self._runs.extend(itertools.islice(self._source, 1))

    def _needs_all(self, what: str) -> None:
        if self._refill:
            raise TypeError(f"a map with buffersize has no {what}: its items are taken as it is read; iterate over it")
        if self._given:
            raise RuntimeError(f"{self._given} items of this map were read and let go of; keep a list for {what}")

    def _all(self) -> list[T]:
        results: list[T] = []
        for _, future in self._runs:
            run = future.result(self._left())
            results.extend(run.results)
            if run.error is not None:
                self.close()
                raise run.error
        return results

    def __len__(self) -> int:
        if self._total is None:
            raise TypeError("a map with buffersize has no length: its items are taken as it is read")
        return self._total

    def __getitem__(self, index: int | slice) -> Any:
        self._needs_all("index")
        return self._all()[index]

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, list):
            return NotImplemented
        self._needs_all("comparison")
        return self._all() == other

    __hash__ = object.__hash__

    def __await__(self) -> Generator[Any, None, list[T]]:
        self._needs_all("await")
        return self._gather().__await__()

    async def _gather(self) -> list[T]:
        results: list[T] = []
        try:
            for _, future in self._runs:
                run = await self._wait(future)
                results.extend(run.results)
                if self._progress is not None:
                    self._progress(len(run.results))
                if run.error is not None:
                    raise run.error
        except BaseException:
            self.close()
            raise
        self._end_progress()
        return results

    async def _wait(self, future: SafeFuture[_Run]) -> _Run:
        if future.done():
            return await future
        async with asyncio.timeout(self._left()):
            return await future.detach()

    async def __aiter__(self) -> AsyncIterator[T]:
        iter(self)
        try:
            while True:
                while self._ready:
                    self._given += 1
                    yield self._ready.popleft()
                if self._error is not None:
                    raise self._fail()
                if self._closed or not self._runs:
                    self._end()
                    return
                run = await self._wait(self._runs[0][1])
                self._advance()
                self._take(run)
        finally:
            self.close()

    def close(self) -> None:
        """Cancel the items that have not run and ask the running calls to stop. Again does nothing."""
        if self._closed:
            return
        self._closed = True
        for _, future in self._runs:
            future.cancel()
            future.mark_retrieved()
        self._end_progress()

    def __del__(self) -> None:
        if self._given and not self._finished:  # a loop over it was left
            self.close()

    def __repr__(self) -> str:
        done = sum(future.done() for _, future in self._runs)
        total = "unknown" if self._total is None else self._total
        return f"<MapResult items={total} read={self._given} runs={len(self._runs)} finished_runs={done}>"


def _show_progress(total: int | None) -> Callable[[int], None]:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return _PlainProgress(total)
    bar = tqdm(total=total)

    def update(count: int) -> None:
        if count < 0:
            bar.close()
        else:
            bar.update(count)

    return update


class _PlainProgress:
    """A progress line for those who have no tqdm."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._done = 0
        self._shown = 0.0

    def __call__(self, count: int) -> None:
        now = time.monotonic()
        self._done += max(count, 0)
        if count < 0 or now - self._shown > 0.1:
            self._shown = now
            print(f"\r{self._done}/{'?' if self._total is None else self._total}", end="\n" if count < 0 else "")


def start_map(
    pool: SafeThreadPool,
    fn: Callable[..., T],
    iterables: tuple[Iterable[Any], ...],
    *,
    timeout: float | None,
    chunksize: int,
    buffersize: int | None,
    progress: bool,
    return_exceptions: bool,
) -> MapResult[T]:
    """The body of ``SafeThreadPool.map``."""
    if chunksize < 1:
        raise ValueError(f"chunksize must be an int of 1 or more, not {chunksize!r}")
    if buffersize is not None and not isinstance(buffersize, int):
        raise TypeError(f"buffersize must be an int of 1 or more, or None, not {buffersize!r}")
    if buffersize is not None and buffersize < 1:
        raise ValueError(f"buffersize must be 1 or more, not {buffersize}")
    if not iterables:
        raise TypeError("map() needs at least one iterable after the function")
    deadline = None if timeout is None else time.monotonic() + timeout
    single = len(iterables) == 1
    items: Iterator[Any] = iter(iterables[0]) if single else zip(*iterables, strict=False)
    total: int | None = None
    size = chunksize
    if buffersize is None:
        known = list(items)
        items, total = iter(known), len(known)
        if chunksize == 1:
            # Enough runs for every worker to have several, so that uneven items even out.
            size = max(1, min(_LARGEST_RUN, total // (pool._max_workers * 16)))

    def runs() -> Iterator[tuple[int, SafeFuture[_Run]]]:
        first = 0
        while chunk := list(itertools.islice(items, size)):
            yield first, pool.submit(_run_items, fn, first, chunk, single, return_exceptions)
            first += len(chunk)

    source = runs()
    result: MapResult[T] = MapResult(
        source, total, deadline, _show_progress(total) if progress else None, buffersize is not None
    )
    ahead = None if buffersize is None else max(1, buffersize // size)
    result._runs.extend(itertools.islice(source, ahead))
    return result
