"""What is seen of a map's workers while they run, and the limits that decisions go by."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _native

if TYPE_CHECKING:
    from collections.abc import Callable

    from .map_result import MapResult
    from .thread_pool import SafeThreadPool

__all__ = ["LIMITS", "Limits", "Look", "Watcher"]


class Limits(NamedTuple):
    """What the decisions go by; seconds, where nothing else is said."""

    first_look: float = 0.001
    own_look: float = 0.0005  # the same, where the caller runs the items
    between_looks: float = 0.003  # then twice as long each time
    longest_wait: float = 0.1
    looks: int = 3  # samples a look
    sample: float = 0.0005
    held: float = 0.4  # of the switch interval: who waits longer for the interpreter finds it held
    busy: float = 0.35  # of the time that workers compute, where the work is not waiting
    one_computes: float = 0.8  # of the time that workers compute together, where they do not wait: one has a core
    worth_threads: float = 0.003  # of work that is left, to find out whether threads scale
    worth_warm: float = 0.05  # of the same, where interpreters are parked
    worth_cold: float = 0.15
    worth_first: float = 0.25  # where this process has made none yet
    worth_process: float = 1.5  # where workers are processes
    least_item: float = 1e-6  # what an item must take to be worth its way
    least_shared: float = 2e-5  # the same, to be shared out between threads that let each other in
    slower: float = 1.3  # an isolated worker may take so many times as long for an item; 0: any time
    gain: float = 1.1  # an isolated map must be so many times as fast as one worker; 0: any speed
    trial: float = 0.03  # after so long that is looked at
    short_trial: float = 0.01  # after so long, whether as many workers as cores are enough
    all_compute: float = 0.75  # of the time that as many workers as cores compute, where more would be of no use
    turns: float = 0.25  # after twice this, then four times and so on, threads that took turns are tried again
    patient: bool = False  # nothing but the first items runs before the decision; what is chosen then is no race


LIMITS = Limits()


class Look(NamedTuple):
    """What is seen of the workers in a moment."""

    held: bool
    """Somebody computes and keeps the interpreter, or it is all over."""
    computed: float
    """How many of them compute."""
    over: bool = False
    """The map is, or its time; ``held`` is what was seen before."""


class Watcher:
    """Watches the workers of a map. Its methods are called by one thread, which may wait for the map."""

    limits: Limits
    _mapped: MapResult[Any]
    _shows: bool
    _pool: Callable[[], SafeThreadPool]

    def over(self, seconds: float) -> bool:
        """Wait so long; True once the map is over, or its time."""
        mapped = self._mapped
        promise = mapped._promise(True)
        if promise is None:
            return True
        left = mapped._left
        try:
            promise.result(seconds if left is None else min(left, seconds))
        except TimeoutError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                raise  # by code of Python's: a handler of signals
            if self._shows:
                mapped._show()
            return left is not None and left <= seconds
        finally:
            mapped._forget(promise)
        return True

    def _watch(self, pause: float, worth: float, passed: float) -> Look:
        """As ``_look_after``, of one worker: until threads may help, the map is over, or the interpreter is held and
        what is left would take ``worth`` seconds; what is done took ``passed``.

        It takes the interpreter as seldom as can be, and runs no Python code: each time, those who compute are stopped.
        """
        limits, mapped = self.limits, self._mapped
        if self._shows and mapped._watched:
            return self._look_after(pause) or Look(False, 1.0, True)
        held = limits.held * sys.getswitchinterval()
        over, late, computed = mapped._watch(
            pause, limits.longest_wait, limits.least_shared, limits.worth_threads, held, limits.busy, worth, passed
        )
        return Look(late, computed, over)

    def _look_after(self, seconds: float) -> Look | None:
        """Wait so long; None if the map is over, or its time. That the wait ended late says that it was for the
        interpreter: each time that one gets it from who computes costs a third of a millisecond.
        """
        cpu, began = self._cpu(), time.perf_counter()
        if self.over(seconds):
            return None
        held = self.is_long([time.perf_counter() - began - seconds]) or self._look().held
        return Look(held, self._computed(cpu, began))

    def _look(self) -> Look:
        """Wait for the interpreter some times, and see how long it takes."""
        promise = self._mapped._promise(True)
        if promise is None:
            return Look(True, 1.0)
        delays = list[float]()
        cpu, began = self._cpu(), time.perf_counter()
        while not self.is_clear(delays):
            delays.append(_native.gil_delay(self.limits.sample, promise))
        over = promise.done()
        self._mapped._forget(promise)
        return Look(over or self.is_long(delays), self._computed(cpu, began))

    def _computed(self, cpu: float, since: float) -> float:
        """How many cores the workers have used since they had computed ``cpu`` seconds."""
        return (self._cpu() - cpu) / max(time.perf_counter() - since, 1e-9)

    def is_clear(self, delays: list[float]) -> bool:
        """Whether these are enough: more could not change what most of them say."""
        long, most = self._count_long(delays), self.limits.looks // 2
        return long > most or len(delays) - long > most

    def is_long(self, delays: list[float]) -> bool:
        """Whether others wait that long because somebody computes and keeps the interpreter."""
        return self._count_long(delays) * 2 > len(delays)

    def _count_long(self, delays: list[float]) -> int:
        longest = self.limits.held * sys.getswitchinterval()
        return sum(delay > longest for delay in delays)

    def _cpu(self) -> float:
        """Seconds that the workers have computed."""
        return self._pool()._computed
