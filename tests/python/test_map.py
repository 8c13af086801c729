"""SafeThreadPool.map and MapResult: order, one pass, waiting forms, errors, limits, cancelling, laziness."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import itertools
import sys
import threading
import traceback
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from pyferris.safe_thread import MapResult, PoolClosed, SafeThreadPool, sleep

LIMIT = 30  # seconds; only a failure takes that long


class Boom(Exception):
    pass


def fail_at(bad: int) -> Any:
    def call(number: int) -> int:
        if number == bad:
            raise Boom(number)
        return number

    return call


class Thing:
    pass


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 1_000, 5_003])
@pytest.mark.parametrize("chunksize", [1, 7, 10_000])
def test_results_in_order(pool: SafeThreadPool, count: int, chunksize: int) -> None:
    result = pool.map(lambda number: number * 2, range(count), chunksize=chunksize)
    assert isinstance(result, MapResult)
    assert list(result) == [2 * number for number in range(count)]


def test_several_iterables_end_with_the_shortest(pool: SafeThreadPool) -> None:
    assert list(pool.map(pow, [2, 3, 4], itertools.count(1))) == [2, 9, 64]
    assert list(pool.map(lambda pair: pair, [(1, 2), (3, 4)])) == [(1, 2), (3, 4)]


def test_many_items_run_at_the_same_time() -> None:
    barrier = threading.Barrier(4)
    with SafeThreadPool(4) as pool:
        assert sorted(pool.map(lambda _: barrier.wait(LIMIT), range(4))) == [0, 1, 2, 3]


def test_an_exact_chunksize_runs_on_one_thread(pool: SafeThreadPool) -> None:
    threads = list(pool.map(lambda _: threading.get_ident(), range(100), chunksize=25))
    assert [len(set(threads[start : start + 25])) for start in range(0, 100, 25)] == [1, 1, 1, 1]


def test_one_pass(pool: SafeThreadPool) -> None:
    result = pool.map(int, range(5))
    assert next(result) == 0
    assert list(result) == [1, 2, 3, 4]
    with pytest.raises(StopIteration):
        next(result)
    for again in (lambda: list(result), lambda: result[0], lambda: result == [0]):
        with pytest.raises(RuntimeError, match="list"):
            again()
    with pytest.raises(RuntimeError, match="list"):
        asyncio.run(awaited(result))


async def awaited(result: Any) -> Any:
    return await result


def compared(result: Any) -> list[int]:
    assert result == list(range(40))
    return list(range(40))


async def iterated(result: Any) -> list[Any]:
    return [item async for item in result]


def test_forms_that_wait_do_not_consume(pool: SafeThreadPool) -> None:
    result = pool.map(int, range(50))
    assert len(result) == 50
    assert (result[0], result[-1], result[10:12]) == (0, 49, [10, 11])
    with pytest.raises(IndexError):
        result[50]
    assert result == list(range(50))
    assert result != list(range(49))
    assert result != tuple(range(50))
    assert result == result
    assert asyncio.run(awaited(result)) == list(range(50))
    assert list(result) == list(range(50))


def test_hash_and_repr_do_not_wait(pool: SafeThreadPool) -> None:
    gate = threading.Event()
    result, other = pool.map(lambda _: gate.wait(LIMIT), [1]), pool.map(int, [1])
    assert len({result, other, result}) == 2
    assert "MapResult" in repr(result)
    assert len(result) == 1
    gate.set()
    assert list(result) == [True]


def test_items_are_let_go_as_they_are_read(pool: SafeThreadPool) -> None:
    alive: weakref.WeakSet[Thing] = weakref.WeakSet()

    def make(_: int) -> Thing:
        thing = Thing()
        alive.add(thing)
        return thing

    result = pool.map(make, range(1_000))
    pool.map(int, [1])[0]
    for left in reversed(range(1_000)):
        assert isinstance(next(result), Thing)
        assert len(alive) <= left
    assert len(alive) == 0


READS: dict[str, Any] = {
    "iterate": next,
    "index": lambda result: result[0],
    "await": lambda result: asyncio.run(awaited(result)),
    "async for": lambda result: asyncio.run(iterated(result)),
}

# --- errors


def test_an_error_names_its_item_and_comes_after_the_items_before(pool: SafeThreadPool) -> None:
    result = pool.map(fail_at(70), range(200))
    assert [next(result) for _ in range(70)] == list(range(70))
    with pytest.raises(Boom) as caught:
        next(result)
    assert caught.value.args == (70,)
    assert any("70" in note for note in caught.value.__notes__)
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "call"
    with pytest.raises(StopIteration):
        next(result)


def test_one_error_raised_by_many_items_names_the_last_and_does_not_grow() -> None:
    error = ValueError("again")
    error.add_note("mine")

    def fail(_: int) -> None:
        raise error

    with SafeThreadPool(1) as pool:
        assert list(pool.map(fail, range(50), return_exceptions=True)) == [error] * 50
        assert error.__notes__ == ["mine", "raised for item 49 of the map"]
        with pytest.raises(ValueError, match="again"):
            list(pool.map(fail, [0]))
    assert error.__notes__ == ["mine", "raised for item 0 of the map"]


def test_an_error_is_raised_by_every_form(pool: SafeThreadPool) -> None:
    for form in (list, lambda result: result[3], lambda result: result[:], lambda result: result == []):
        with pytest.raises(Boom):
            form(pool.map(fail_at(3), range(9)))
    for read in (awaited, iterated):
        with pytest.raises(Boom):
            asyncio.run(read(pool.map(fail_at(3), range(9))))


def test_an_error_cancels_what_is_queued() -> None:
    ran: list[int] = []
    gate = threading.Event()

    def call(number: int) -> None:
        ran.append(number)
        if number == 0:
            raise Boom
        assert gate.wait(LIMIT)

    with SafeThreadPool(1) as pool:
        result = pool.map(call, range(10))
        with pytest.raises(Boom):
            next(result)
        gate.set()
    assert len(ran) <= 2


def test_return_exceptions(pool: SafeThreadPool) -> None:
    results = list(pool.map(fail_at(3), range(6), return_exceptions=True))
    assert isinstance(results[3], Boom)
    assert results[:3] + results[4:] == [0, 1, 2, 4, 5]


def test_system_exit_of_an_item_reaches_the_reader(pool: SafeThreadPool) -> None:
    def leave(_: int) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        list(pool.map(leave, range(3)))
    assert list(pool.map(int, [1])) == [1]


def test_siblings_of_a_failed_map_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    def fail(number: int) -> None:
        raise (Boom if number % 2 else SystemExit)(number)

    with SafeThreadPool(2) as pool, pytest.raises(SystemExit):
        list(pool.map(fail, range(100)))
    gc.collect()
    assert [record for record in caplog.records if record.name == "pyferris"] == []


@pytest.mark.parametrize("form", READS)
def test_timeout(form: str) -> None:
    with SafeThreadPool(1) as pool:
        result = pool.map(lambda _: sleep(LIMIT), range(2), timeout=0.01)
        with pytest.raises(TimeoutError):
            READS[form](result)
        result.close()


def test_finished_results_are_there_after_the_timeout(pool: SafeThreadPool) -> None:
    result = pool.map(int, range(5), timeout=0.05)
    assert result == list(range(5))
    while result._left:  # seconds of it; nothing else to wait for
        pool.submit(int).result()
    assert asyncio.run(awaited(result)) == list(range(5))
    assert list(result) == list(range(5))


# --- cancelling


class Queue:
    """A pool of one whose worker is in a call, and a map of 10 items behind it; `ran` are those that ran."""

    def __init__(self, **options: Any) -> None:
        self.ran: list[int] = []
        self.gate = threading.Event()
        self.pool = SafeThreadPool(1)
        self.first = self.pool.submit(self.gate.wait, LIMIT)
        self.result = self.pool.map(self.ran.append, range(10), chunksize=1, **options)

    def finish(self) -> list[int]:
        self.gate.set()
        self.pool.shutdown()
        return self.ran


def test_close_cancels_what_is_queued() -> None:
    queue = Queue()
    queue.result.close()
    queue.result.close()
    assert queue.finish() == []
    assert list(queue.result) == []


def test_a_map_that_is_dropped_unread_runs_on() -> None:
    queue = Queue()
    del queue.result
    gc.collect()
    assert queue.finish() == list(range(10))


def test_leaving_a_started_loop_cancels_the_rest() -> None:
    ran: list[int] = []
    gate = threading.Event()

    def call(number: int) -> None:
        ran.append(number)
        assert number == 0 or gate.wait(LIMIT)

    with SafeThreadPool(1) as pool:
        for _ in pool.map(call, range(10)):
            break
        gc.collect()
        gate.set()
    assert len(ran) <= 2


@pytest.mark.parametrize("read", [awaited, iterated])
def test_cancelling_an_await_cancels_the_rest(read: Any) -> None:
    queue = Queue()

    async def main() -> None:
        task = asyncio.ensure_future(read(queue.result))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert queue.finish() == []


def test_close_asks_the_running_call_to_stop() -> None:
    started = threading.Event()

    def call(_: int) -> None:
        started.set()
        sleep(LIMIT)

    with SafeThreadPool(1) as pool:
        result = pool.map(call, [1])
        assert started.wait(LIMIT)
        result.close()


def test_shutdown_that_cancels_ends_a_readers_wait() -> None:
    queue = Queue()
    queue.pool.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(concurrent.futures.CancelledError):
        next(queue.result)
    assert queue.finish() == []


# --- laziness


def test_buffersize_takes_from_infinite_inputs_as_it_is_read(pool: SafeThreadPool) -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    result = pool.map(lambda number: -number, numbers(), buffersize=5)
    assert len(taken) <= 5
    for number, item in enumerate(itertools.islice(result, 100)):
        assert item == -number
        assert len(taken) <= number + 6
    result.close()


def test_with_buffersize_only_iteration(pool: SafeThreadPool) -> None:
    result = pool.map(int, range(10), buffersize=2)
    for form in (len, lambda each: each[0], lambda each: each == [], lambda each: asyncio.run(awaited(each))):
        with pytest.raises(TypeError, match="buffersize"):
            form(result)
    assert asyncio.run(iterated(result)) == list(range(10))
    assert list(pool.map(int, range(10), buffersize=3, chunksize=2)) == list(range(10))


def test_an_error_of_the_input_reaches_the_caller(pool: SafeThreadPool) -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise Boom

    with pytest.raises(Boom):
        pool.map(int, numbers())
    with pytest.raises(Boom):
        list(pool.map(int, numbers(), buffersize=1))


# --- asyncio, nesting, progress, arguments


def test_await_and_async_for(pool: SafeThreadPool) -> None:
    assert asyncio.run(awaited(pool.map(int, range(1_000)))) == list(range(1_000))
    assert asyncio.run(iterated(pool.map(int, range(1_000)))) == list(range(1_000))


def test_a_map_in_a_call_of_the_same_pool() -> None:
    with SafeThreadPool(1) as pool:
        assert pool.submit(lambda: list(pool.map(int, range(500)))).result(LIMIT) == list(range(500))
        assert list(pool.map(lambda n: sum(pool.map(int, range(n))), range(5))) == [0, 0, 1, 3, 6]


@pytest.mark.parametrize(
    "read",
    [list, lambda result: asyncio.run(awaited(result)), lambda result: asyncio.run(iterated(result)), compared],
    ids=["iterate", "await", "async for", "compare"],
)
def test_progress(pool: SafeThreadPool, capfd: pytest.CaptureFixture[str], read: Any) -> None:
    assert read(pool.map(int, range(40), progress=True)) == list(range(40))
    output = capfd.readouterr()
    assert "40/40" in output.err + output.out


@pytest.mark.parametrize("chunksize", [0, -1])
def test_wrong_chunksize(pool: SafeThreadPool, chunksize: int) -> None:
    with pytest.raises(ValueError, match=f"chunksize.*{chunksize}"):
        pool.map(int, [1], chunksize=chunksize)


def test_other_wrong_arguments(pool: SafeThreadPool) -> None:
    with pytest.raises(TypeError):
        pool.map(int, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"buffersize.*0"):
        pool.map(int, [1], buffersize=0)
    with pytest.raises(TypeError, match="buffersize"):
        pool.map(int, [1], buffersize="2")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        list(pool.map(3, [1]))  # type: ignore[arg-type]


def test_a_map_on_a_closed_pool() -> None:
    pool = SafeThreadPool(1)
    pool.shutdown()
    with pytest.raises(PoolClosed):
        pool.map(int, [1])


def test_a_loop_of_islices_ends_in_an_error_that_says_what_to_do_and_a_batched_one_works(pool: SafeThreadPool) -> None:
    mapped = pool.map(abs, range(5))
    assert [list(itertools.islice(mapped, 2)) for _ in range(3)] == [[0, 1], [2, 3], [4]]
    with pytest.raises(RuntimeError, match="keep a list of it"):
        list(itertools.islice(mapped, 2))
    if sys.version_info >= (3, 12):
        assert list(itertools.batched(pool.map(abs, range(5)), 2)) == [(0, 1), (2, 3), (4,)]


def test_a_loop_over_a_map_in_a_variable_goes_on_until_it_is_closed() -> None:
    gate = threading.Event()
    with SafeThreadPool(1) as pool:
        mapped = pool.map(lambda number: number == 0 or gate.wait(LIMIT), range(3))
        for _ in mapped:
            break
        gc.collect()
        assert pool.active_tasks > 0
        mapped.close()
        gate.set()
    assert mapped._finished < 3
