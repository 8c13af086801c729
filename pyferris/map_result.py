"""MapResult: the results of a map, in order, for threads and for asyncio."""

from __future__ import annotations

import contextlib
import functools
import operator
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, overload

from . import _native, _runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator

    from .thread_pool import SafeThreadPool

__all__ = ["MapResult", "check_arguments", "start_map"]

T = TypeVar("T")

_SHOW_EVERY = 0.1  # seconds between two looks at the progress


class MapResult(_native.MapCore, Generic[T]):
    """The results of a map: an iterator in order, one pass, which lets go of each item as it yields it.

    A second pass over what was read to its end is a ``RuntimeError``, also for ``itertools.islice`` in a loop: use
    ``itertools.batched``, or keep a list. A loop that is left cancels the rest when the map is dropped, so where a
    variable keeps it, call ``close()``.

    Also ``await result`` (the list), ``async for``, ``len``, index and ``==`` with a list; these wait, and do not
    consume. ``close()`` cancels what has not run. Made by ``SafeThreadPool.map``; to be read by one thread at a time.
    Iteration raises an item's error in its place; ``await`` and ``==`` raise the first one in time, at once. Both
    cancel what has not run. With ``buffersize``, only iteration and ``close()`` are there; others raise ``TypeError``.
    """

    _lazy = False  # items are taken as it is read

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[T]: ...
        def __next__(self) -> T: ...

    def _needs_all(self, what: str) -> None:
        if self._lazy:
            raise TypeError(f"a map with buffersize has no {what}: its items are taken as it is read; iterate over it")
        if self._given:
            raise RuntimeError(f"{self._given} items of this map were read and let go of; keep a list for {what}")

    def __len__(self) -> int:
        if self._lazy:
            raise TypeError("a map with buffersize has no length: its items are taken as it is read")
        return self._added

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> Any:
        self._needs_all("index")
        items = range(self._added)
        if isinstance(index, slice):
            return [self._result(each) for each in items[index]]
        try:
            where = operator.index(index)
        except TypeError:
            raise TypeError(f"a map's index must be an int or a slice, not {type(index).__name__}: {index!r}") from None
        if not -len(items) <= where < len(items):
            raise IndexError(f"map index {where} out of range for {len(items)} items")
        return self._result(items[where])

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, list):
            return NotImplemented
        self._needs_all("comparison")
        return self._results() == other

    __hash__ = object.__hash__

    def __await__(self) -> Generator[Any, None, list[T]]:
        self._needs_all("await")
        return self._gather().__await__()

    async def _gather(self) -> list[T]:
        try:
            await self._until_there(True)
        except BaseException:
            self.close()
            raise
        return self._results()

    async def _until_there(self, everything: bool) -> None:
        """Wait until the next item, or everything, can be read without blocking."""
        import asyncio

        promise = self._promise(everything)
        if promise is None:
            return
        try:
            while not promise.done():
                left = self._left
                if left == 0:
                    raise TimeoutError(f"the map's time is over: {self._finished} of {self._added} items have finished")
                limit = left
                if self._watched:
                    limit = _SHOW_EVERY if left is None else min(left, _SHOW_EVERY)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(limit):
                        await promise
                self._show()
        finally:
            self._forget(promise)

    async def __aiter__(self) -> AsyncIterator[T]:
        iter(self)
        try:
            while True:
                await self._until_there(False)
                try:
                    item = next(self)
                except StopIteration:
                    return
                yield item
        finally:
            self.close()

    _watched = False  # a progress line is shown

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle or copy {self!r}: its items run in one process; pass a list of it instead")

    def __repr__(self) -> str:
        total = "unknown" if self._lazy else self._added
        return f"<MapResult items={total} finished={self._finished} read={self._given}>"


def _show_progress(total: int | None) -> Callable[[int, bool], None]:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return _PlainProgress(total)
    bar = tqdm(total=total)

    def show(finished: int, over: bool) -> None:
        bar.update(finished - bar.n)
        if over:
            bar.close()

    return show


class _PlainProgress:
    """A progress line for those who have no tqdm."""

    def __init__(self, total: int | None) -> None:
        self._total = "?" if total is None else total

    def __call__(self, finished: int, over: bool) -> None:
        print(f"\r{finished}/{self._total}", end="\n" if over else "", flush=True)


def _run_coroutine(pool: SafeThreadPool, fn: Callable[..., Any], *args: Any) -> Any:
    return pool.submit(fn, *args).result()


def check_arguments(name: str, fn: object, iterables: tuple[object, ...]) -> None:
    """Raise ``TypeError`` where a map cannot have them."""
    if not callable(fn):
        raise TypeError(f"{name}() needs a callable as its first argument, not {type(fn).__name__}: {fn!r}")
    for number, each in enumerate(iterables, 2):
        if not hasattr(each, "__iter__") and not hasattr(each, "__getitem__"):
            raise TypeError(f"{name}() needs an iterable as its argument {number}, not {type(each).__name__}: {each!r}")


def start_map(
    name: str,
    pool: SafeThreadPool,
    fn: Callable[..., T],
    iterables: tuple[Iterable[Any], ...],
    *,
    timeout: float | None,
    chunksize: int,
    buffersize: int | None,
    progress: bool,
    return_exceptions: bool,
    fail_fast: bool = False,
    batches: Callable[[Callable[..., Any], bool, bool], Callable[[list[Any]], Any]] | None = None,
    lanes: int = 0,
    since: int | None = None,
) -> MapResult[T]:
    """The body of ``SafeThreadPool.map``, called ``name``. ``fail_fast``: the first failure in time ends the map.

    ``batches(fn, single, fail_fast)`` gives a function that takes the items of a run at once, as a list, and returns
    (results, failures by place or None, nanoseconds of work). ``lanes``: workers that work at first; 0 for all.
    ``since``: the items are those of a list or tuple from there on, and read as they run.
    """
    if isinstance(chunksize, bool) or not isinstance(chunksize, int):
        raise TypeError(f"chunksize must be an int of 1 or more, not {chunksize!r}")
    if chunksize < 1:
        raise ValueError(f"chunksize must be an int of 1 or more, not {chunksize!r}")
    if buffersize is not None and (isinstance(buffersize, bool) or not isinstance(buffersize, int)):
        raise TypeError(f"buffersize must be an int of 1 or more, or None, not {buffersize!r}")
    if buffersize is not None and buffersize < 1:
        raise ValueError(f"buffersize must be 1 or more, not {buffersize}")
    if not iterables:
        raise TypeError(f"{name}() needs at least one iterable after the function")
    check_arguments(name, fn, iterables)
    loop_thread = 0
    if batches is None and _runtime.is_coroutine_function(fn):
        fn = functools.partial(_run_coroutine, pool, fn)
        loop_thread = pool._loop_thread()
    single = len(iterables) == 1
    function = fn if batches is None else batches(fn, single, fail_fast and not return_exceptions)
    items: Iterable[Any] = iterables[0] if single else zip(*iterables, strict=False)
    capacity = 0 if buffersize is None else max(1, buffersize // chunksize) * chunksize
    show = None
    if progress and buffersize is None:
        items = known = list(items)
        show = _show_progress(len(known))
    elif progress:
        show = _show_progress(None)
    result: MapResult[T] = MapResult()
    result._lazy = buffersize is not None
    result._watched = progress
    result._start(
        pool,
        function,
        items,
        single,
        0 if chunksize == 1 else chunksize,
        capacity,
        timeout,
        return_exceptions,
        fail_fast,
        show,
        batches is not None,
        lanes,
        -1 if since is None else since,
    )
    if loop_thread:
        result._set_loop(loop_thread)
    return result
