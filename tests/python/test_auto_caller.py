"""What the caller of a map learns from the items that it runs itself, by a clock that the items drive."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest

from pyferris import _auto_caller, _auto_runner, _auto_worker, _native, _shipping
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

    def __init__(self, now: Callable[[], float], ready_after: float | None) -> None:
        """``ready_after``: seconds after which the isolated workers have repeated an item; None for never."""
        self.isolated: Any = None
        self.booted_at: list[float] = []
        self.most_ns = 0
        self._now = now
        self._ready_after = ready_after
        self.waited: list[float] = []

    def impossible(self, cost: float) -> str | None:
        return "too cheap" if self.is_cheap(cost) else None

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

    def drop_isolated(self) -> None:
        self.isolated = None

    def is_cheap(self, cost: float) -> bool:
        return cost < self.limits.least_item

    def is_ready(self, wait: float) -> bool:
        self.waited.append(wait)
        return self._ready_after is not None and self._now() >= self.booted_at[-1] + self._ready_after


def run(costs: list[float], monkeypatch: pytest.MonkeyPatch, ready_after: float | None = 0.0) -> tuple[Driver, int]:
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
    driver = Driver(lambda: now, ready_after)
    beginning = _auto_caller.Beginning(driver, take, range(len(costs)), False)  # type: ignore[arg-type]
    assert beginning.run() == (len(beginning.results) == len(costs))
    assert beginning.results == list(range(len(beginning.results)))
    return driver, len(beginning.results)


def test_work_that_is_worth_it_is_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, done = run([0.002] * 100, monkeypatch)
    assert driver.booted_at == [pytest.approx(0.006)]
    assert done == 4


@pytest.mark.parametrize("stall", [0.0, 0.1])
def test_a_patient_map_leaves_all_but_the_first_items_to_the_decision(
    stall: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long the machine keeps the caller at the start: what was isolated would be a matter of chance.
    eager = LIMITS._replace(patient=True, own_look=0.0, worth_threads=0.0, worth_warm=0.0)
    monkeypatch.setattr(Driver, "limits", eager)
    _, done = run([stall] + [0.0002] * 999, monkeypatch)
    assert done == _auto_caller._SAMPLES + 1


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


@pytest.mark.parametrize("dear", [2, 3])
@pytest.mark.parametrize("others", [200, 1_000])
def test_a_few_dear_items_at_first_say_nothing_of_the_many_others(
    dear: int, others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run([0.1] * dear + [0.00005] * others, monkeypatch)[0].booted_at == []


def test_workers_do_not_go_on_with_a_dear_item_once_items_are_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, done = run([0.1] * 6 + [0.00005] * 1_000, monkeypatch, ready_after=0.1)
    assert driver.booted_at == [pytest.approx(0.4)]
    assert done == 5

    costs = [0.1] * 4 + [0.00005] * 400
    driver, done = run(costs, monkeypatch, ready_after=0.1)
    assert driver.booted_at == [pytest.approx(0.4)]
    assert driver.isolated is None
    assert done == len(costs)

    driver, _ = run([0.1] * 4 + [0.00005] * 4_000, monkeypatch, ready_after=0.1)
    assert len(driver.booted_at) == 2
    assert driver.most_ns < 100_000  # now they repeat a cheap one


def test_workers_are_not_let_go_of_where_dear_items_still_come(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, done = run([0.03, 0.0001] * 100, monkeypatch, ready_after=0.05)
    assert len(driver.booted_at) == 1
    assert driver.isolated is driver
    assert done < 20


def test_items_too_cheap_for_their_way_are_not_isolated_after_dear_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, done = run([0.1] * 4 + [0.0000005] * 400_000, monkeypatch, ready_after=0.1)
    assert driver.booted_at == [pytest.approx(0.4)]
    assert driver.isolated is None
    assert done == 400_004


def test_a_few_dear_items_are_isolated_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, done = run([0.06] * 8, monkeypatch, ready_after=0.06)
    assert driver.booted_at == [0.06]
    assert done == 2


def test_the_caller_waits_for_a_moment_rather_than_begin_another_dear_item(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, _ = run([0.06] * 8, monkeypatch, ready_after=0.1)
    assert driver.waited[0] == pytest.approx(0.006)
    assert all(wait < 0 for wait in driver.waited[1:])


def test_so_few_items_that_sharing_them_out_gains_nothing_are_not_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, done = run([0.06] * 5, monkeypatch, ready_after=0.07)  # two are left, as long as one must be repeated
    assert driver.booted_at == [0.06]
    assert done == 5


def test_items_that_become_dearer_are_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, done = run([0.00002] * 200 + [0.002] * 100, monkeypatch)
    assert len(driver.booted_at) == 1
    assert done < 220


def test_what_is_nearly_over_is_not_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, done = run([0.001] * 100, monkeypatch, ready_after=0.094)
    assert driver.booted_at
    assert done == 100


def test_items_of_which_every_other_one_is_dear_are_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, done = run([0.00002, 0.004] * 50, monkeypatch)
    assert len(driver.booted_at) == 1
    assert done < 10


def given(expected: int, most_ns: int) -> tuple[bytes, dict[str, int], int, bytes, int, int]:
    return _shipping.ship(abs).blob, describe([]), -3, _auto_worker.fingerprint(expected), most_ns, 1 << 40


def test_a_worker_that_was_slow_for_a_moment_does_what_it_gets() -> None:
    _auto_worker.prepare(*given(3, 1))
    assert "0.000 ms are allowed" in str(_auto_worker.verdict())
    data, failures, _ = _auto_worker.call_checked(abs, [-1, 2], True, False)
    assert (bool(data), failures) == (True, None)


def test_a_worker_that_is_unlike_the_caller_does_nothing() -> None:
    _auto_worker.prepare(*given(4, 0))
    assert "another result" in str(_auto_worker.verdict())
    with pytest.raises(_auto_worker.Unlike, match="another result"):
        _auto_worker.call_checked(abs, [-1, 2], True, False)


def test_a_worker_that_is_untried_does_nothing_but_says_so() -> None:
    _auto_worker.prepare(*given(3, 0))
    assert _auto_worker.call_checked(abs, [-1, 2], True, False) == _auto_worker.UNTRIED
    assert _auto_worker.verdict() is None
    assert _auto_worker.call_checked(abs, [-1, 2], True, False) != _auto_worker.UNTRIED


@pytest.mark.parametrize(("took_ns", "tries"), [(1_000, 5), (1_000_000, 5), (60_000_000, 2)])
def test_a_slow_worker_does_not_repeat_a_dear_item_often(
    took_ns: int, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = count = 0

    def take(_item: int) -> int:
        nonlocal now, count
        now += took_ns
        count += 1
        return 3

    monkeypatch.setattr(_auto_worker, "time", types.SimpleNamespace(thread_time_ns=lambda: now))
    monkeypatch.setattr(_auto_worker, "load_function", lambda _blob: take)
    _auto_worker.prepare(*given(3, took_ns - 1))
    assert "are allowed" in str(_auto_worker.verdict())
    assert count == tries


@pytest.mark.parametrize(("slower", "allowed"), [(1.0, False), (1.9, True)])
def test_a_worker_is_not_slow_where_its_core_is(slower: float, allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0

    def take(_item: int) -> int:
        nonlocal now
        now += 1_800_000
        return 3

    monkeypatch.setattr(_auto_worker, "time", types.SimpleNamespace(thread_time_ns=lambda: now))
    monkeypatch.setattr(_auto_worker, "load_function", lambda _blob: take)
    monkeypatch.setattr(_auto_worker, "pace", lambda: int(50_000 * slower))
    _auto_worker.prepare(*given(3, 1_000_000)[:5], 50_000)
    assert (_auto_worker.verdict() is None) is allowed


def test_the_pace_of_a_core_is_that_of_its_best_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0, 50, 100, 130, 200, 290, 300, 345])
    monkeypatch.setattr(_auto_worker, "time", types.SimpleNamespace(thread_time_ns=lambda: next(times)))
    assert _auto_worker.pace() == 30
    monkeypatch.setattr(_auto_runner, "_least_pace", 0)
    paces = iter([40, 30, 50])
    monkeypatch.setattr(_auto_worker, "pace", lambda: next(paces))
    assert [_auto_runner._fastest_pace() for _ in range(3)] == [40, 30, 30]


@pytest.mark.parametrize(
    ("thing", "elements"),
    [
        (1, 0),
        ("text" * 1000, 0),
        (range(10**6), 0),
        (bytearray(10**6), 4),
        ((), 4),
        ((1, "a", None, 2.5, b"", True, 1j, ...), 12),
        ([1, "a"], 6),
        ([[], []], 14),
        ([(1, 2), 3], 12),
        ({}, 4),
        ({1: 2, "a": (3,)}, 17),
        ({(1, 2): 3}, 14),
        ({1, 2, 3}, 22),
        (frozenset("ab"), 16),
        ({("a", "b")}, 16),
    ],
)
def test_how_much_it_takes_to_look_at_an_item(thing: object, elements: int) -> None:
    assert _native.is_small_data(thing, elements)
    assert elements == 0 or not _native.is_small_data(thing, elements - 1)


class Own(int):
    pass


@pytest.mark.parametrize(
    "thing",
    [
        Own(1),
        [Own(1)],
        (1, [Own(1)]),
        {"a": Own(1)},
        {Own(1): 1},
        {Own(1)},
        frozenset([Own(1)]),
        {"a": {"b": [Own(1)]}},
    ],
)
def test_what_is_no_plain_data_is_found_wherever_it_is(thing: object) -> None:
    assert not _native.is_small_data(thing, 10**6)


def test_an_item_that_holds_itself_is_too_large() -> None:
    items: list[object] = []
    items.append(items)
    assert not _native.is_small_data(items, 10**9)
    table: dict[int, object] = {}
    table[0] = table
    assert not _native.is_small_data(table, 10**9)
