"""How a map of one worker is watched, by a thread that stops it as seldom as can be."""

from __future__ import annotations

import math
import sys
import threading
import time

import pytest
from own_process import run

from pyferris.map_result import MapResult
from pyferris.safe_thread import SafeThreadPool

NEVER = math.inf
PEEKS = sys.version_info >= (3, 12)
"""Whether it can be seen that a thread has the interpreter, without asking for it."""


def watch(
    mapped: MapResult[object], worth: float = NEVER, passed: float = 1.0, *, busy: float = 0.35, dear: float = 2e-5
) -> tuple[bool, bool, float]:
    """Until something is worth it; (over, found held, cores used). ``dear``: seconds that such an item takes."""
    return mapped._watch(0.0005, 0.1, dear, 0.003, 0.4 * sys.getswitchinterval(), busy, worth, passed)


def compute(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sum(range(100))


def computing(pool: SafeThreadPool, seconds: float, items: int) -> MapResult[None]:
    """A map that has begun. The machine may give it less than a third of a core, which is no reason to look again."""
    begun = threading.Event()

    def begin(seconds: float) -> None:
        begun.set()
        compute(seconds)

    mapped = pool.map(begin, [seconds] * items)
    begun.wait()
    return mapped


def test_one_that_computes_is_watched_to_its_end() -> None:
    with SafeThreadPool(1) as pool:
        mapped = computing(pool, 0.03, 3) if PEEKS else computing(pool, 0.09, 1)  # who asks may come between two items
        over, held, _ = watch(mapped, busy=0.0)
        assert (over, held) == (True, True)
        assert mapped._finished == mapped._added


def test_one_that_waits_may_be_helped() -> None:
    with SafeThreadPool(1) as pool:
        goes_on = threading.Event()
        mapped = pool.map(goes_on.wait, [30.0] * 3)
        over, held, computed = watch(mapped)
        goes_on.set()
        assert (over, held) == (False, False)
        assert computed < 0.35
        assert mapped == [True] * 3


def test_what_is_worth_something_is_not_watched_on() -> None:
    with SafeThreadPool(1) as pool:
        mapped = computing(pool, 0.01, 200)
        over, held, computed = watch(mapped, 0.5, 0.0, busy=0.0)
        assert not over
        assert held
        assert computed > 0.0
        assert 0 < mapped._finished < 200
        mapped.close()


def test_cheap_items_are_watched_to_their_end_but_where_they_are_worth_something() -> None:
    with SafeThreadPool(1) as pool:
        over, _, _ = watch(pool.map(abs, range(300_000)), passed=0.0, busy=0.0, dear=1.0)
        assert over or not PEEKS  # who asks, as none is over while the machine keeps the worker, may come between two
        mapped = pool.map(abs, range(10_000_000))
        over, _, _ = watch(mapped, 1e-3, dear=1.0)
        assert not over
        mapped.close()


SEEN = """
    import math, resource, sys, threading, time
    from pyferris.safe_thread import SafeThreadPool

    def switches() -> int:
        return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw

    def compute(seconds: float) -> int:
        before, until = switches(), time.thread_time() + seconds
        while time.thread_time() < until:
            sum(range(100))
        return switches() - before

    def watch() -> None:  # not by the main thread, which looks for signals, too
        mapped = pool.map(compute, [0.05])
        assert mapped._watch(0.0005, 0.1, 2e-5, 0.003, 0.002, 0.0, math.inf, 0.0)[0]
        found.append(mapped[0])

    found = []
    with SafeThreadPool(1) as pool:
        pool.submit(abs, 1).result()
        for _ in range(5):
            thread = threading.Thread(target=watch)
            thread.start()
            thread.join()
    assert 0 in found, found
    print("ok")
"""


@pytest.mark.skipif(
    not PEEKS or not sys.platform.startswith("linux"),
    reason="before CPython 3.12 no thread sees if another has the interpreter; that one was stopped is Linux's to say",
)
def test_who_computes_is_not_stopped_to_be_watched() -> None:
    assert run(SEEN).split() == ["ok"]
