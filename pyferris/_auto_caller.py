"""The beginning of a map whose caller runs the items itself, as a loop would.

Nobody can tell, where the function sees no thread and waits for nothing: a pure one, or one that reads and changes data
of its own. What is left after some milliseconds, if it is
worth it, goes to isolated workers if the function is pure, or to threads where it lets others compute meanwhile.
"""

from __future__ import annotations

import _thread
import collections
import functools
import itertools
import math
import re
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _native
from ._auto_runner import SHARED, Rest, Unusable, choose_probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ._auto import Driver

__all__ = ["Beginning", "may_raise_into_calls", "number_from", "number_of"]

_STRETCH = 0.0005  # seconds that the caller works between two looks, at first
_STRETCHES = 6  # then a sixth of the time that it has worked
_GROWTH = 64  # times as many items at most as in the stretch before, which says little of those to come
_LONGEST_STRETCH = 0.004
_LATEST = 32  # stretches
_MOST_ALIKE = 4  # stretches that must agree on what an item costs, at most
_LEAST = 4  # of which most say something
_CALM = 3  # stretches after which dear items are over
_SOON = 1.1  # times what the item took that a worker repeats: then it is expected to be ready
_MOST_WAIT = 0.15  # the same, for which the caller waits
_SAMPLES = 16
_SHORTEST = 1e-9  # seconds that an item takes
_FEW = 16  # items
_ATTEMPTS = 30
_DEARER = 8
_FIRST_ELEMENTS = 20_000  # that an item may have whose type is looked at, as no item's cost is known
_LEAST_ELEMENTS = 64
_ELEMENTS = 2.5e7  # for a second that an item takes: to look at them takes a twentieth of it


def cpu_of(thread: int) -> float:
    """Seconds that a thread, by its native number, has computed; 0 if it is gone. Not on Linux: that all have."""
    if sys.platform != "linux":
        return time.process_time()
    try:
        return time.clock_gettime(~thread << 3 | 6)  # as pthread_getcpuclockid makes it
    except OSError:
        return 0.0


def may_raise_into_calls() -> bool:
    """Whether an exception may come out of a call here that is none of its own: a handler of signals raises it."""
    if threading.current_thread() is not threading.main_thread():
        return False
    handlers = map(signal.getsignal, range(1, signal.NSIG))
    return any(callable(each) and each is not signal.default_int_handler for each in handlers)


class Stretch(NamedTuple):
    """Items that the caller has run between two looks."""

    cost: float
    """Seconds, for each."""
    took: float
    """Seconds, for all."""
    items: int


class Costs:
    """What items have cost lately."""

    def __init__(self, items: int) -> None:
        """``items``: of the map. Where each is a good part of the whole, the first one is believed."""
        self._latest: collections.deque[Stretch] = collections.deque(maxlen=_LATEST)
        self._alike = 1 if items < _FEW else min(_MOST_ALIKE, 2 + items // 64)

    def add(self, items: int, took: float) -> None:
        """So many items took so many seconds together."""
        self._latest.append(Stretch(took / max(1, items), took, items))

    def forget(self) -> None:
        """Those before say nothing of the ones to come."""
        self._latest.clear()

    def latest(self) -> float:
        """Seconds for an item, in the last stretch."""
        return self._latest[-1].cost

    def highest(self) -> float:
        """The same, in the dearest of the last stretches; inf where there are too few."""
        return max(each.cost for each in self._last(_CALM)) if len(self._latest) >= _CALM else math.inf

    def sure(self) -> float:
        """Seconds that an item to come takes at least, as far as can be told: as in each of the last stretches, or in
        all but the dearest ones. Dear items among many cheap ones are in few stretches, and so are those before them.
        """
        alike, count = self._alike, len(self._latest)
        cheapest = min(each.cost for each in self._last(alike)) if count >= alike else 0.0
        most = sorted(self._latest)[: min(count * 3 // 4, count - alike + 1)] if count >= max(alike, _LEAST) else []
        return max(cheapest, sum(each.took for each in most) / max(1, sum(each.items for each in most)))

    def _last(self, count: int) -> Iterable[Stretch]:
        return itertools.islice(reversed(self._latest), count)


class Beginning:
    """The items that the caller runs, and what it learns from them."""

    def __init__(
        self, driver: Driver, function: Callable[[Any], Any], items: Sequence[Any], return_exceptions: bool
    ) -> None:
        self.results: list[Any] = []
        self.stretches = 0
        self.scales = False
        """Others can compute while the function does."""
        self.stopped = False
        """The next item is not known to be data: its own code may wait for something, or see which thread runs it."""
        self.cost = _SHORTEST
        """Seconds that an item to come takes at least, as far as can be told."""
        self._driver = driver
        self._function = function
        self._items = items
        self._return_exceptions = return_exceptions
        self._samples: list[tuple[int, int]] = []
        self._delays: list[float] | None = None
        self._sampled = 0.0  # what an item cost when they were begun
        self._repeated = 0.0  # seconds that the caller took for the item that the isolated workers repeat
        self._soon = 0.0  # until when it is better to wait for them than to begin another item like it

    def run(self, alone: bool = False) -> bool:
        """Run items until all have, or others shall go on: then False. Raises what an item raises.

        ``alone``: no others shall.
        """
        limits, driver, items, results = self._driver.limits, self._driver, self._items, self.results
        began = time.perf_counter()
        count, settled, stretch = 1, alone, _STRETCH
        most = _FIRST_ELEMENTS
        look = began + limits.own_look
        costs = Costs(len(items))
        worth = limits.worth_threads if driver.lets_go else min(limits.worth_warm, limits.worth_process)
        while len(results) < len(items):
            then, before = time.perf_counter(), len(results)
            self.stopped = self._stretch(count, -1 if alone else most, stretch)
            if self.stopped:
                driver.shared = False
                return False
            now = time.perf_counter()
            took = now - then
            if not results:  # another thread has emptied the list
                break
            if count == 1 and len(self._samples) < _SAMPLES:
                self._samples.append((len(results) - 1, int(took * 1e9)))
            stretch = min(max(_STRETCH, (now - began) / _STRETCHES), _LONGEST_STRETCH)
            done = len(results) - before
            costs.add(done, took)
            one_by_one = limits.patient and not settled
            count = 1 if one_by_one else max(1, min(_GROWTH * count, int(done * stretch / max(took, 1e-9))))
            most = max(_LEAST_ELEMENTS, int(_ELEMENTS * (now - began) / len(results)))
            if settled or now < look or (limits.patient and len(results) < _SAMPLES):
                continue
            cost = max((now - began) / len(results), costs.latest())  # those to come may be dear
            rest = len(items) - len(results)
            if driver.isolated is None and rest * cost < worth:
                continue
            least = costs.sure()
            self.cost = max(least, _SHORTEST)
            if driver.isolated is not None:
                if self._may_hand_over(Rest(rest, rest * least, driver.most_workers())):
                    return False
                settled = driver.broken
                if self._is_too_dear(rest, costs.highest()):
                    driver.drop_isolated()
                    costs.forget()
            else:
                settled = self._look(rest, least, cost)
                if self.scales:
                    return False
        return True

    def _look(self, items: int, least: float, cost: float) -> bool:
        """Find out who could help. True if nobody.

        ``items``: that are left; each of them takes ``least`` seconds for sure, and perhaps ``cost``.
        """
        driver, left = self._driver, items * least
        if not driver.lets_go and left < driver.worth():
            return False
        reason = driver.impossible(least)
        if reason is None and driver.limits.patient:
            self._delays, self._sampled = [1.0] * driver.limits.looks, cost
        if not driver.may_scale(cost) and (reason is not None or left < driver.worth()):
            driver.reason = reason or driver.reason
            return driver.most_workers() < 2  # else others may be dear
        held = self._is_held(cost) if driver.lets_go else True
        if held is None:
            return False
        if not held:
            self.scales = self._are_apart is True
            driver.reason = driver.reason if self.scales else SHARED
            return not self.scales
        if reason is None:
            if left < driver.worth():
                return False
            try:
                rest, slower = Rest(items, left, driver.most_workers()), driver.limits.slower
                probe = choose_probe(self._samples, self.results.__getitem__, self._items, rest, slower)
                if self._are_apart is None:
                    raise Unusable(SHARED)
                driver.shared = not self._are_apart
                driver.boot(probe)
                self._repeated = probe.seconds
                self._soon = time.perf_counter() + probe.seconds * _SOON
                return False
            except Unusable as error:
                reason = str(error)
            except Exception as error:
                reason = f"isolating it failed: {error!r}"
        driver.reason = reason or driver.reason
        return True

    @functools.cached_property
    def _are_apart(self) -> bool | None:
        return _native.are_apart(self._items)

    def _may_hand_over(self, rest: Rest) -> bool:
        """Whether the isolated workers are ready, or are in a moment for which it pays to wait, and sharing gains."""
        driver, limits = self._driver, self._driver.limits
        if rest.seconds < limits.worth_threads or not (limits.patient or rest.gains(self._repeated)):
            return False
        wait = self._soon - time.perf_counter()
        if limits.patient:
            wait = math.inf
        elif wait >= self._repeated * _MOST_WAIT:
            wait = 0.0
        return driver.is_ready(wait)

    def _is_too_dear(self, rest: int, cost: float) -> bool:
        """Whether the isolated workers repeat an item that is not worth it, as those that were like it are over.

        They are let go of then, and others repeat a cheaper one if that is worth it. ``rest``: items, of ``cost``
        seconds now.
        """
        if cost * 2 > self._repeated:
            return False
        driver = self._driver
        return driver.is_cheap(cost) or not Rest(rest, rest * cost, driver.most_workers()).is_worth(self._repeated)

    def _is_held(self, cost: float) -> bool | None:
        """Whether nobody else can compute in this interpreter meanwhile; None if that is not known yet."""
        driver = self._driver
        if self._delays is None:
            self._delays, self._sampled = [], cost
            _thread.start_new_thread(self._sample, (self._delays, threading.get_native_id()))
            return None
        if not driver.is_clear(self._delays):
            return None
        if self._sampled * _DEARER < cost:  # those were other items
            self._delays = None
            return None
        return driver.is_long(self._delays)

    def _sample(self, delays: list[float], caller: int) -> None:
        """On another thread: how long others wait for the interpreter while the caller computes."""
        limits = self._driver.limits
        for _ in range(_ATTEMPTS):
            before = cpu_of(caller)
            delay = _native.gil_delay(limits.sample)
            computed = cpu_of(caller) - before
            if computed >= limits.sample / 2 or self._driver.is_long([delay]):
                delays.append(delay)  # else the machine is busy: it says nothing
            if self._driver.is_clear(delays):
                return
        delays += [1.0] * (limits.looks - len(delays))

    def _stretch(self, count: int, most: int, seconds: float) -> bool:
        """Run so many items more, or as many as take some time. True where it has stopped before one that is no data.

        ``most``: elements that an item may have; negative: any item is run.
        """
        results = self.results
        self.stretches += 1
        end = len(results) + count
        try:
            return _native.extend_by(results, self._function, self._items, end, most, seconds)
        except StopIteration as error:
            stopped = RuntimeError("the call raised StopIteration")
            self._fail(stopped)
            if not self._return_exceptions:
                raise stopped from error
            stopped.__cause__ = error
            results.append(stopped)
        except BaseException as error:
            self._fail(error)
            if not self._return_exceptions or not isinstance(error, Exception):
                raise
            results.append(error)
        return False

    def _fail(self, error: BaseException) -> None:
        _native.name_item(error, len(self.results))


def number_of(error: object) -> int | None:
    """Which item of its map raised the error, by the note that says so; None for an error of another kind."""
    notes: Any = getattr(error, "__notes__", None)
    if isinstance(error, BaseException) and type(notes) is list:
        for note in notes:  # pyright: ignore[reportUnknownVariableType]
            found = re.fullmatch(r"raised for item (\d+) of the map", note) if isinstance(note, str) else None
            if found is not None:
                return int(found[1])
    return None


def number_from(first: int, error: object, number: int | None = None) -> None:
    """The items of the map whose item raised ``error`` begin with number ``first``. ``number``: only that item's."""
    found = number_of(error)
    if isinstance(error, BaseException) and found is not None and number in (None, found):
        _native.name_item(error, found + first)
