"""isolation="auto": never another answer than a loop gives, whoever runs the items."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import auto_corpus
import pytest
from interleaving import beside, switching
from own_process import run

from pyferris import _auto, _auto_caller, _native
from pyferris._cores import usable_cores
from pyferris.isolation import HAS_INTERPRETERS
from pyferris.map_result import MapResult
from pyferris.safe_thread import safe_parallel_map, safe_parallel_map_async

HERE = Path(__file__).parent
ISOLATED = "interpreters" if HAS_INTERPRETERS else "processes"


def compare(group: int) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(HERE / "auto_corpus.py"), str(group)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)])},
    )
    assert done.returncode == 0, done
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("group", range(len(auto_corpus.GROUPS)))
def test_every_answer_is_that_of_a_loop(group: int) -> None:
    found = compare(group)
    pure = {case.name for case in auto_corpus.GROUPS[group] if case.pure}
    assert len(found) == len(auto_corpus.GROUPS[group])
    for name, outcome in found.items():
        assert outcome["differs"] == [], (name, outcome)
        if name in pure - (auto_corpus.IN_ANOTHER_ORDER if ISOLATED == "processes" else set()):
            assert outcome["mode"] == ISOLATED, (name, outcome)
        elif name not in auto_corpus.PURE_ENOUGH:
            assert outcome["mode"] != ISOLATED, (name, outcome)


def test_the_corpus_is_large() -> None:
    assert len(auto_corpus.CASES) >= 60
    assert _auto.LIMITS.patient is False


def run_async(*args: Any, **options: Any) -> list[Any]:
    return asyncio.run(safe_parallel_map_async(*args, **options))


both = pytest.mark.parametrize("parallel_map", [safe_parallel_map, run_async], ids=["sync", "async"])


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Isolates whatever may be isolated, however short."""
    monkeypatch.setattr(_auto, "LIMITS", auto_corpus.EAGER)
    with switching(1e-4):
        yield


def work(n: int) -> int:
    return sum(range(n + 20000))


def fail_at_50(n: int) -> int:
    if n == 50:
        raise ValueError(n)
    return work(n)


def endless_at_2000(n: int) -> int:  # which the caller, who works until others do, is far from reaching
    while n == 2000:
        pass
    return work(n)


@both
def test_an_isolated_map_says_so(eager: None, parallel_map: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "pyferris"):
        result = parallel_map(work, (n for n in range(80)), 2, explain=True)
    assert result == list(map(work, range(80)))
    report = result.report
    assert (report.mode, report.items, report.workers) == (ISOLATED, 80, 2)
    assert "pure" in report.reason
    assert report.chunks >= 2
    assert report.speed > 0
    assert str(report) in caplog.text


@both
@pytest.mark.parametrize("chunksize", [1, 7, None])
def test_results_are_in_order_whatever_the_chunks(eager: None, parallel_map: Any, chunksize: int | None) -> None:
    assert parallel_map(work, range(100), 2, chunksize) == list(map(work, range(100)))


@both
def test_an_error_is_raised_as_the_caller_would_raise_it(eager: None, parallel_map: Any) -> None:
    with pytest.raises(ValueError, match="50") as caught:
        parallel_map(fail_at_50, range(100), 2)
    assert caught.value.__cause__ is None
    assert any("item 50" in note for note in caught.value.__notes__)
    assert caught.traceback[-1].name == "fail_at_50"


@both
def test_errors_take_the_place_of_their_items(eager: None, parallel_map: Any) -> None:
    results = parallel_map(fail_at_50, range(100), 2, return_exceptions=True)
    assert isinstance(results[50], ValueError)
    results[50] = work(50)
    assert results == list(map(work, range(100)))


def test_a_list_that_shrinks_meanwhile_ends_where_it_ends() -> None:
    items = list(range(10))

    def cuts(item: int) -> int:
        if item == 3:
            del items[5:]
        return item

    results: list[int] = []
    _native.extend_by(results, cuts, items, 8, -1, 60)
    assert results == [0, 1, 2, 3, 4]
    with pytest.raises(IndexError):  # of the function's own
        _native.extend_by([], [].pop, [0], 1, -1, 60)


@pytest.mark.parametrize("grows", [False, True])
def test_a_list_that_another_thread_changes_is_gone_through_as_by_a_loop(grows: bool) -> None:
    for _ in range(20):
        items = list(range(2000))
        change = functools.partial(items.extend, range(2000, 2500))
        if not grows:
            change = functools.partial(items.__delitem__, slice(30, None))
        results = beside(change, functools.partial(safe_parallel_map, abs, items))
        assert results == list(range(len(results)))
        assert len(results) in ((2000, 2500) if grows else range(30, 2001))


def test_an_impure_function_gets_the_items_that_there_were() -> None:
    items = list(range(10))

    def grows(item: int) -> int:
        if len(items) < 20:
            items.append(99)
        return item

    assert safe_parallel_map(grows, items) == list(range(10))


@pytest.mark.parametrize("items", [range(5, 25, 2), tuple(range(20)), [3, 1, 2], "text"])
def test_items_are_gone_through_in_stretches(items: Any) -> None:
    results: list[Any] = []
    for end in (0, 1, 1, 2, len(items)):
        assert not _native.extend_by(results, repr, items, end, 16, 60)
        assert results == list(map(repr, items[:end]))
    _native.extend_by(results, repr, items, len(items) + 5, 16, 60)
    assert len(results) == len(items)


SHARED: list[int] = [1]


@pytest.mark.parametrize(
    ("items", "apart"),
    [
        (range(10), True),
        ([1, 2.0, "a", b"b", None, True, 1j, ...], True),
        ([(1, ("a", frozenset([2])))] * 3, True),
        ([[1], {"a": [2]}, {3}, ([4], [5])], True),
        ([bytearray(3), bytearray(3), memoryview(b"abc")], True),
        ([[SHARED, SHARED]], True),  # one item knows of itself
        ([SHARED, SHARED], False),
        ([(1, SHARED), (2, SHARED)], False),
        ([{"a": SHARED}, [[SHARED]]], False),
        ([bytearray(SHARED)] * 2, False),
        ([iter([1])], None),
        ([1, object()], None),
        ([SHARED, SHARED, object()], None),
        ([functools.reduce(lambda inner, _: [inner], range(500), [])], None),
    ],
)
def test_whether_items_share_parts(items: Any, apart: bool | None) -> None:
    assert _native.are_apart(items) is apart
    assert _native.are_apart(tuple(items)) is apart


def fail_from_40(n: int) -> int:
    if n >= 40:
        raise ValueError(n)
    return work(n)


def fail_late_and_early(n: int) -> int:
    if n in (70, 90):
        if n == 70:
            sum(range(3_000_000))  # the other one is first, in time
        raise ValueError(n)
    return work(n)


@pytest.mark.parametrize(("function", "number"), [(fail_from_40, 40), (fail_late_and_early, 70)])
def test_the_first_error_of_a_pure_function_is_that_of_a_loop(eager: None, function: Any, number: int) -> None:
    for _ in range(10):
        with pytest.raises(ValueError, match=str(number)) as caught:
            safe_parallel_map(function, range(200), 2)
        assert caught.value.__notes__ == [f"raised for item {number} of the map"]
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None


def test_an_error_has_the_context_that_it_has_in_a_loop(eager: None) -> None:
    def fails(n: int) -> int:
        try:
            return 1 // (n - 50) + work(n)
        except ZeroDivisionError:
            raise ValueError(n) from None

    outer = KeyError("outer")

    def maps() -> None:
        try:
            raise outer
        except KeyError:
            safe_parallel_map(fails, range(100), 2)

    with pytest.raises(ValueError, match="50") as caught:
        maps()
    assert isinstance(caught.value.__context__, ZeroDivisionError)
    assert caught.value.__context__.__context__ is outer
    assert caught.value.__suppress_context__


stop = False


def until_stopped(n: int) -> int:
    return -1 if stop else work(n)


@both
def test_a_global_that_another_thread_binds_is_seen(
    eager: None, parallel_map: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "stop", False)
    timer = threading.Timer(0.5, lambda: monkeypatch.setitem(globals(), "stop", True))
    timer.start()
    results = parallel_map(until_stopped, range(200_000), 2)
    timer.join()
    assert results[0] == work(0)
    assert results[-1] == -1


@both
def test_the_time_of_an_isolated_map_is_limited(eager: None, parallel_map: Any) -> None:
    with pytest.raises(TimeoutError):
        parallel_map(endless_at_2000, range(4000), 2, timeout=0.5)


@both
def test_progress_of_an_isolated_map(eager: None, parallel_map: Any, capfd: pytest.CaptureFixture[str]) -> None:
    parallel_map(work, range(80), 2, progress=True)
    output = capfd.readouterr()
    assert "80/80" in output.err + output.out


def test_one_worker_is_never_isolated(eager: None) -> None:
    report = safe_parallel_map(work, range(80), 1, explain=True).report
    assert report.mode == "inline"
    assert "one worker" in report.reason


def test_a_function_with_state_says_why_it_is_not_isolated(eager: None) -> None:
    kept: list[int] = []
    report = safe_parallel_map(lambda n: kept.append(work(n)), range(80), 2, explain=True).report
    assert report.mode == "inline"
    assert kept == list(map(work, range(80)))
    assert "kept" in report.reason
    lock = threading.Lock()
    report = safe_parallel_map(lambda n: lock.locked() or work(n), range(80), 2, explain=True).report
    assert report.mode == "threads"
    assert "lock" in report.reason


def test_a_function_may_change_the_list_that_is_mapped() -> None:
    items = list(range(80))
    assert safe_parallel_map(lambda n: items.append(n) or n, items, 2) == list(range(80))
    assert items == [*range(80), *range(80)]


def test_a_function_with_state_runs_each_item_once_where_threads_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_auto.Driver, "is_long", lambda _self, _delays: False)
    monkeypatch.setattr(_auto, "LIMITS", _auto.LIMITS._replace(own_look=0, worth_threads=0))
    calls: dict[int, int] = {}
    failing = 60

    def note(number: int) -> str:
        calls[number] = calls.get(number, 0) + 1
        if number == failing:
            raise ValueError(number)
        return hashlib.sha256(bytes(1 << 20)).hexdigest()

    with pytest.raises(ValueError, match="60") as raised:
        safe_parallel_map(note, range(80), 2)
    assert raised.value.__notes__ == ["raised for item 60 of the map"]
    assert set(calls.values()) == {1}
    calls.clear()
    failing = -1
    found = safe_parallel_map(note, range(80), 2, explain=True)
    assert found.report.mode == "threads"
    assert calls == dict.fromkeys(range(80), 1)
    calls.clear()
    failing = 70
    found = safe_parallel_map(note, range(80), 2, return_exceptions=True)
    assert found[70].__notes__ == ["raised for item 70 of the map"]
    assert calls == dict.fromkeys(range(80), 1)


@pytest.mark.parametrize("lets_go", [False, True])
def test_only_what_may_free_the_interpreter_is_asked_whether_it_does(
    monkeypatch: pytest.MonkeyPatch, lets_go: bool
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(_auto_caller.Beginning, "_is_held", lambda _self, cost: asked.append(cost))
    monkeypatch.setattr(_auto, "LIMITS", _auto.LIMITS._replace(own_look=0, worth_threads=0, least_shared=0))
    function: Any = digest if lets_go else bytes.hex
    items = [bytes(1 << 16)] * 80
    assert safe_parallel_map(function, items, 2) == list(map(function, items))
    assert bool(asked) == lets_go


def test_a_worker_that_is_slower_is_not_used(eager: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_auto, "LIMITS", auto_corpus.EAGER._replace(slower=1e-9))
    result = safe_parallel_map(work, range(80), 2, explain=True)
    assert result == list(map(work, range(80)))
    assert result.report.mode == "inline"
    assert "allowed" in result.report.reason


def test_isolation_that_gains_nothing_is_given_up(eager: None, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = auto_corpus.EAGER._replace(gain=1e9, trial=0.01)
    monkeypatch.setattr(_auto, "LIMITS", limits)
    result = safe_parallel_map(work, range(2000), 2, explain=True)
    assert result == list(map(work, range(2000)))
    assert result.report.mode == "threads"
    assert "times as fast" in result.report.reason


def test_items_that_take_longer_than_those_before_are_no_sign_of_slow_workers(
    eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over = _auto.Driver._hand_over
    # Far above what the rate of items is worth then, far below what any worker computes, however busy the machine is.
    monkeypatch.setattr(_auto, "LIMITS", auto_corpus.EAGER._replace(gain=1e-6, trial=0.01))
    monkeypatch.setattr(_auto.Driver, "_hand_over", lambda self, rate: hand_over(self, 1e12))
    result = safe_parallel_map(work, range(2000), 2, explain=True)
    assert result == list(map(work, range(2000)))
    assert result.report.mode == ISOLATED, result.report


def test_items_that_wait_for_each_other_are_run_together() -> None:
    barrier = threading.Barrier(3)
    assert sorted(safe_parallel_map(lambda _: barrier.wait(30), range(3), 3)) == [0, 1, 2]


def test_ctrl_c_ends_an_isolated_map() -> None:
    output = run(
        """
        from pyferris import _auto, _auto_runner
        from pyferris.safe_thread import safe_parallel_map
        _auto.LIMITS = _auto.Limits(first_look=0, own_look=0, between_looks=0, held=-1, worth_threads=0, worth_warm=0,
                                    worth_cold=0, worth_first=0, worth_process=0, least_item=0, slower=0, gain=0,
                                    patient=True)
        sys.setswitchinterval(1e-4)
        def endless(n):  # at an item that the caller, who works until others do, is far from reaching
            while n == 2000:
                pass
            return sum(range(20000))
        run_isolated = _auto_runner.IsolatedRunner.__call__
        def interrupt_that_one(self, items):
            if 2000 in items:
                os.kill(os.getpid(), signal.SIGINT)
            return run_isolated(self, items)
        _auto_runner.IsolatedRunner.__call__ = interrupt_that_one
        try:
            safe_parallel_map(endless, range(4000), 2)
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert output == "interrupted"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_threads_are_used_where_they_scale_and_isolation_would_not_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    # With others on the cores two that compute together may get no more than one.
    never = _auto.LIMITS._replace(worth_warm=1e9, worth_cold=1e9, worth_first=1e9, worth_process=1e9, one_computes=2)
    monkeypatch.setattr(_auto, "LIMITS", never)
    items = [bytes(4 << 20)] * 100
    found = safe_parallel_map(digest, items, explain=True)
    assert found == [digest(items[0])] * 100
    assert found.report.mode == "threads"
    assert "threads scale" in found.report.reason


@pytest.mark.parametrize("all_compute", [0, 1e9])
def test_threads_that_compute_are_no_more_than_the_cores(all_compute: float, monkeypatch: pytest.MonkeyPatch) -> None:
    cores = usable_cores()
    never = _auto.LIMITS._replace(
        one_computes=2, all_compute=all_compute, worth_warm=1e9, worth_cold=1e9, worth_first=1e9
    )
    monkeypatch.setattr(_auto, "LIMITS", never)
    found = safe_parallel_map(digest_and_note, [bytes(4 << 20)] * 100, cores + 3, explain=True)
    assert found == [digest(bytes(4 << 20))] * 100
    assert found.report.workers == (cores + 3 if all_compute else cores)


seen: list[int] = []


def digest_and_note(data: bytes) -> str:
    seen.append(len(data))
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("function", [digest, digest_and_note])
def test_threads_that_take_turns_are_one_again(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = _auto.LIMITS._replace(one_computes=-1, gain=1e9, worth_warm=0, worth_cold=0, worth_first=0, worth_process=0)
    monkeypatch.setattr(_auto, "LIMITS", turns)
    widened: list[int] = []
    widen: Any = MapResult._widen

    def note(self: Any, lanes: int) -> None:
        widened.append(lanes)
        widen(self, lanes)

    monkeypatch.setattr(MapResult, "_widen", note)
    items = [bytes(4 << 20)] * 100
    found = safe_parallel_map(function, items, 3, explain=True)
    assert found == [digest(items[0])] * 100
    assert widened[0] == min(3, usable_cores())
    assert 1 in widened[1:3]
    assert "threads scale" not in found.report.reason
    if function is digest_and_note:
        assert found.report.mode == "threads"
        assert found.report.reason.startswith("isolation is 'auto': threads do not scale, and ")


class Slow:
    """Its own code waits, and sees who runs it."""

    def __init__(self, met: threading.Barrier) -> None:
        self.met = met

    def get(self, key: str) -> str:
        self.met.wait(30)
        return key

    def __len__(self) -> int:
        self.met.wait(30)
        return 3


@pytest.mark.parametrize("before", [0, 5000])
@pytest.mark.parametrize(
    ("function", "make", "expected"),
    [
        (lambda f: f if type(f) is int else f(30) * 0, lambda met: met.wait, 0),
        (lambda pair: pair if type(pair) is int else pair[0](*pair[1]) * 0, lambda met: (met.wait, (30,)), 0),
        (lambda client: client if type(client) is int else client.get("x"), Slow, "x"),
        (lambda thing: thing if type(thing) is int else len(thing), Slow, 3),
    ],
)
def test_items_whose_own_code_may_wait_are_for_threads(before: int, function: Any, make: Any, expected: Any) -> None:
    meeting = threading.Barrier(2)
    items = [*range(before), make(meeting), make(meeting)]
    found = safe_parallel_map(function, items, 2, explain=True)
    assert found == [*range(before), expected, expected]
    assert found.report.mode == "threads"


def test_items_after_which_come_others_are_each_run_once() -> None:
    calls: list[Any] = []

    def note(item: Any) -> Any:
        calls.append(1)
        return item

    items = [*range(3000), object(), *range(3000)]
    assert safe_parallel_map(note, items, 2) == items
    assert len(calls) == len(items)


def mean_of(numbers: list[int]) -> float:
    total = 0
    for number in numbers:
        total += number
    return total / len(numbers)


def test_large_items_go_to_isolated_workers_as_well(eager: None) -> None:
    items = [list(range(50_000 + n)) for n in range(80)]
    found = safe_parallel_map(mean_of, items, 2, explain=True)
    assert found == list(map(mean_of, items))
    assert found.report.mode == ISOLATED


def test_heavy_items_after_many_cheap_ones_are_shared_out() -> None:
    sizes: dict[int, int] = {}

    def note(data: bytes) -> str:
        sizes[len(data)] = 1
        return hashlib.sha256(data).hexdigest()

    items = [b""] * 30_000 + [bytes(3 << 20)] * 200
    found = safe_parallel_map(note, items, 2, explain=True)
    assert found == list(map(note, items))
    if usable_cores() > 1:
        assert found.report.mode == "threads"


def test_one_error_of_several_items_is_named_once() -> None:
    error = ValueError("one")
    cache = {"error": error}

    def fails(number: int) -> None:
        raise cache["error"]

    for isolation in ("auto", "none"):
        error.__notes__ = []
        assert safe_parallel_map(fails, range(4), 1, isolation=isolation, return_exceptions=True) == [error] * 4
        assert error.__notes__ == ["raised for item 3 of the map"]


def test_an_error_that_takes_no_note_is_a_result() -> None:
    class Bare(Exception):
        def add_note(self, _note: str) -> None:
            raise RuntimeError("no notes")

    def fails(number: int) -> None:
        raise Bare(number)

    found = safe_parallel_map(fails, range(3), 2, return_exceptions=True)
    assert [type(each) for each in found] == [Bare] * 3


@pytest.mark.parametrize("kind", [TimeoutError, ValueError])
def test_what_a_handler_of_signals_raises_ends_the_map(kind: type[Exception]) -> None:
    output = run(
        f"""
        import signal
        from pyferris.safe_thread import safe_parallel_map
        def ring(number, frame):
            raise {kind.__name__}("rung")
        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        seen = []
        def spin(number):
            seen.append(number)
            total = 0
            for i in range(100_000):
                total += i
        try:
            safe_parallel_map(spin, range(2000), 2, return_exceptions=True)
        except {kind.__name__} as error:
            print(error, len(seen) < 2000)
        """
    )
    assert output == "rung True"


def test_nothing_is_isolated_while_tracemalloc_traces() -> None:
    output = run(
        """
        import tracemalloc
        from pyferris.safe_thread import SafeThreadPool, safe_parallel_map
        def work(n):
            return sum(range(n % 7 + 20000))
        tracemalloc.start()
        found = safe_parallel_map(work, range(60), 2, explain=True)
        print(found == list(map(work, range(60))), found.report.mode in ("inline", "threads"))
        with SafeThreadPool(1, isolation="isolated") as pool:
            print(pool.submit(work, 1).result(60) == work(1))
        """
    )
    assert output == "True True\nTrue"
