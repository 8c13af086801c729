"""The isolated workers of ``isolation="auto"``: how they are tried, and how runs of items go to them."""

from __future__ import annotations

import concurrent.futures
import functools
import math
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _auto_worker, _native, _shipping, _wire
from ._library import describe
from ._plain import has_sets, is_plain
from ._worker_calls import CHECKED, CHECKED_APART
from .errors import CallCancelled
from .isolation import HAS_INTERPRETERS
from .thread_pool import SafeThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .future import SafeFuture
    from .map_result import MapResult

__all__ = ["IsolatedRunner", "Probe", "Rest", "Unusable", "boot", "choose_probe", "why_useless"]


SHARED = "items share lists, dicts or sets, or are no plain data"

_least_pace = 0  # nanoseconds; 0: not measured yet

_SECONDS_A_BYTE = 2e-9  # of an item and its result, on their way
_MOST_ELEMENTS = 1.5e7  # for a second that an item takes; sending one takes a tenth of a microsecond and more
_FREE_ELEMENTS = 16  # and so many more, whatever it takes
_GAIN_WITH_WAY = 1.1  # as _GAIN, where an item's way counts, which is known less well
_GAIN = 1.05  # isolated workers must be expected to be so many times as fast


class Unusable(Exception):
    """Why a map is not isolated."""


class Probe(NamedTuple):
    """An item that the caller has done, for each worker to repeat."""

    item: Any
    expected: bytes
    most_ns: int
    """What a worker may take for it; 0 for any time."""
    seconds: float
    """What the caller took."""


def can_go(item: object) -> bool:
    """Whether a copy of it, where the isolated workers are, cannot be told from it, whatever is done to it."""
    return is_plain(item) and not has_sets(item)  # one that grows and shrinks again has another order


def can_come(result: object) -> bool:
    """Whether a copy of it that comes from there cannot be told from it."""
    return is_plain(result) and (HAS_INTERPRETERS or not has_sets(result))


class Rest(NamedTuple):
    """What is left of a map."""

    items: int
    seconds: float
    """For one worker."""
    workers: int
    """That would share it."""

    def is_worth(self, repeated: float) -> bool:
        """Whether isolated workers, each of which first repeats an item of so many seconds, would be over sooner.

        All but one do that while the caller goes on, on another core.
        """
        done = int(repeated / self.cost)
        left = Rest(max(0, self.items - done), max(0.0, self.seconds - repeated), self.workers)
        return (repeated + left.shared_out(repeated)) * _GAIN < self.seconds

    def gains(self, repeated: float) -> bool:
        """Whether it is over sooner once all but one of the workers have repeated that item."""
        return self.shared_out(repeated) * _GAIN < self.seconds

    def shared_out(self, repeated: float) -> float:
        """Seconds that it takes the workers, to whom whole items go; the last one repeats that item meanwhile."""
        cost = self.cost
        return min(self.seconds, math.ceil((self.seconds + repeated) / self.workers / cost) * cost)

    def is_worth_way(self, item: float, way: float) -> bool:
        """Whether sharing out items of so many seconds gains anything, where sending each takes ``way`` seconds more.

        Half of them are spent in this interpreter, by one thread at a time.
        """
        return max(way / 2, (item + way) / self.workers) * _GAIN_WITH_WAY < item

    @property
    def cost(self) -> float:
        """Seconds for an item."""
        return max(1e-9, self.seconds) / max(1, self.items)


def choose_probe(
    samples: list[tuple[int, int]], result_of: Callable[[int], Any], items: Sequence[Any], rest: Rest, slower: float
) -> Probe:
    """The longest of the items timed so far, (index, nanoseconds), that takes little of what is left."""
    samples = sorted((took, index) for index, took in samples)
    if not samples:
        raise Unusable("no item was timed")
    fitting = [each for each in samples if each[0] < rest.seconds * 1e9 / 20] or samples[:1]
    if slower and not rest.is_worth(fitting[0][0] / 1e9):
        raise Unusable("too few items are left: isolated workers, each of which repeats one first, would gain nothing")
    why = ""
    for took, index in reversed(fitting):
        item = items[index]
        try:
            result = result_of(index)
        except Exception:
            why = "items have failed"
            continue
        usual = min(took / 1e9, rest.cost)
        if slower and not _native.is_small_data(item, _FREE_ELEMENTS + int(usual * _MOST_ELEMENTS)):
            raise Unusable(f"items are no plain data, or too large for what they take: {type(item).__qualname__}")
        if can_go(item) and can_come(result):
            way = min(_way_of(item, result) for _ in range(2)) if slower else 0.0
            if slower and not rest.is_worth_way(usual, way):
                raise Unusable(f"an item takes {usual * 1e3:.3f} ms, and its way to a worker and back {way * 1e3:.3f}")
            most_ns = max(1, int(took * slower)) if slower else 0
            return Probe(item, _auto_worker.fingerprint(result), most_ns, took / 1e9)
        what, thing = ("items", item) if not can_go(item) else ("results", result)
        why = f"{what} are no plain data of which copies cannot be told from them: {type(thing).__qualname__}"
    raise Unusable(why)


def _way_of(item: Any, result: Any) -> float:
    """Seconds, about, that it takes to send an item and have its result, here and there: what tells most is how long it
    takes to find out that both are plain data.
    """
    began = time.thread_time()
    size = len(_auto_worker.fingerprint(item)) + len(_auto_worker.fingerprint(result))
    can_go(item)
    can_come(result)
    return 2 * (time.thread_time() - began) + size * _SECONDS_A_BYTE


class Workers(SafeThreadPool):
    """Isolated ones, which begin when there is a call for them: the caller computes meanwhile."""

    _early_workers = 1


def boot(
    function: Callable[[Any], Any], workers: int, probe: Probe, library: Iterable[str]
) -> tuple[SafeThreadPool, list[SafeFuture[str | None]]]:
    """A pool, and what its workers say of themselves once they have repeated the probe: for ``why_useless``.

    All but one, for which the caller, who goes on meanwhile, leaves no core; see ``IsolatedRunner._send``.
    ``library``: the modules that the function uses.
    """
    given = (_ship(function), describe(library), probe.item, probe.expected, probe.most_ns, _fastest_pace())
    pool = Workers(workers, "safe_parallel_map_isolated", _auto_worker.prepare, given, isolation="isolated")
    try:
        if pool._processes is not None:
            pool._processes.start(workers)
        return pool, [pool.submit(_auto_worker.verdict) for _ in range(max(1, workers - 1))]
    except BaseException:
        pool._abort()
        pool.shutdown(wait=False)
        raise


def _fastest_pace() -> int:
    """The least that ``pace`` has been in this process, where it is measured now."""
    global _least_pace
    now = _auto_worker.pace()
    _least_pace = min(_least_pace or now, now)
    return _least_pace


def _ship(function: Callable[[Any], Any]) -> bytes:
    if HAS_INTERPRETERS:
        return _shipping.ship(function).blob
    from . import _process_workers

    return _process_workers.ship(function)


def why_useless(ready: list[SafeFuture[str | None]]) -> str | None:
    """What the first worker says that is of no use. All are done."""
    found: list[str] = []
    for each in ready:
        error = each.exception()
        said = each.result() if error is None else f"isolated workers could not be had: {error!r}"
        if said is not None:
            found.append(said)
    return found[0] if found else None


class IsolatedRunner:
    """Runs the items of one run of the map in an isolated worker. Called by the map's threads."""

    given_up: str | None = None
    """Why the map went on without isolated workers after all."""

    def __init__(
        self,
        pool: SafeThreadPool,
        mapped: MapResult[Any],
        function: Callable[[Any], Any],
        fail_fast: bool,
        shared: bool,
    ) -> None:
        """``shared``: items have parts in common. Once a call changes its item, no result counts any more, as the calls
        after it would have seen that; so the map is stopped, and its caller does it.
        """
        self._mapped = mapped
        self._pool = pool
        self._trials: list[SafeFuture[str | None]] = []
        self._shared = shared
        self._submit = _submitter(pool, function, fail_fast)
        plain: Any = function
        while type(plain) is functools.partial:
            plain = plain.func
        self._checks = _shipping.ship(plain).checks
        self.computed = 0.0
        """Seconds that isolated workers have computed, for what need not be done again."""
        self._lock = threading.Lock()
        self._done = 0  # guarded by _lock
        self._again = 0  # guarded by _lock; of those, by the caller

    def __call__(self, items: list[Any]) -> tuple[list[Any], dict[int, None] | None, int]:
        """(results, None for each place that is to be called here, nanoseconds of work)."""
        if self.given_up is not None:
            return self._here(items)
        if not can_go(items):
            self._count(len(items), len(items), "items are not plain data")
            if self._shared:
                self.give_up("items are not plain data")
            return self._here(items)
        if not self._is_current():
            return self._here(items)
        try:
            data, failures, took = self._send(items)
            results: list[Any] = _wire.loads(data)
        except (CallCancelled, concurrent.futures.CancelledError):
            raise
        except Exception as error:
            self.give_up(f"an isolated worker failed: {error!r}")
            return self._here(items)
        if not self._is_current():
            return self._here(items)
        if self._shared and failures is not None:
            self.give_up("the function changes items that share parts, or fails")
        if failures is None:
            with self._lock:
                self.computed += took / 1e9
        self._count(len(items), 0 if failures is None else len(failures), "items change, or results cannot be copied")
        return results, failures, took

    def _send(self, items: list[Any]) -> Any:
        """What an isolated worker answers. One that is untried must be tried first: another one may have the run."""
        while True:
            answer = _native.wait_through(self._submit(items))
            if answer != _auto_worker.UNTRIED:
                return answer
            self._trials.append(self._pool.submit(_auto_worker.verdict))

    def is_trying(self) -> bool:
        """Whether a worker still repeats an item, after the map or in it."""
        return not all(each.done() for each in self._trials)

    def _is_current(self) -> bool:
        """Whether the function still reads what it read when it was shipped: another thread may have bound a global."""
        current = self._checks is None or _shipping.still_valid(self._checks)
        if not current:
            self.give_up("something that the function reads has changed")
        return current

    def give_up(self, reason: str) -> None:
        """One thread goes on, or the map's caller where items share parts. Any thread."""
        self.given_up = self.given_up or reason
        if self._shared:
            self._mapped._stop()
        else:
            self._mapped._run_by(None)
            self._mapped._widen(1)

    def _here(self, items: list[Any]) -> tuple[list[Any], dict[int, None], int]:
        return [None] * len(items), dict.fromkeys(range(len(items))), 0

    def _count(self, done: int, again: int, why: str) -> None:
        with self._lock:
            self._done += done
            self._again += again
            useless = self._again > 8 and self._again * 8 > self._done
        if useless and self.given_up is None:
            self.give_up(f"{why}: {self._again} of {self._done} had to be done again")


def _submitter(pool: SafeThreadPool, function: Callable[[Any], Any], fail_fast: bool) -> Callable[[list[Any]], Any]:
    """What has a worker of the pool run ``call_checked`` for items, and returns its future."""
    if pool._processes is not None:
        return pool._processes.runs(pool, function, CHECKED_APART, fail_fast)
    from . import _interpreters

    return _interpreters.runs(pool, function, CHECKED, fail_fast)
