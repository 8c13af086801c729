"""What the caller of a map learns from the items that it runs itself, by a clock that the items drive."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest

from pyferris import _auto_caller, _auto_worker, _shipping
from pyferris._auto_watcher import LIMITS
from pyferris._library import describe

WORTH = 0.05


class Driver:
    """One that isolates at once what is worth it."""

    limits = LIMITS
    lets_go = False
    shared = False
    broken = False
    reason = ""

    def __init__(self, now: Callable[[], float]) -> None:
        self.isolated: Any = None
        self.booted_at: list[float] = []
        self.most_ns = 0
        self._now = now

    def impossible(self, cost: float) -> None:
        assert cost > 0

    def may_scale(self, cost: float) -> bool:
        assert cost > 0
        return False

    def most_workers(self) -> int:
        return 2

    def worth(self) -> float:
        return WORTH

    def boot(self, probe: Any) -> None:
        self.most_ns = probe.most_ns
        self.isolated = self
        self.booted_at.append(self._now())

    def is_ready(self, wait: bool) -> bool:
        return not wait


def run(costs: list[float], monkeypatch: pytest.MonkeyPatch) -> tuple[Driver, int]:
    """Items that take so many seconds each: the driver, and how many of them the caller has run."""
    now = 0.0

    def take(number: int) -> int:
        nonlocal now
        now += costs[number]
        return number

    def stretch(beginning: Any, count: int, _most: int, seconds: float) -> bool:
        end = now + seconds
        for number in range(len(beginning.results), len(costs))[:count]:
            beginning.results.append(take(number))
            if now >= end:
                break
        return False

    monkeypatch.setattr(_auto_caller, "time", types.SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(_auto_caller.Beginning, "_stretch", stretch)
    driver = Driver(lambda: now)
    beginning = _auto_caller.Beginning(driver, take, range(len(costs)), False)  # type: ignore[arg-type]
    assert beginning.run() == (len(beginning.results) == len(costs))
    assert beginning.results == list(range(len(beginning.results)))
    return driver, len(beginning.results)


def test_work_that_is_worth_it_is_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, done = run([0.002] * 100, monkeypatch)
    assert driver.booted_at == [pytest.approx(0.004)]
    assert done == 3


def test_less_work_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for costs in ([0.002] * 25, [0.00002] * 2_400, [0.04]):
        assert run(costs, monkeypatch)[0].booted_at == []


@pytest.mark.parametrize("place", [200, 500, 800])
def test_one_dear_item_among_many_says_nothing_of_the_others(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = [0.00002] * 1_000
    costs[place] = 0.08
    assert run(costs, monkeypatch)[0].booted_at == []


@pytest.mark.parametrize(("first", "others"), [(0.055, 500), (0.2, 700)])
def test_a_dear_first_item_says_nothing_of_the_others(
    first: float, others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run([first] + [0.00006] * others, monkeypatch)[0].booted_at == []
    driver, _ = run([first] + [0.00006] * 5_000, monkeypatch)
    assert len(driver.booted_at) == 1
    assert driver.most_ns < 100_000  # each worker repeats a cheap one


def test_a_few_dear_items_are_isolated_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run([0.06] * 8, monkeypatch)[0].booted_at == [0.06]


def test_items_that_become_dearer_are_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, done = run([0.00002] * 200 + [0.002] * 100, monkeypatch)
    assert len(driver.booted_at) == 1
    assert done < 220


def test_what_is_nearly_over_is_not_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    ready: list[float] = []
    monkeypatch.setattr(Driver, "is_ready", lambda self, _wait: bool(ready.append(self._now()) or self._now() > 0.098))
    driver, done = run([0.001] * 100, monkeypatch)
    assert driver.booted_at
    assert ready
    assert max(ready) < 0.098
    assert done == 100


def test_items_of_which_every_other_one_is_dear_are_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, done = run([0.00002, 0.004] * 50, monkeypatch)
    assert len(driver.booted_at) == 1
    assert done < 10


def test_a_worker_that_was_slow_for_a_moment_does_what_it_gets() -> None:
    blob = _shipping.ship(abs).blob
    library = describe([])
    _auto_worker.verify(blob, library, 3, _auto_worker.fingerprint(3), 1)
    assert "0.000 ms are allowed" in str(_auto_worker.verdict())
    data, failures, _ = _auto_worker.call_checked(abs, [-1, 2], True, False)
    assert (bool(data), failures) == (True, None)
    _auto_worker.verify(blob, library, 3, _auto_worker.fingerprint(4), 0)
    assert "another result" in str(_auto_worker.verdict())
    with pytest.raises(_auto_worker.Unlike, match="another result"):
        _auto_worker.call_checked(abs, [-1, 2], True, False)
