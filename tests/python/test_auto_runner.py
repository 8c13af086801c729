"""The isolated workers of isolation="auto": that each is tried, that a trial can be stopped, who gets the items."""

from __future__ import annotations

from typing import Any

import pytest
from own_process import run

from pyferris import SafeFuture, _auto_runner, _auto_worker
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
