"""Pools of interpreters from their initializer to their shutdown, and the next pool after them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import gc
import os
import sys
import threading
import time
import weakref

import pytest
from interpreter_calls import LIMIT, add, fail, forever, needs_interpreters, other_interpreter, started, wait_for

from pyferris import _native
from pyferris.errors import BrokenPool, PoolClosed
from pyferris.future import SafeFuture
from pyferris.safe_thread import SafeQueue
from pyferris.thread_pool import SafeThreadPool

pytestmark = needs_interpreters


@pytest.fixture(name="pool")
def make_pool():
    with SafeThreadPool(2, isolation="interpreter") as made:
        yield made


# --- initializer, environment


def set_up(value):
    import builtins

    builtins.prepared = value


def prepared():
    import builtins

    return builtins.prepared


def test_the_initializer_runs_in_each_interpreter():
    gate: SafeQueue[int] = SafeQueue()

    def both(gate):
        gate.push(1)
        while gate.qsize() < 2:
            pass
        return prepared()

    with SafeThreadPool(2, initializer=set_up, initargs=("x",), isolation="interpreter") as pool:
        assert [each.result(LIMIT) for each in [pool.submit(both, gate), pool.submit(both, gate)]] == ["x", "x"]


def test_an_initializer_that_fails_breaks_the_pool(caplog):
    pool = SafeThreadPool(2, initializer=fail, initargs=("no start",), isolation="interpreter")
    futures = []
    with contextlib.suppress(BrokenPool):
        futures.extend(pool.submit(add, n) for n in range(5))
    assert futures
    for future in futures:
        with pytest.raises(BrokenPool) as caught:
            future.result(LIMIT)
        assert isinstance(caught.value.__cause__, ValueError)
        assert caught.value.__cause__.args == ("no start", 7)
    with pytest.raises(BrokenPool):
        pool.submit(add, 1)
    assert pool.shutdown(timeout=LIMIT)
    assert "no start" in caplog.text


def test_an_initializer_that_cannot_travel_is_refused():
    lock = threading.Lock()
    with pytest.raises(TypeError, match="lock"):
        SafeThreadPool(1, initializer=lambda: lock, isolation="interpreter")
    with pytest.raises(TypeError, match="initargs"):
        SafeThreadPool(1, initializer=print, initargs=(lock,), isolation="interpreter")


def test_the_default_is_a_worker_for_each_core():
    with SafeThreadPool(isolation="interpreter") as pool:
        assert pool._max_workers == len(os.sched_getaffinity(0)) or pool._max_workers >= 1
    with SafeThreadPool(isolation="isolated") as pool:
        assert pool.submit(other_interpreter).result(LIMIT)


@pytest.mark.parametrize("value", ["none", "inline"])
def test_the_environment_overrides_what_the_code_says(monkeypatch, value):
    monkeypatch.setenv("PYFERRIS_ISOLATION", value)
    with SafeThreadPool(1, isolation="interpreter") as pool:
        assert pool.submit(other_interpreter).result(LIMIT) is False


# --- shutdown


def test_shutdown_runs_what_is_queued():
    pool = SafeThreadPool(2, isolation="interpreter")
    futures = [pool.submit(add, n) for n in range(1000)]
    assert pool.shutdown()
    assert [future.result(0) for future in futures] == list(range(1000))
    with pytest.raises(PoolClosed, match="shutdown"):
        pool.submit(add, 1)
    with pytest.raises(PoolClosed):
        pool.map(add, [1])
    assert pool.shutdown()


def test_shutdown_without_waiting_runs_all_the_same():
    pool = SafeThreadPool(2, isolation="interpreter")
    futures = [pool.submit(add, n) for n in range(1000)]
    results = pool.map(add, range(100))
    assert pool.shutdown(wait=False)
    assert [future.result(LIMIT) for future in futures] == list(range(1000))
    assert list(results) == list(range(100))


def test_shutdown_can_cancel_what_is_queued():
    gate: SafeQueue[int] = SafeQueue()
    pool = SafeThreadPool(1, isolation="interpreter")
    running = pool.submit(wait_for, gate)
    while not running.running():
        pass
    queued = [pool.submit(add, n) for n in range(100)]
    assert pool.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in queued)
    gate.push(3)
    assert running.result(LIMIT) == 3
    assert pool.shutdown(timeout=LIMIT)


def test_shutdown_gives_up_after_its_time():
    gate: SafeQueue[int] = SafeQueue()
    pool = SafeThreadPool(1, isolation="interpreter")
    running = pool.submit(wait_for, gate)
    assert not pool.shutdown(timeout=0.01)
    gate.push(1)
    assert pool.shutdown(timeout=LIMIT)
    assert running.result(0) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_leaving_the_block_by_an_interrupt_stops_everything(error):
    queue: SafeQueue[int] = SafeQueue()
    left = []

    def block():
        with SafeThreadPool(1, isolation="interpreter") as pool:
            left.append(pool.submit(forever, queue))
            left.extend(pool.submit(add, n) for n in range(50))
            left.append(pool.map(add, range(10)))
            started(queue)
            raise error

    with pytest.raises(error):
        block()
    *futures, results = left
    assert all(each.cancelled() for each in futures)
    with pytest.raises((concurrent.futures.CancelledError, PoolClosed)):
        list(results)


def test_an_asynchronous_block_waits_and_can_be_cancelled():
    async def main():
        async with SafeThreadPool(2, isolation="interpreter") as pool:
            futures = [pool.submit(add, n) for n in range(100)]
        assert [future.result(0) for future in futures] == list(range(100))
        queue: SafeQueue[int] = SafeQueue()
        left: list[SafeFuture[None]] = []

        async def work():
            async with SafeThreadPool(2, isolation="interpreter") as pool:
                left.append(pool.submit(forever, queue))
                await asyncio.sleep(LIMIT)

        task = asyncio.ensure_future(work())
        await asyncio.to_thread(started, queue)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert left[0].cancelled()

    asyncio.run(main())


def test_a_pool_that_is_dropped_runs_what_was_queued_and_goes():
    pool = SafeThreadPool(1, isolation="interpreter")
    futures = [pool.submit(add, n) for n in range(100)]
    gone = weakref.ref(pool)
    del pool
    assert [future.result(LIMIT) for future in futures] == list(range(100))
    del futures
    deadline = time.monotonic() + LIMIT
    while gone() is not None and time.monotonic() < deadline:
        gc.collect()
    assert gone() is None


# --- the second pool


def dirty():
    import builtins
    import json
    import types

    builtins.left = sys.left = json.left = 1
    os.environ["LEFT"] = "1"
    sys.modules["left"] = types.ModuleType("left")
    functools.left = 1
    return len(sys.modules)


def look():
    import builtins
    import functools
    import json

    return [
        *[name for name in ("left",) if name in sys.modules],
        *[place.__name__ for place in (builtins, sys, json, functools) if hasattr(place, "left")],
        *[name for name in ("LEFT",) if name in os.environ],
        *[name for name in ("prepared",) if hasattr(builtins, name)],
    ]


def test_a_second_pool_uses_the_interpreters_again_and_finds_nothing():
    with SafeThreadPool(2, initializer=set_up, initargs=(1,), isolation="interpreter") as pool:
        assert all(each > 10 for each in pool.map(lambda _: dirty(), range(8), chunksize=1))
    parked = _native.interpreter_counts()[0]
    assert parked >= 1
    with SafeThreadPool(2, isolation="interpreter") as pool:
        assert list(pool.map(lambda _: look(), range(8), chunksize=1)) == [[]] * 8
    assert _native.interpreter_counts()[0] <= parked + 1
    assert "LEFT" not in os.environ


def test_globals_of_a_function_are_its_pools_own():
    with SafeThreadPool(1, isolation="interpreter") as pool:
        assert pool.submit(count_up).result(LIMIT) == 1
    with SafeThreadPool(1, isolation="interpreter") as pool:
        assert pool.submit(count_up).result(LIMIT) == 1
    assert counted == 0


counted = 0


def count_up():
    global counted
    counted += 1
    return counted


def test_one_interpreter_cannot_make_a_pool_of_others(pool):
    def nested():
        from pyferris.thread_pool import SafeThreadPool

        SafeThreadPool(1, isolation="interpreter")

    with pytest.raises(RuntimeError, match="isolation='none'"):
        pool.submit(nested).result(LIMIT)


def test_what_an_initializer_sets_in_globals_is_there_for_calls_of_its_pool_only() -> None:
    program = {"table": None}
    source = """
def set_up(n):
    global table
    table = list(range(n))

def use(i):
    return table and table[i] * 2
"""
    exec(compile(source, "<initializer>", "exec"), program)
    with SafeThreadPool(1, isolation="interpreter", initializer=program["set_up"], initargs=(5,)) as pool:
        assert pool.submit(program["use"], 4).result() == 8
        assert list(pool.map(program["use"], [1, 2])) == [2, 4]
    with SafeThreadPool(1, isolation="interpreter") as pool:
        assert pool.submit(program["use"], 4).result() is None
    assert program["table"] is None
