"""``isolation="auto"``: who runs the items of a map, decided while they run.

One worker takes the items in order from the first moment, as a loop would. Whoever waits for the map looks at it now
and then (``Driver``): is it long enough to be worth more workers; is the interpreter free for other threads while an
item runs; and if it is not, would another interpreter, or process, give the same?

    one worker --the interpreter is free--> more, threads  --together they compute no more than one.
        `--it is held, the function is pure--> workers boot, repeat an item --alike--> isolated    |
                                                     `--unlike--> one worker   <--no gain--'  <----'
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import logging
import math
import sys
import time
from typing import TYPE_CHECKING, Any

from . import _known, _native, _pure_names, _purity
from ._auto_caller import Beginning, may_raise_into_calls
from ._auto_runner import SHARED, IsolatedRunner, Probe, Rest, Unusable, boot, choose_probe, why_useless
from ._auto_watcher import LIMITS, Limits, Look, Watcher
from ._cores import usable_cores
from ._runtime import is_coroutine_function
from .future import SafeFuture
from .isolation import HAS_INTERPRETERS, is_traced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .map_result import MapResult
    from .thread_pool import SafeThreadPool

__all__ = ["LIMITS", "Driver", "Limits"]

_LOGGER = logging.getLogger("pyferris")
_SCALES = "the interpreter is free while items run: threads scale"
_SECONDS_AN_ELEMENT = 4e-9  # of what an item holds, to look for what items share
_SHARE = 0.05  # of the time so far, which that may take
_TOO_FEW = 4  # items that say little of what one takes
_TURNS = "threads take turns: together they compute no more than one"


class Driver(Watcher):
    """Steers one map. All methods but ``run``'s runners are called by one thread, the one that waits for it."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        pool: Callable[[], SafeThreadPool],
        max_workers: int | None,
        fail_fast: bool,
    ) -> None:
        self.limits = LIMITS
        self.reason: str = "the work was over before more workers were worth it"
        self.mode = "threads"
        self.lanes = 0 if is_coroutine_function(function) else 1
        """Workers at first; 0 for all."""
        self._function = function
        self.items = items
        self._pool = pool  # made when it is first asked for
        self._max_workers = max_workers
        self._fail_fast = fail_fast
        self._began = time.perf_counter()
        self._ready: list[SafeFuture[str | None]] = []
        self._verdict: _purity.Verdict | None = None  # not asked yet
        self._library: set[str] = set()  # modules that the function uses
        self.broken = False
        self.shared = False  # items have parts in common that can change; only where the caller can do it all
        self.isolated: SafeThreadPool | None = None
        self._runner: IsolatedRunner | None = None
        self.workers = 0
        """Isolated ones, where they did the work."""
        self._mapped: MapResult[Any]
        self._shows = True
        self._decided: SafeFuture[None] = SafeFuture()

    def run(self, mapped: MapResult[Any], shows: bool = True) -> None:
        """Until the map is over, or nothing is left to be decided. Raises what a signal handler raises.

        ``shows``: the thread is the one that reads the map, and so sees to its progress line.
        """
        self._mapped = mapped
        self._shows = shows
        if not self.lanes:
            self.reason = "coroutine functions share an event loop"
            return
        first: Look | None = None
        if not self.limits.patient:
            first = self._watch_for(self.limits.own_look, self.verdict.reason is None)
            if first.over:
                if first.held:
                    self.reason = self._why_not_isolated() or self.reason
                return
        if mapped._finished == mapped._added:
            return
        if self.limits.patient:
            while not mapped._finished and not self.over(self.limits.first_look):
                pass
            mapped._run_by(self.hold)
        self._steer(first=first)

    def _steer(self, *, first: Look | None = None, convoy: bool = False) -> None:
        try:
            self._decide(first, convoy)
        finally:
            if self._runner is None:
                self._mapped._run_by(None)
            self._release()

    def _release(self) -> None:
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self._decided.set_result(None)

    def hold(self, items: list[Any]) -> tuple[list[Any], dict[int, None] | None, int]:
        """Runs items once it is decided how."""
        _native.wait_through(self._decided)
        runner = self._runner
        if runner is not None:
            return runner(items)
        return [None] * len(items), dict.fromkeys(range(len(items))), 0

    @property
    def is_void(self) -> bool:
        """Whether nothing counts of what isolated workers have done: the caller does it all."""
        return self.shared and self._runner is not None and self._runner.given_up is not None

    def close(self, wait: bool) -> None:
        """After the map: let go of the isolated workers."""
        runner, pool = self._runner, self.isolated
        if runner is not None and runner.given_up is not None:
            self.mode, self.reason = "inline" if self.shared else "threads", runner.given_up
        if pool is not None and (runner is None or not wait or runner.is_trying()):
            self.drop_isolated()
        elif pool is not None:
            pool.shutdown()
        del self._pool  # of who has this: together they would keep the items

    def begin(self, return_exceptions: bool) -> Beginning | None:
        """What the caller runs by itself; None if it would be told from another thread's work."""
        if not self.verdict.keeps_to_data:
            return None
        if self.verdict.reason is not None and len(self.items) <= _known.MOST_DATA:
            self.items = self.items[:]  # which it may change; a longer list is not among its data
        if return_exceptions and may_raise_into_calls():
            return None
        self.mode, self.reason = "inline", "the work was over before more workers were worth it"
        return Beginning(self, self._function, self.items, return_exceptions)

    @functools.cached_property
    def _cores(self) -> int:
        return usable_cores()

    def prepare(self) -> None:
        """Before workers begin: what must not be looked at beside one that computes."""
        self.most_workers()

    @property
    def verdict(self) -> _purity.Verdict:
        if self._verdict is None:
            try:
                self._verdict = _purity.judge(self._function, self._library, process=not HAS_INTERPRETERS)
            except Exception as error:  # of what passes for something else
                self._verdict = _purity.Verdict(f"looking at it failed: {error!r}", False)
        return self._verdict

    @property
    def lets_go(self) -> bool:
        """Whether the function, of which ``begin`` has had the caller run something, may free the interpreter."""
        return not _pure_names.LETTING_GO.isdisjoint(self._library)

    def may_scale(self, cost: float) -> bool:
        """Whether items that take ``cost`` seconds are worth to be shared out between threads."""
        return self.lets_go and cost >= self.limits.least_shared and self.most_workers() > 1

    def is_cheap(self, cost: float) -> bool:
        """Whether an item that takes so many seconds is not worth its way to others."""
        return cost < self.limits.least_item

    def go_on(self, mapped: MapResult[Any], beginning: Beginning) -> None:
        """``mapped`` is the map of what the caller has left."""
        self._mapped = mapped
        if not beginning.stopped and not beginning.scales:
            self._hand_over(1 / beginning.cost)
            return
        self._began, self.mode = time.perf_counter(), "threads"
        if beginning.stopped:
            self.reason = "items are not small plain data"
            self.run(mapped)
            return
        if self._scale() == 1:
            self._steer(convoy=True)

    def _scale(self) -> int:
        """Have more workers run items, and return how many: as many as there are cores, or all, where they wait for
        something; 1, and one again, if together they compute no more than one can.

        An interpreter that is free for moments, as while small files are read, looks free to all who wait for it.
        """
        limits = self.limits
        most = self._pool()._max_workers
        lanes = min(most, self._cores)
        computed = self._try(lanes, limits.short_trial)
        if self._is_one(computed):
            computed = self._try(lanes, limits.trial)  # to be sure
        elif lanes < most and computed < limits.all_compute * lanes:
            lanes = most
            computed = self._try(lanes, limits.trial)
        if not self._is_one(computed):
            self.reason = _SCALES
            return lanes
        self.reason = _TURNS  # until it is known whether isolation does better
        self._mapped._widen(1)
        return 1

    def _is_one(self, computed: float) -> bool:
        """Whether workers that so many of compute take turns: they do not wait for something, nor compute together."""
        return self.limits.one_computes < computed < self.limits.gain

    def _try(self, lanes: int, seconds: float) -> float:
        """How many of so many workers compute; inf where the map is over before that can be told."""
        self._mapped._widen(lanes)
        cpu, then = self._cpu(), time.perf_counter()
        return math.inf if self.over(seconds) else self._computed(cpu, then)

    def _decide(self, first: Look | None, convoy: bool) -> None:
        """Look until the work can be said to scale by threads, or to be isolated, or neither.

        ``first``: what has been seen before, if that is clear; ``convoy``: threads were seen to take turns.
        """
        limits = self.limits
        lanes, most = 1, self._pool()._max_workers
        why_not: str | None = ""  # not asked yet
        wait = limits.turns  # until threads that took turns are tried again: the machine may have been busy
        again = time.perf_counter() + wait
        pause = limits.between_looks
        look: Look | None = first or self._look()
        while look is not None:
            convoy = convoy and time.perf_counter() < again
            held = look.held or convoy
            if why_not == "" and self._mapped._finished:
                why_not = self._why_not_isolated()
            if why_not is None and look.computed < 0.5:
                held = True  # it waits for nothing: the machine is busy
            worth = why_not is None and held and self._left() >= self.worth()
            if worth and self._own_items() and self._may_look_through():
                if self._isolate():
                    return
                why_not = self.reason
            if why_not and held:
                self.reason = why_not
            if why_not and limits.patient:
                return
            if not held and lanes < most:
                lanes = self._scale()
                if lanes == 1 < most:
                    convoy, wait = True, 2 * wait
                    again = time.perf_counter() + wait
            elif (
                held and why_not is not None and look.computed < limits.busy
            ):  # by others: the items wait for something
                lanes = min(most, lanes * 2)
                self._mapped._widen(lanes)
            if lanes == most and why_not:
                return
            look = self._watch_for(pause, not why_not) if lanes == 1 else self._look_after(pause)
            if look is not None and look.over:
                self.reason = why_not if why_not and look.held else self.reason
                return
            pause = min(2 * pause, limits.longest_wait)

    def _watch_for(self, pause: float, isolation: bool) -> Look:
        """Watch one worker, until something is worth it: ``isolation`` may be."""
        return self._watch(pause, self.worth() if isolation else math.inf, time.perf_counter() - self._began)

    def _why_not_isolated(self) -> str | None:
        return self.impossible((time.perf_counter() - self._began) / max(1, self._mapped._finished))

    def _left(self) -> float:
        """Seconds of work that is left for one worker, as far as can be told."""
        finished = self._mapped._finished
        if not finished:
            return 0.0
        return (self._mapped._added - finished) * (time.perf_counter() - self._began) / finished

    def _own_items(self) -> bool:
        """Have a list of the map's items that nobody else changes. False if there are none any more."""
        items = self._mapped._own_items()
        self.items = self.items if items is None else items
        return bool(self.items)

    def _may_look_through(self) -> bool:
        """Whether looking for what items share, which holds the interpreter, takes little of the time so far."""
        first, passed = self.items[0], time.perf_counter() - self._began
        most = int(passed * _SHARE / _SECONDS_AN_ELEMENT / len(self.items))
        return _native.is_small_data(first, most) or _native.are_apart([first]) is None

    def worth(self) -> float:
        if not HAS_INTERPRETERS:
            return self.limits.worth_process
        parked, _ = _native.interpreter_counts()
        if parked and parked >= self.most_workers():
            return self.limits.worth_warm
        return self.limits.worth_cold if "pyferris._interpreters" in sys.modules else self.limits.worth_first

    def most_workers(self) -> int:
        """Isolated ones that the map would have."""
        return max(1, min(self._max_workers or self._cores, self._cores, len(self.items)))

    def impossible(self, cost: float) -> str | None:
        """Why the map cannot be isolated, where an item takes ``cost`` seconds; None if it can."""
        if self.most_workers() < 2:
            return "there is one worker only, or one core"
        if not _native.in_main_interpreter():
            return "only the main interpreter makes others"
        if HAS_INTERPRETERS and is_traced():
            return "tracemalloc traces, and interpreters cannot be made then"
        if sys.flags.bytes_warning and not HAS_INTERPRETERS:
            return "worker processes do not look at bytes that are compared with text, as Python's option -b does"
        if self.verdict.reason is not None:
            return f"threads do not scale, and {self.verdict.reason}"
        if self.is_cheap(cost):
            return "an item takes less than its way to another interpreter would"
        return None

    def _isolate(self) -> bool:
        """Have isolated workers go on. False, with the reason, if they do not do the same as the caller, as fast."""
        mapped = self._mapped
        try:
            rest = Rest(mapped._added - mapped._finished, self._left(), self.most_workers())
            probe = choose_probe(mapped._samples(), mapped._result, self.items, rest, self.limits.slower)
            if not _native.are_apart(self.items):
                raise Unusable(SHARED)
            self.boot(probe)
        except Unusable as reason:
            self.reason = str(reason)
            return False
        except Exception as error:  # a failure to speed it up is none of the map
            _LOGGER.debug("safe_parallel_map: no isolation", exc_info=True)
            self.reason = f"isolating it failed: {error!r}"
            return False
        began, before = time.perf_counter(), mapped._finished
        while not self.is_ready():
            if self.broken:
                return False
            if self.over(0.002):
                return True
        done = mapped._finished - before
        if done < _TOO_FEW:  # else those before may have been others
            began, done = self._began, mapped._finished
        self._hand_over(done / (time.perf_counter() - began))
        return True

    def boot(self, probe: Probe) -> None:
        """Begin to have isolated workers."""
        self.drop_isolated()
        self.isolated, self._ready = boot(self._function, self.most_workers(), probe, self._library)

    def drop_isolated(self) -> None:
        """Let go of workers that have nothing to do."""
        if self.isolated is not None:
            self.isolated._abort()
            self.isolated.shutdown(wait=False)
            self.isolated = None

    def is_ready(self, wait: float = 0.0) -> bool:
        """Whether the isolated workers have repeated the item, and well. Once they have not, ``broken``.

        ``wait``: seconds at most.
        """
        if self.broken or not self._have_repeated(wait):
            return False
        why = why_useless(self._ready)
        if why is not None:
            self.broken, self.reason = True, why
        return why is None

    def _have_repeated(self, wait: float) -> bool:
        if wait > 0:
            concurrent.futures.wait(self._ready, None if wait == math.inf else wait)
        return all(each.done() for each in self._ready)

    def _hand_over(self, rate: float) -> None:
        """Have isolated workers run the items; one worker did ``rate`` a second."""
        assert self.isolated is not None
        mapped, workers = self._mapped, self.most_workers()
        runner = self._runner = IsolatedRunner(self.isolated, mapped, self._function, self._fail_fast, self.shared)
        mapped._run_by(runner)
        mapped._widen(2 * workers)  # while one of them is on its way, another runs
        self.mode = "interpreters" if HAS_INTERPRETERS else "processes"
        self.reason = f"the function is pure and computes: {workers} isolated workers"
        self.workers = workers
        self._release()
        then, before, computed = time.perf_counter(), mapped._finished, runner.computed
        while mapped._finished <= before + 4 * workers:
            if self.over(self.limits.trial):
                return
        took = time.perf_counter() - then
        # Items may take longer than those before did: what counts as well is that several compute at a time.
        faster = max((mapped._finished - before) / took / rate, (runner.computed - computed) / took)
        if faster < self.limits.gain:
            runner.give_up(f"isolated workers were {faster:.2f} times as fast as one thread")
