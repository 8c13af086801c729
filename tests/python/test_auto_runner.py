"""The isolated workers of isolation="auto": that each is tried, that a trial can be stopped, who gets the items."""

from __future__ import annotations

import types
from typing import Any

import pytest
from own_process import run

from pyferris import SafeFuture, _auto, _auto_runner, _auto_worker
from pyferris._auto_runner import Rest


def double(number: int) -> int:
    return 2 * number


class Pool:
    """One whose workers answer as they are told to."""

    _processes = None

    def __init__(self) -> None:
        self.tried: list[SafeFuture[str | None]] = []

    def submit(self, function: Any) -> SafeFuture[str | None]:
        assert function is _auto_worker.verdict
        self.tried.append(SafeFuture())
        return self.tried[-1]


def test_a_run_that_an_untried_worker_got_is_sent_again(monkeypatch: Any) -> None:
    answers = [_auto_worker.UNTRIED, _auto_worker.UNTRIED, (b"done", None, 5)]

    def submit(items: list[Any]) -> SafeFuture[Any]:
        assert items == [1, 2]
        future: SafeFuture[Any] = SafeFuture()
        future.set_result(answers.pop(0))
        return future

    monkeypatch.setattr(_auto_runner, "_submitter", lambda *_: submit)
    pool: Any = Pool()
    runner = _auto_runner.IsolatedRunner(pool, None, double, True, False)  # type: ignore[arg-type]
    assert not runner.is_trying()
    assert runner._send([1, 2]) == (b"done", None, 5)
    assert answers == []
    assert len(pool.tried) == 2
    assert runner.is_trying()
    for future in pool.tried:
        future.set_result(None)
    assert not runner.is_trying()


def test_every_worker_but_one_is_tried_at_once_and_the_last_one_when_it_is_needed() -> None:
    program = """
from pyferris import _auto_runner, _auto_worker

def double(number):
    return 2 * number

for workers in (1, 2, 3):
    probe = _auto_runner.Probe(3, _auto_worker.fingerprint(6), 0, 1e-6)
    pool, ready = _auto_runner.boot(double, workers, probe, set())
    print(len(ready), _auto_runner.why_useless(ready))
    runner = _auto_runner.IsolatedRunner(pool, None, double, True, False)
    print(all(runner([number]) [0] == [2 * number] for number in range(50)), runner.given_up)
    pool.shutdown()
probe = _auto_runner.Probe(3, _auto_worker.fingerprint(7), 0, 1e-6)
pool, ready = _auto_runner.boot(double, 2, probe, set())
print(_auto_runner.why_useless(ready))
pool.shutdown()
"""
    assert run(program).splitlines() == [
        *["1 None", "True None", "1 None", "True None", "2 None", "True None"],
        "an isolated worker gave another result than the caller for the same item",
    ]


def test_workers_that_are_let_go_of_do_not_finish_what_they_repeat() -> None:
    program = """
from pyferris import _auto_runner, _auto_worker

def endless(number):
    while True:
        number += 1

probe = _auto_runner.Probe(3, b"", 0, 1e-6)
pool, ready = _auto_runner.boot(endless, 3, probe, set())
while not all(future.running() for future in ready):
    pass
pool._abort()
print(pool.shutdown(timeout=30), [future.cancelled() for future in ready])
"""
    assert run(program) == "True [True, True]"


@pytest.mark.parametrize(
    ("items", "seconds", "workers", "repeated", "worth"),
    [
        (2, 2.0, 2, 1.0, False),  # the caller does them while others begin
        (3, 3.0, 2, 1.0, False),  # the last worker repeats one, while another does two
        (5, 5.0, 2, 1.0, True),  # a second, then two and three
        (4, 4.0, 3, 1.0, True),
        (5, 5.0, 2, 3.0, False),
        (200, 2.0, 2, 0.01, True),
        (8, 8.0, 8, 1.0, True),
        (1, 5.0, 2, 0.0, False),  # nothing to share out
        (1000, 0.0, 2, 0.0, False),
    ],
)
def test_what_is_left_is_worth_isolated_workers(
    items: int, seconds: float, workers: int, repeated: float, worth: bool
) -> None:
    assert Rest(items, seconds, workers).is_worth(repeated) is worth


def test_a_rest_gains_where_the_last_worker_repeats_an_item_meanwhile() -> None:
    assert not Rest(2, 2.0, 2).gains(1.0)  # another one does both of them
    assert Rest(3, 3.0, 2).gains(1.0)
    assert Rest(1000, 0.1, 2).gains(0.0001)
    assert not Rest(1000, 0.1, 2).gains(0.1)


@pytest.mark.parametrize(
    ("elements", "took_ns", "why"),
    [
        (25_000, 200_000, "too large for what they take: list"),
        (1_500, 100_000, "its way to a worker and back"),
        (1_500, 50_000_000, None),
        (10, 20_000, None),
    ],
)
def test_items_whose_way_takes_longer_than_they_do_are_not_sent(elements: int, took_ns: int, why: str | None) -> None:
    items = [[7] * elements] * 600
    rest = Rest(600, 600 * took_ns / 1e9, 2)
    if why is None:
        assert _auto_runner.choose_probe([(0, took_ns)], lambda _: 1, items, rest, 1.3).item is items[0]
    else:
        with pytest.raises(_auto_runner.Unusable, match=why):
            _auto_runner.choose_probe([(0, took_ns)], lambda _: 1, items, rest, 1.3)
    assert _auto_runner.choose_probe([(0, took_ns)], lambda _: 1, items, rest, 0).item is items[0]  # any time will do


def test_a_way_gains_with_the_workers_but_for_the_half_of_it_that_is_here() -> None:
    assert Rest(9, 9.0, 2).is_worth_way(1.0, 0.5)
    assert not Rest(9, 9.0, 2).is_worth_way(1.0, 0.9)
    assert Rest(9, 9.0, 8).is_worth_way(1.0, 1.5)
    assert not Rest(9, 9.0, 8).is_worth_way(1.0, 2.0)


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_worker_looks_at_is_none_of_the_functions_time(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0

    def look(value: Any) -> bytes:
        nonlocal now
        now += 1_000
        return b""

    def take(item: Any) -> int:
        nonlocal now
        now += 10
        if fails and item == [2]:
            raise ValueError
        return 1

    monkeypatch.setattr(_auto_worker, "time", types.SimpleNamespace(thread_time_ns=lambda: now))
    monkeypatch.setattr(_auto_worker, "fingerprint", look)
    _, failures, took = _auto_worker.call_checked(take, [[1], 5, [2], [3]], False, False)
    assert failures == ({2: None} if fails else None)
    assert took == (5_040 if fails else 40)


def test_what_items_share_is_looked_for_when_that_takes_little_of_the_time_that_has_passed() -> None:
    def driver(items: list[Any], seconds: float) -> Any:
        made: Any = _auto.Driver(len, items, lambda: None, None, True)  # type: ignore[arg-type, return-value]
        made._began -= seconds
        return made

    large = [[1, [0] * 1_000] for _ in range(1_000)]  # 4 ms
    assert not driver(large, 0.01)._may_look_through()
    assert driver(large, 1.0)._may_look_through()
    assert driver(list(range(1_000)), 0.0)._may_look_through()
    assert driver([[object()]] * 1_000, 0.0)._may_look_through()  # the first one says it
