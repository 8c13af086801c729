"""Coroutine functions in a pool: what they may wait for, and what they know of their call."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import threading
import types
from collections.abc import Callable
from typing import Any

import pytest
from own_process import run

from pyferris.safe_thread import (
    CallCancelled,
    SafeFuture,
    SafeThread,
    SafeThreadPool,
    cancel_requested,
    check_cancelled,
    current_future,
    safe_parallel_map,
    sleep,
)

LIMIT = 30  # seconds; only a failure takes that long


async def answer() -> int:
    return 42


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


# --- blocking on the pool's own loop


@pytest.mark.parametrize(
    "block",
    [
        lambda pool: pool.submit(answer).result(),
        lambda pool: pool.submit(answer).result(timeout=LIMIT),
        lambda pool: pool.submit(answer).exception(),
        lambda pool: list(pool.map(double, [1, 2])),
        lambda pool: pool.map(double, [1, 2]) == [2, 4],
        lambda pool: pool.map(double, [1, 2])[0],
    ],
)
def test_a_coroutine_that_blocks_on_its_own_loop_is_told_to_await(block: Callable[[SafeThreadPool], Any]) -> None:
    async def outer(pool: SafeThreadPool) -> None:
        async with asyncio.timeout(LIMIT):
            with pytest.raises(RuntimeError, match=r"event loop of this very thread .*: await "):
                block(pool)

    with SafeThreadPool(1) as pool:
        pool.submit(outer, pool).result(LIMIT)


def test_a_coroutine_may_look_at_another_without_waiting() -> None:
    async def outer() -> int:
        future = pool.submit(answer)
        with pytest.raises(TimeoutError):
            future.result(timeout=0)
        assert await future == 42
        return future.result()

    with SafeThreadPool(1) as pool:
        assert pool.submit(outer).result(LIMIT) == 42


def test_a_coroutine_awaits_others_and_maps_of_its_pool() -> None:
    async def outer() -> list[Any]:
        async with asyncio.timeout(LIMIT):
            read = [item async for item in pool.map(double, [5])]
            return [await pool.submit(answer), await pool.submit(int, "7"), await pool.map(double, [1, 2]), read]

    with SafeThreadPool(1) as pool:
        assert pool.submit(outer).result(LIMIT) == [42, 7, [2, 4], [10]]


def test_an_inline_pools_coroutine_gets_a_future_to_await() -> None:
    async def outer() -> int:
        future = pool.submit(answer)
        with pytest.raises(RuntimeError, match="await it instead"):
            future.result()
        return await future

    with SafeThreadPool(isolation="inline") as pool:
        assert pool.submit(outer).result(LIMIT) == 42


def test_a_program_whose_coroutine_blocks_on_another_ends() -> None:
    program = """
        pool = SafeThreadPool(1)
        async def inner(): return 1
        async def outer(): return pool.submit(inner).result()
        print(type(pool.submit(outer).exception()).__name__)
    """
    assert run(program) == "RuntimeError"


# --- workers that wait for coroutines


def test_a_worker_that_waits_for_a_coroutine_runs_what_it_needs() -> None:
    async def needs_a_worker() -> int:
        return await pool.submit(int, "7")

    with SafeThreadPool(1) as pool:
        assert pool.submit(lambda: pool.submit(needs_a_worker).result()).result(LIMIT) == 7
        assert pool.submit(lambda: list(pool.map(double, range(5)))).result(LIMIT) == [0, 2, 4, 6, 8]
        assert pool.submit(lambda: pool.submit(needs_a_worker).exception(LIMIT)).result(LIMIT) is None


def test_all_workers_may_wait_for_coroutines() -> None:
    async def needs_workers(depth: int) -> int:
        if depth == 0:
            return 1
        both = await asyncio.gather(pool.submit(waits, depth - 1), pool.submit(waits, depth - 1))
        return sum(both)

    def waits(depth: int) -> int:
        return pool.submit(needs_workers, depth).result()

    with SafeThreadPool(2) as pool:
        assert pool.submit(waits, 5).result(LIMIT) == 32


def test_a_map_of_coroutines_that_need_workers() -> None:
    async def needs_a_worker(number: int) -> int:
        return await pool.submit(abs, -number)

    with SafeThreadPool(2) as pool:
        assert list(pool.map(needs_a_worker, range(200))) == list(range(200))


def test_a_worker_that_helps_ends_its_wait_in_time() -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    def waits() -> str:
        future = pool.submit(never)
        try:
            future.result(0.01)
        except TimeoutError:
            future.cancel()
            return "late"
        return "done"

    with SafeThreadPool(1) as pool:
        assert [pool.submit(waits).result(LIMIT) for _ in range(20)] == ["late"] * 20


def test_waiting_workers_and_submits_race() -> None:
    async def needs_a_worker(number: int) -> int:
        return await pool.submit(abs, -number)

    def waits(number: int) -> int:
        return pool.submit(needs_a_worker, number).result()

    for workers in (1, 2, 3):
        with SafeThreadPool(workers) as pool:
            futures: list[SafeFuture[int]] = []

            def submit(pool: SafeThreadPool = pool, futures: list[SafeFuture[int]] = futures) -> None:
                for number in range(100):
                    futures.append(pool.submit(waits, number))
                    futures.append(pool.submit(abs, -number))

            threads = [threading.Thread(target=submit) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sum(future.result(LIMIT) for future in futures) == 6 * sum(range(100))


# --- shutdown


@pytest.mark.parametrize("form", ["shutdown", "with", "async with"])
def test_a_coroutine_that_shuts_its_own_pool_down_closes_nothing(form: str) -> None:
    async def close() -> None:
        if form == "shutdown":
            pool.shutdown()
        elif form == "with":
            with pool:
                pass
        else:
            async with pool:
                pass

    with SafeThreadPool(1) as pool:
        with pytest.raises(RuntimeError, match="would wait for itself; use wait=False"):
            pool.submit(close).result(LIMIT)
        assert pool.submit(int).result(LIMIT) == 0


# --- what a coroutine knows of its call


def test_a_coroutine_knows_its_future_in_tasks_and_threads_too() -> None:
    async def look() -> list[Any]:
        await asyncio.sleep(0)
        tasks = await asyncio.gather(*[asyncio.create_task(asyncio.to_thread(current_future)) for _ in range(2)])
        return [current_future(), *tasks, await pool.submit(current_future), await inner]

    async def other() -> Any:
        return current_future()

    with SafeThreadPool(1) as pool:
        inner = pool.submit(other)
        future = pool.submit(look)
        mine, first, second, call, others = future.result(LIMIT)
        assert mine is first is second is future
        assert call is not future
        assert others is inner
        seen: SafeFuture[Any] = SafeFuture()
        pool.submit(look).add_done_callback(lambda _: seen.set_result(current_future()))
        assert seen.result(LIMIT) is None
    assert current_future() is None


def test_a_coroutine_sees_that_it_was_asked_to_stop() -> None:
    begun = threading.Event()

    async def obeys() -> None:
        assert not cancel_requested()
        check_cancelled()
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert cancel_requested()
            check_cancelled()

    with SafeThreadPool(1) as pool:
        future = pool.submit(obeys)
        assert begun.wait(LIMIT)
        future.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(LIMIT)


def test_sleep_in_a_coroutine_says_what_to_await() -> None:
    async def nap() -> None:
        sleep(0)

    with SafeThreadPool(1) as pool, pytest.raises(RuntimeError, match=r"await asyncio\.sleep\(\)"):
        pool.submit(nap).result(LIMIT)


def test_sleep_in_a_thread_of_a_coroutine_ends_with_the_coroutine() -> None:
    begun, ended = threading.Event(), threading.Event()

    def nap() -> None:
        begun.set()
        try:
            sleep(3600)
        except CallCancelled:
            ended.set()

    async def naps() -> None:
        await asyncio.to_thread(nap)

    with SafeThreadPool(1) as pool:
        future = pool.submit(naps)
        assert begun.wait(LIMIT)
        future.cancel()
        assert ended.wait(LIMIT)


# --- what counts as a coroutine function


class Doubler:
    async def __call__(self, number: int) -> int:
        return await double(number)


@types.coroutine
def by_generator(number: int) -> Any:
    return (yield from double(number).__await__())


@pytest.mark.parametrize("call", [Doubler(), functools.partial(Doubler()), functools.partial(double), by_generator])
def test_what_makes_coroutines_is_a_coroutine_function(call: Any) -> None:
    with SafeThreadPool(1) as pool:
        assert pool.submit(call, 2).result(LIMIT) == 4
        assert list(pool.map(call, [1, 2])) == [2, 4]
    assert safe_parallel_map(call, [3]) == [6]
    thread = SafeThread(target=call, args=(5,))
    thread.start()
    assert thread.get_result(LIMIT) == 10


def test_a_thread_whose_target_is_a_coroutine_function_can_be_stopped() -> None:
    begun = threading.Event()

    async def waits() -> None:
        begun.set()
        await asyncio.Event().wait()

    thread = SafeThread(target=waits)
    thread.start()
    assert begun.wait(LIMIT)
    thread.cancel()
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert thread.future.cancelled()
