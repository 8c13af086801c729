"""safe_parallel_map and safe_parallel_map_async: a list, in order, from a pool that they have to themselves."""

from __future__ import annotations

import asyncio
import collections
import os
import threading
import time
from typing import Any
from unittest import mock

import pytest

from pyferris.isolation import HAS_INTERPRETERS
from pyferris.safe_thread import (
    ExplainedList,
    MapReport,
    SafeThread,
    SafeThreadPool,
    safe_parallel_map,
    safe_parallel_map_async,
    sleep,
)

LIMIT = 30  # seconds; only a failure takes that long


class Boom(Exception):
    pass


def run_async(*args: Any, **options: Any) -> list[Any]:
    return asyncio.run(safe_parallel_map_async(*args, **options))


both = pytest.mark.parametrize("parallel_map", [safe_parallel_map, run_async], ids=["sync", "async"])


def fail(number: int) -> int:
    if number == 3:
        raise Boom(number)
    return number


@both
def test_a_list_in_order(parallel_map: Any) -> None:
    assert parallel_map(abs, range(-500, 0)) == list(range(500, 0, -1))
    assert parallel_map(abs, iter([-1]), 1, 5) == [1]
    assert parallel_map(abs, []) == []
    assert type(parallel_map(abs, [1])) is list


@both
def test_uses_no_more_workers_than_told(parallel_map: Any) -> None:
    names = parallel_map(lambda _: threading.current_thread().name, range(200), max_workers=2)
    assert 1 <= len(set(names)) <= 2
    assert threading.current_thread().name not in names


def test_runs_at_the_same_time() -> None:
    barrier = threading.Barrier(3)
    assert sorted(safe_parallel_map(lambda _: barrier.wait(LIMIT), range(3), max_workers=3)) == [0, 1, 2]


@both
def test_the_first_error_is_raised_and_the_rest_cancelled(parallel_map: Any) -> None:
    ran: list[int] = []

    def call(number: int) -> None:
        ran.append(number)
        if number == 0:
            raise Boom
        sleep(LIMIT)

    with pytest.raises(Boom) as caught:
        parallel_map(call, range(50), max_workers=1, chunksize=1)
    assert len(ran) <= 2
    assert any("item 0" in note for note in caught.value.__notes__)


@both
def test_return_exceptions(parallel_map: Any) -> None:
    results = parallel_map(fail, range(5), return_exceptions=True)
    assert isinstance(results.pop(3), Boom)
    assert results == [0, 1, 2, 4]


@both
def test_timeout(parallel_map: Any) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        parallel_map(lambda _: sleep(LIMIT), range(3), max_workers=1, timeout=0.01)
    assert time.monotonic() - began < LIMIT / 2


@both
def test_isolation(parallel_map: Any) -> None:
    own = threading.get_ident()
    assert parallel_map(lambda _: threading.get_ident(), [1, 2], isolation="inline") == [own, own]
    for isolation in ("auto", "none", None):
        assert own not in parallel_map(lambda _: threading.get_ident(), [1, 2], isolation=isolation)
    with pytest.raises(ValueError, match="'isolated', 'inline', 'auto'"):
        parallel_map(abs, [1], isolation="threads")


@both
def test_wrong_arguments(parallel_map: Any) -> None:
    with pytest.raises(ValueError, match="max_workers"):
        parallel_map(abs, [1], max_workers=0)
    with pytest.raises(ValueError, match="chunksize"):
        parallel_map(abs, [1], chunksize=0)
    with pytest.raises(TypeError):
        parallel_map(abs, 1)
    with pytest.raises(TypeError):
        parallel_map(abs, [1], nonsense=1)


def test_inside_a_worker_it_runs_inline() -> None:
    with SafeThreadPool(1, "outer") as pool:
        names = pool.submit(safe_parallel_map, lambda _: threading.current_thread().name, range(5)).result(LIMIT)
    assert names == ["outer_0"] * 5


def test_inside_a_worker_the_awaited_one_runs_inline() -> None:
    def call() -> list[str]:
        return run_async(lambda _: threading.current_thread().name, range(5))

    with SafeThreadPool(1, "outer") as pool:
        assert pool.submit(call).result(LIMIT) == ["outer_0"] * 5


def test_inside_a_thread_or_a_coroutine_it_does_not_run_inline() -> None:
    def call() -> set[str]:
        return set(safe_parallel_map(lambda _: threading.current_thread().name, range(5)))

    async def awaited() -> list[str]:
        return await safe_parallel_map_async(lambda _: threading.current_thread().name, range(5))

    thread = SafeThread(target=call)
    thread.start()
    assert all(name.startswith("safe_parallel_map") for name in thread.get_result(LIMIT))
    with SafeThreadPool(1, "outer") as pool:
        assert all(name.startswith("safe_parallel_map") for name in pool.submit(awaited).result(LIMIT))


@both
@pytest.mark.parametrize("kind", [Boom, SystemExit, KeyboardInterrupt])
def test_the_first_error_in_time_is_raised_at_once(parallel_map: Any, kind: type[BaseException]) -> None:
    """Nobody waits for the items that still run."""
    gate = threading.Event()

    def call(number: int) -> None:
        if number == 1:
            raise kind("early")
        assert gate.wait(LIMIT)

    with pytest.raises(kind, match="early"):
        parallel_map(call, range(2), 2)
    gate.set()


@both
def test_inline_stops_at_the_first_error_as_a_loop_would(parallel_map: Any) -> None:
    ran: list[int] = []

    def call(number: int) -> None:
        ran.append(number)
        if number == 2:
            raise Boom

    with pytest.raises(Boom):
        parallel_map(call, range(10), isolation="inline")
    assert ran == [0, 1, 2]


@both
def test_explain(parallel_map: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "pyferris"):
        result = parallel_map(abs, range(-100, 0), 2, 10, explain=True)  # given a size, threads run them
    assert result == list(range(100, 0, -1))
    assert isinstance(result, ExplainedList)
    report = result.report
    assert isinstance(report, MapReport)
    assert report.mode == "threads"
    assert "'auto'" in report.reason
    assert report.items == 100
    assert 1 <= report.chunks <= 100
    assert 1 <= report.workers <= 2
    assert report.seconds > 0
    assert report.speed == 100 / report.seconds
    assert str(report) in caplog.text
    inline = parallel_map(abs, [-1], isolation="inline", explain=True).report
    assert (inline.mode, inline.workers, inline.items) == ("inline", 0, 1)
    with SafeThreadPool(1) as pool:
        nested = pool.submit(parallel_map, abs, [-1], explain=True).result(LIMIT).report
    assert nested.mode == "inline"
    assert "worker" in nested.reason


@both
def test_progress(parallel_map: Any, capfd: pytest.CaptureFixture[str]) -> None:
    assert parallel_map(abs, range(30), progress=True) == list(range(30))
    output = capfd.readouterr()
    assert "30/30" in output.err + output.out


def test_the_loop_goes_on_meanwhile() -> None:
    async def main() -> None:
        gate = threading.Event()
        mapped = asyncio.ensure_future(safe_parallel_map_async(lambda _: gate.wait(LIMIT), range(2)))
        await asyncio.sleep(0)
        assert not mapped.done()
        gate.set()  # nobody else could
        assert await mapped == [True, True]

    asyncio.run(main())


def test_cancelling_stops_the_map() -> None:
    async def main() -> None:
        ran: list[int] = []

        def call(number: int) -> None:
            ran.append(number)
            sleep(LIMIT)

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(safe_parallel_map_async(call, range(50), 1), 0.05)
        assert len(ran) <= 1

    asyncio.run(main())


class Unreadable:
    """Pickled well, but whoever reads it fails."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return fail_to_read, (self.number,)


def fail_to_read(number: int) -> None:
    raise LookupError(f"cannot read {number}")


def reciprocal(item: Any) -> Any:
    return 60 // item


KINDS = ["none", "auto", "process", *(["interpreter"] if HAS_INTERPRETERS else [])]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunksize", [1, 2, 6])
def test_what_fails_in_a_run_fails_alone(kind: Any, chunksize: int) -> None:
    found = safe_parallel_map(reciprocal, [1, 2, 0, 4, 0, 5], 2, chunksize, isolation=kind, return_exceptions=True)
    assert [each if isinstance(each, int) else type(each).__name__ for each in found] == [
        60,
        30,
        "ZeroDivisionError",
        15,
        "ZeroDivisionError",
        12,
    ]


@pytest.mark.parametrize("kind", [each for each in KINDS if each not in ("none", "auto")])
def test_an_item_that_a_worker_cannot_read_fails_alone(kind: Any) -> None:
    items = [1, 2, Unreadable(7), 4]
    found = safe_parallel_map(reciprocal, items, 1, 4, isolation=kind, return_exceptions=True)
    assert [each if isinstance(each, int) else repr(each) for each in found] == [
        60,
        30,
        "LookupError('cannot read 7')",
        15,
    ]
    with pytest.raises(LookupError, match="cannot read 7"):
        safe_parallel_map(reciprocal, items, 1, 4, isolation=kind)


class Environment(type(os.environ)):  # type: ignore[misc]
    def __init__(self, data: dict[str, str]) -> None:
        self._data = data

    def __getitem__(self, key: str) -> str:
        return self._data[key]


@pytest.mark.parametrize("kind", [dict, collections.UserDict, Environment])
def test_the_environment_may_be_another_object(kind: Any) -> None:
    for value, mode in (("inline", "inline"), ("none", "threads")):
        with mock.patch.object(os, "environ", kind({"PYFERRIS_ISOLATION": value})):
            assert safe_parallel_map(abs, [-1], explain=True).report.mode == mode
    with mock.patch.object(os, "environ", kind({})):
        assert "'auto'" in safe_parallel_map(abs, [-1], explain=True).report.reason
