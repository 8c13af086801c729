"""Futures of pools of interpreters: waited for in every way, called back, cancelled."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import resource
import threading
import time

import pytest
from interpreter_calls import LIMIT, add, count, fail, forever, needs_interpreters, started, wait_for

from pyferris import _native
from pyferris.errors import CallCancelled
from pyferris.future import cancel_requested, check_cancelled, sleep
from pyferris.safe_thread import SafeQueue
from pyferris.thread_pool import SafeThreadPool

pytestmark = needs_interpreters


@pytest.fixture(name="pool")
def make_pool():
    with SafeThreadPool(2, isolation="interpreter") as made:
        yield made


# --- waiting


def test_of_a_long_queue_a_result_is_waited_for_as_long_as_asked(pool):
    queue = SafeQueue()
    futures = [pool.submit(wait_for, queue) for _ in range(100)]
    with pytest.raises(TimeoutError):
        futures[-1].result(0.01)
    for number in range(100):
        queue.push(number)
    assert sorted(future.result(LIMIT) for future in futures) == list(range(100))


def test_who_reads_a_long_queue_is_not_woken_for_each_result(pool):
    futures = [pool.submit(count, 500) for _ in range(3000)]
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    assert [future.result(LIMIT) for future in futures] == [count(500)] * 3000
    assert resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before < 300


def test_await_gather_and_wait_for(pool):
    async def main():
        assert await pool.submit(add, 1, 2) == 3
        assert await asyncio.gather(*[pool.submit(add, n) for n in range(1000)]) == list(range(1000))
        queue: SafeQueue[int] = SafeQueue()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pool.submit(wait_for, queue), 0.02)
        done, pending = await asyncio.wait([asyncio.ensure_future(pool.submit(add, 1))], timeout=LIMIT)
        assert (len(done), len(pending)) == (1, 0)
        with pytest.raises(ValueError, match="no"):
            await pool.submit(fail, "no")
        assert [await each for each in asyncio.as_completed([pool.submit(add, 5)])] == [5]

    asyncio.run(main())


def test_a_future_is_awaited_on_two_loops_at_once(pool):
    queue: SafeQueue[int] = SafeQueue()
    future = pool.submit(wait_for, queue)
    seen: list[int] = []
    ready = threading.Barrier(3)

    async def wait():
        task = asyncio.ensure_future(future)
        await asyncio.sleep(0)
        ready.wait(LIMIT)
        seen.append(await task)

    threads = [threading.Thread(target=lambda: asyncio.run(wait())) for _ in range(2)]
    for thread in threads:
        thread.start()
    ready.wait(LIMIT)
    queue.push(4)
    for thread in threads:
        thread.join()
    assert seen == [4, 4]


def test_the_standard_library_waits_for_them(pool):
    futures = [pool.submit(add, n) for n in range(50)]
    done, pending = concurrent.futures.wait(futures, LIMIT)
    assert (len(done), len(pending)) == (50, 0)
    futures = [pool.submit(add, n) for n in range(50)]
    assert sorted(each.result() for each in concurrent.futures.as_completed(futures, LIMIT)) == list(range(50))


def test_callbacks_are_called_once_each(pool):
    called: list[int] = []
    lot = [pool.submit(add, n) for n in range(200)]
    over = threading.Event()
    for future in lot:
        future.add_done_callback(lambda done: called.append(done.result()) or (len(called) == 200 and over.set()))
    assert over.wait(LIMIT)
    assert sorted(called) == list(range(200))
    lot[0].add_done_callback(lambda done: called.append(-1))
    assert called[-1] == -1


def test_a_callback_may_wait_for_another_call(pool):
    def talk(number):
        print(end="")
        return number + 1

    got: SafeQueue[int] = SafeQueue()

    def chain(done):
        again = pool.submit(talk, done.result())
        again.add_done_callback(lambda each: None)
        got.push(again.result(LIMIT))

    pool.submit(talk, 1).add_done_callback(chain)
    assert got.pop(timeout=LIMIT) == 3


def test_a_callback_that_blocks_holds_no_other_up(pool):
    gate, got = threading.Event(), threading.Event()
    pool.submit(add, 1).add_done_callback(lambda done: gate.wait(LIMIT))
    pool.submit(add, 2).add_done_callback(lambda done: got.set())
    try:
        assert got.wait(10)
    finally:
        gate.set()


def test_a_coroutine_function_runs_on_a_loop_there(pool):
    async def answer(value):
        await asyncio.sleep(0)

        return value, _native.in_main_interpreter()

    assert pool.submit(answer, 5).result(LIMIT) == (5, False)
    assert list(pool.map(answer, [1, 2])) == [(1, False), (2, False)]


# --- cancelling


def test_a_queued_call_is_cancelled():
    gate: SafeQueue[int] = SafeQueue()
    with SafeThreadPool(1, isolation="interpreter") as pool:
        running, queued = pool.submit(wait_for, gate), pool.submit(add, 1)
        assert queued.cancel()
        assert queued.cancelled()
        with pytest.raises(concurrent.futures.CancelledError):
            queued.result()
        gate.push(2)
        assert running.result(LIMIT) == 2


def sleeping(queue):
    queue.push(1)
    time.sleep(1000)


def looking(queue):
    queue.push(1)
    while True:
        check_cancelled()


def polite(queue):
    queue.push(1)
    while not cancel_requested():
        pass
    return "saw it"


def sleeping_ours(queue):
    queue.push(1)
    sleep(1000)


@pytest.mark.parametrize("function", [forever, sleeping, looking, sleeping_ours])
def test_a_running_call_is_interrupted(pool, function):
    for _ in range(3):
        queue: SafeQueue[int] = SafeQueue()
        future = pool.submit(function, queue)
        started(queue)
        assert not future.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(LIMIT)
    assert pool.submit(add, 1).result(LIMIT) == 1


def test_a_call_that_minds_nothing_is_cancelled_within_half_a_second(pool):
    times = []
    for _ in range(4):
        queue: SafeQueue[int] = SafeQueue()
        future = pool.submit(forever, queue)
        started(queue)
        began = time.monotonic()
        future.cancel()
        with contextlib.suppress(concurrent.futures.CancelledError):
            future.result(LIMIT)
        times.append(time.monotonic() - began)
    assert min(times) < 0.5


def test_cancelling_a_wait_stops_the_call_that_nobody_else_waits_for(pool):
    queue: SafeQueue[int] = SafeQueue()
    future = pool.submit(forever, queue)

    async def main():
        task = asyncio.ensure_future(future)
        await asyncio.sleep(0)
        await asyncio.to_thread(started, queue)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(LIMIT)


def test_call_cancelled_of_its_own_ends_a_call_cancelled(pool):
    def give_in():
        raise CallCancelled

    with pytest.raises(concurrent.futures.CancelledError):
        pool.submit(give_in).result(LIMIT)
