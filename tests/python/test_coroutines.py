"""Coroutine functions in a pool: what they may wait for, and what they know of their call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from own_process import run

from pyferris.safe_thread import SafeFuture, SafeThreadPool

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
