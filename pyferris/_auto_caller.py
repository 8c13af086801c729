"""The beginning of a map whose caller runs the items itself, as a loop would.

Nobody can tell, where the function sees no thread and waits for nothing: a pure one, or one that reads and changes data
of its own. What is left after some milliseconds, if it is
worth it, goes to isolated workers if the function is pure, or to threads where it lets others compute meanwhile.
"""

from __future__ import annotations

import _thread
import re
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from . import _native
from ._auto_runner import SHARED, Rest, Unusable, choose_probe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._auto import Driver

__all__ = ["Beginning", "cpu_of", "number_from", "number_of"]

_STRETCH = 0.0005  # seconds that the caller works between two looks at the clock
_SAMPLES = 16
_ATTEMPTS = 30


def cpu_of(thread: int) -> float:
    """Seconds that a thread, by its native number, has computed; 0 if it is gone. Not on Linux: that all have."""
    if sys.platform != "linux":
        return time.process_time()
    try:
        return time.clock_gettime(~thread << 3 | 6)  # as pthread_getcpuclockid makes it
    except OSError:
        return 0.0


class Beginning:
    """The items that the caller runs, and what it learns from them."""

    def __init__(
        self, driver: Driver, function: Callable[[Any], Any], items: Sequence[Any], return_exceptions: bool
    ) -> None:
        self.results: list[Any] = []
        self.stretches = 0
        self.scales = False
        """Others can compute while the function does."""
        self._driver = driver
        self._function = function
        self._items = items
        self._return_exceptions = return_exceptions
        self._samples: list[tuple[int, int]] = []
        self._delays: list[float] | None = None

    def run(self, alone: bool = False) -> bool:
        """Run items until all have, or others shall go on: then False. Raises what an item raises.

        ``alone``: no others shall.
        """
        limits, driver, items, results = self._driver.limits, self._driver, self._items, self.results
        began = time.perf_counter()
        count, settled = 1, alone
        look = began + limits.own_look
        while len(results) < len(items):
            then = time.perf_counter()
            self._stretch(count)
            now = time.perf_counter()
            took = now - then
            if not results:  # another thread has emptied the list
                break
            if count == 1 and len(self._samples) < _SAMPLES:
                self._samples.append((len(results) - 1, int(took * 1e9)))
            count = max(1, min(2 * count, int(count * _STRETCH / max(took, 1e-9))))
            if settled or now < look or (limits.patient and len(results) < _SAMPLES):
                continue
            left = (len(items) - len(results)) * (now - began) / len(results)
            if driver.isolated is not None:
                if driver.is_ready(limits.patient):
                    return False
                settled = driver.broken
            elif left >= limits.worth_threads:
                settled = self._look(left, (now - began) / len(results))
                if self.scales:
                    return False
        return True

    def _look(self, left: float, cost: float) -> bool:
        """Find out who could help. True if nobody."""
        driver = self._driver
        reason = driver.impossible(cost)
        if reason is None and driver.limits.patient:
            self._delays = [1.0] * driver.limits.looks
        if reason is not None and not driver.may_scale(cost):
            driver.reason = reason
            return True
        if self._delays is None:
            self._delays = []
            _thread.start_new_thread(self._sample, (self._delays, threading.get_native_id()))
            return False
        if len(self._delays) < driver.limits.looks:
            return False
        if not driver.is_long(self._delays):
            self.scales = _native.are_apart(self._items) is True
            driver.reason = driver.reason if self.scales else SHARED
            return not self.scales
        if reason is None:
            if left < driver.worth():
                return False
            apart = _native.are_apart(self._items)
            if apart is None:
                driver.reason = SHARED
                return True
            driver.shared = not apart
            try:
                rest = Rest(len(self._items) - len(self.results), left, driver.most_workers())
                driver.boot(
                    choose_probe(self._samples, self.results.__getitem__, self._items, rest, driver.limits.slower)
                )
                return False
            except Unusable as error:
                reason = str(error)
            except Exception as error:
                reason = f"isolating it failed: {error!r}"
        driver.reason = reason or driver.reason
        return True

    def _sample(self, delays: list[float], caller: int) -> None:
        """On another thread: how long others wait for the interpreter while the caller computes."""
        limits = self._driver.limits
        for _ in range(_ATTEMPTS):
            before = cpu_of(caller)
            delay = _native.gil_delay(limits.sample)
            computed = cpu_of(caller) - before
            if computed >= limits.sample / 2 or self._driver.is_long([delay]):
                delays.append(delay)  # else the machine is busy: it says nothing
            if len(delays) == limits.looks:
                return
        delays += [1.0] * (limits.looks - len(delays))

    def _stretch(self, count: int) -> None:
        """Run so many items more."""
        results = self.results
        self.stretches += 1
        end = len(results) + count
        while len(results) < min(end, len(self._items)):  # another thread may change a list
            try:
                _native.extend_by(results, self._function, self._items, end)
            except StopIteration as error:
                stopped = RuntimeError("the call raised StopIteration")
                self._note(stopped)
                if not self._return_exceptions:
                    raise stopped from error
                stopped.__cause__ = error
                results.append(stopped)
            except Exception as error:
                self._note(error)
                if not self._return_exceptions:
                    raise
                results.append(error)

    def _note(self, error: Exception) -> None:
        error.add_note(f"raised for item {len(self.results)} of the map")


def _note_of(error: object) -> tuple[Any, int, int] | None:
    """The notes of an error, the place of the one that says which item raised it, and the item's number."""
    notes: Any = getattr(error, "__notes__", None)
    if isinstance(error, BaseException) and type(notes) is list:
        for place, note in enumerate(notes):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            found = re.fullmatch(r"raised for item (\d+) of the map", note) if isinstance(note, str) else None
            if found is not None:
                return notes, place, int(found[1])  # pyright: ignore[reportUnknownVariableType]
    return None


def number_of(error: object) -> int | None:
    """Which item of its map raised the error; None for an error of another kind."""
    found = _note_of(error)
    return None if found is None else found[2]


def number_from(first: int, error: object) -> None:
    """The items of the map whose item raised ``error`` begin with number ``first``."""
    found = _note_of(error)
    if found is not None:
        notes, place, number = found
        notes[place] = f"raised for item {number + first} of the map"
