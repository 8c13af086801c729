"""Maps of pools of interpreters, in all their options."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import os
import resource
import signal
import threading
import time

import pytest
from interpreter_calls import LIMIT, count, needs_interpreters

from pyferris.errors import PoolClosed
from pyferris.safe_thread import SafeCounter, SafeQueue
from pyferris.thread_pool import SafeThreadPool

pytestmark = needs_interpreters


@pytest.fixture(name="pool")
def make_pool():
    with SafeThreadPool(2, isolation="interpreter") as made:
        yield made


def double(number):
    return 2 * number


def fail_on_odd(number):
    if number % 2:
        raise ValueError(number)
    return number


def test_results_come_in_order(pool):
    assert list(pool.map(double, range(10_000))) == [2 * n for n in range(10_000)]
    assert list(pool.map(pow, [2, 3], [3, 2])) == [8, 9]
    assert list(pool.map(double, [])) == []
    assert list(pool.map(lambda a, b: a - b, range(5), itertools.count())) == [0] * 5


@pytest.mark.parametrize("chunksize", [1, 2, 7, 1000])
def test_any_size_of_a_run_gives_the_same(pool, chunksize):
    assert list(pool.map(double, range(1003), chunksize=chunksize)) == [2 * n for n in range(1003)]


def test_items_may_be_taken_as_results_are_read(pool):
    results = pool.map(double, itertools.count(), buffersize=8)
    assert [next(results) for _ in range(500)] == [2 * n for n in range(500)]
    results.close()
    assert list(pool.map(double, iter(range(100)), buffersize=3, chunksize=2)) == [2 * n for n in range(100)]


def test_an_error_names_its_item_and_comes_in_its_place(pool):
    results = pool.map(fail_on_odd, [0, 2, 3, 4])
    assert [next(results), next(results)] == [0, 2]
    with pytest.raises(ValueError, match="3") as caught:
        next(results)
    assert "item 2" in caught.value.__notes__[-1]
    assert "in fail_on_odd" in str(caught.value.__cause__)


def test_errors_can_be_results(pool):
    found = list(pool.map(fail_on_odd, range(100), return_exceptions=True))
    assert found[::2] == list(range(0, 100, 2))
    assert [type(each) for each in found[1::2]] == [ValueError] * 50
    assert [each.args for each in found[1::2]] == [(n,) for n in range(1, 100, 2)]


def test_an_item_that_cannot_travel_fails_alone(pool):
    items = [1, threading.Lock(), 3, 4]
    for chunksize in (1, 4):
        found = list(pool.map(double, items, return_exceptions=True, chunksize=chunksize))
        assert [found[0], *found[2:]] == [2, 6, 8]
        assert isinstance(found[1], TypeError)
        assert "lock" in str(found[1])


def test_a_result_that_cannot_travel_fails_alone(pool):
    def odd_ones_are_generators(number):
        return (n for n in ()) if number % 2 else number

    found = list(pool.map(odd_ones_are_generators, range(6), return_exceptions=True, chunksize=6))
    assert found[::2] == [0, 2, 4]
    assert all(isinstance(each, TypeError) for each in found[1::2])


def test_a_function_that_cannot_travel_is_refused(pool):
    lock = threading.Lock()
    with pytest.raises(TypeError, match="lock"):
        pool.map(lambda _: lock, [1])


def test_length_index_and_comparison(pool):
    results = pool.map(double, range(10))
    assert len(results) == 10
    assert results[3] == 6
    assert results[-2:] == [16, 18]
    assert results == [2 * n for n in range(10)]
    assert "items=10" in repr(results)


def test_await_and_async_for(pool):
    async def main():
        assert await pool.map(double, range(1000)) == [2 * n for n in range(1000)]
        assert [each async for each in pool.map(double, range(1000))] == [2 * n for n in range(1000)]
        with pytest.raises(ValueError, match="1"):
            await pool.map(fail_on_odd, range(3))
        first, second = await asyncio.gather(*[pool.map(double, [n] * 100) for n in (1, 2)])
        assert (first, second) == ([2] * 100, [4] * 100)

    asyncio.run(main())


def busy(number, counter):
    if number:
        counter.increment()
        while True:
            pass
    return number


@pytest.mark.parametrize("way", ["close", "leave", "timeout"])
def test_what_runs_is_interrupted(pool, way):
    counter = SafeCounter()
    results = pool.map(busy, range(50), [counter] * 50, timeout=LIMIT if way != "timeout" else 0.3, chunksize=1)
    while not counter.get():  # one run may have taken all that is left
        pass
    if way == "close":
        results.close()
    elif way == "timeout":
        with pytest.raises(TimeoutError):
            list(results)
        results.close()
    else:
        assert next(results) == 0
        del results
    assert pool.submit(double, 1).result(LIMIT) == 2
    assert counter.get() < 50


def test_cancelling_an_await_cancels_the_rest(pool):
    counter = SafeCounter()

    async def main():
        async def wait():
            return await pool.map(busy, range(50), [counter] * 50)

        task = asyncio.ensure_future(wait())
        while not counter.get():  # one run may have taken all that is left
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert pool.submit(double, 1).result(LIMIT) == 2
    assert counter.get() < 50


def test_a_submit_waits_for_one_run_of_a_map_at_most():
    queue: SafeQueue[int] = SafeQueue()
    with SafeThreadPool(1, isolation="interpreter") as pool:
        results = pool.map(lambda each: queue.push(each) or each, range(2000), chunksize=10)
        other = pool.submit(lambda: queue.push(-1))
        other.result(LIMIT)
        assert list(results) == list(range(2000))
    seen = [queue.pop(block=False) for _ in range(2001)]
    assert seen.index(-1) < 1500


def test_shutdown_finishes_a_map():
    pool = SafeThreadPool(2, isolation="interpreter")
    results = pool.map(double, range(5000))
    assert pool.shutdown()
    assert list(results) == [2 * n for n in range(5000)]
    with pytest.raises(PoolClosed):
        pool.map(double, [1])


def test_shutdown_can_cancel_what_is_queued_of_a_map():
    queue: SafeQueue[int] = SafeQueue()
    counter = SafeCounter()

    def wait(_, counter, queue):
        counter.increment()
        queue.pop(timeout=60)

    pool = SafeThreadPool(1, isolation="interpreter")
    results = pool.map(wait, range(100), [counter] * 100, [queue] * 100, chunksize=1)
    while not counter.get():
        pass
    pool.shutdown(wait=False, cancel_futures=True)
    for _ in range(2):
        queue.push(1)
    assert pool.shutdown(timeout=LIMIT)
    with pytest.raises(concurrent.futures.CancelledError):
        list(results)
    assert counter.get() <= 2


def test_large_blocks_as_items_and_results(pool):
    data = [bytes([n]) * 200_000 for n in range(20)]
    assert list(pool.map(lambda each: each[::-1], data)) == data
    assert list(pool.map(bytearray, data)) == data


def test_two_maps_and_submits_at_once(pool):
    def work(base):
        futures = [pool.submit(double, base + n) for n in range(200)]
        mapped = list(pool.map(double, range(base, base + 500)))
        found.append(mapped == [2 * n for n in range(base, base + 500)])
        found.append([each.result(LIMIT) for each in futures] == [2 * (base + n) for n in range(200)])

    found: list[bool] = []
    threads = [threading.Thread(target=work, args=(1000 * each,)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8


def test_a_rebound_global_is_seen_by_the_next_map(pool):
    global factor
    for factor in (2, 3):
        assert list(pool.map(scaled, [1, 2])) == [factor, 2 * factor]
    assert pool.submit(scaled, 5).result(LIMIT) == 15


factor = 1


def scaled(number):
    return factor * number


def test_progress_is_shown(pool, capsys):
    assert list(pool.map(double, range(10), progress=True)) == [2 * n for n in range(10)]
    shown = capsys.readouterr()
    assert "10/10" in shown.out + shown.err


def test_prints_of_a_map_come_home_before_its_result(pool, capsys):
    def say(number):
        print("item", number)

    list(pool.map(say, range(20), chunksize=1))
    assert sorted(capsys.readouterr().out.split()) == sorted(["item"] * 20 + [str(n) for n in range(20)])


def test_a_map_is_not_stopped_by_a_pause_of_its_reader(pool):
    results = pool.map(double, range(100))
    first = next(results)
    ended = time.monotonic() + LIMIT
    while results._finished < 100 and time.monotonic() < ended:
        pass
    assert [first, *results] == [2 * n for n in range(100)]


SHORT = [200] * 20_000  # some 10 us each


def test_a_reader_is_not_woken_for_each_run_where_many_are_left(pool):
    list(pool.map(count, SHORT[:100]))
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    results = pool.map(count, SHORT)
    assert list(results) == [count(200)] * len(SHORT)
    woken = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before
    assert results._runs > 40
    assert woken < results._runs


def test_time_runs_out_while_plenty_is_left(pool):
    results = pool.map(count, SHORT, timeout=0.01)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        list(results)
    assert time.monotonic() - began < LIMIT / 2


def test_a_signal_interrupts_a_reader_while_plenty_is_left(pool):
    class Rung(Exception):
        pass

    def ring(_number, _frame):
        raise Rung

    before = signal.signal(signal.SIGUSR1, ring)
    try:
        results = pool.map(count, SHORT * 20)  # seconds

        def wait_and_ring():
            while results._finished < 1000:
                pass
            os.kill(os.getpid(), signal.SIGUSR1)

        ringer = threading.Thread(target=wait_and_ring)

        def read():
            ringer.start()
            list(results)

        with pytest.raises(Rung):
            read()
        assert results._finished < len(SHORT) * 10
        ringer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
