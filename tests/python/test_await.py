"""Awaiting futures: asyncio, its debug mode, uvloop, and loops that only the reactor thread can wake."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import anyio
import pytest
import uvloop
from busy_pool import LIMIT, Boom, Busy, boom

from pyferris import _kept_pool, _native
from pyferris.safe_thread import SafeFuture, SafeThreadPool, sleep

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Loops:
    """Makes loops of one kind; calling it runs a coroutine on a new one."""

    def __init__(self, factory: Callable[[], asyncio.AbstractEventLoop], debug: bool) -> None:
        self.factory, self.debug = factory, debug

    def __call__(self, main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=self.factory, debug=self.debug) as runner:
            return runner.run(asyncio.wait_for(main, LIMIT))


@pytest.fixture(params=["asyncio", "debug", "uvloop", "reactor", "uvloop-reactor"])
def run(request: pytest.FixtureRequest) -> Iterator[Loops]:
    kind = request.param
    _native.force_reactor("reactor" in kind)
    try:
        yield Loops(uvloop.new_event_loop if "uvloop" in kind else asyncio.new_event_loop, kind == "debug")
    finally:
        _native.force_reactor(False)


@pytest.fixture
def pool() -> Iterator[SafeThreadPool]:
    with SafeThreadPool(1) as pool:
        yield pool


async def wait_on(future: Any) -> Any:
    return await future


async def turns(count: int = 3) -> None:
    """Let every task that is ready go on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def waiting(future: Any) -> asyncio.Task[Any]:
    """A task that has begun to await the future."""
    task = asyncio.ensure_future(wait_on(future))
    await turns()
    return task


def test_outcomes(run: Run, pool: SafeThreadPool) -> None:
    async def main() -> None:
        assert await pool.submit(pow, 2, 10) == 1024
        with pytest.raises(Boom):
            await pool.submit(boom)
        cancelled: SafeFuture[None] = SafeFuture()
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        promise: SafeFuture[int] = SafeFuture()
        task = await waiting(promise)
        promise.set_result(3)
        assert await task == 3

    run(main())


def test_a_finished_future_does_not_suspend(run: Run) -> None:
    async def main() -> None:
        future: SafeFuture[int] = SafeFuture()
        future.set_result(1)
        turned: list[int] = []
        asyncio.get_running_loop().call_soon(turned.append, 1)
        assert await future == 1
        assert turned == []

    run(main())


def test_awaiting_blocks_no_loop(run: Run, pool: SafeThreadPool) -> None:
    async def main() -> None:
        with Busy(pool) as busy:
            task = await waiting(busy.future)
            assert not task.done()
            busy.gate.set()
            assert await task == "busy"

    run(main())


def test_gather_wait_and_as_completed(run: Run, pool: SafeThreadPool) -> None:
    async def main() -> None:
        assert await asyncio.gather(*(pool.submit(int, n) for n in range(500))) == list(range(500))
        failed = await asyncio.gather(pool.submit(boom), pool.submit(int, 1), return_exceptions=True)
        assert isinstance(failed[0], Boom)
        assert failed[1] == 1
        futures = [asyncio.ensure_future(wait_on(pool.submit(int, n))) for n in range(5)]
        done, pending = await asyncio.wait(futures)
        assert (len(done), pending) == (5, set())
        found = [await each for each in asyncio.as_completed([wait_on(pool.submit(int, n)) for n in range(5)])]
        assert sorted(found) == list(range(5))

    run(main())


def test_wait_and_as_completed_of_bare_futures(run: Run, pool: SafeThreadPool) -> None:
    async def main() -> None:
        with Busy(pool) as busy:
            bare: Any = {busy.future}
            done, pending = await asyncio.wait(bare, timeout=0.001)
            assert (done, pending) == (set(), bare)
            asyncio.get_running_loop().call_soon(busy.gate.set)
            done, pending = await asyncio.wait(bare)
            assert (done, pending) == (bare, set())
        more: Any = [pool.submit(int, n) for n in range(5)]
        assert sorted([await each for each in asyncio.as_completed(more)]) == list(range(5))

    run(main())


async def within(future: Any) -> Any:
    async with asyncio.timeout(0.01):
        return await future


def test_wait_for_and_timeout_on_a_running_call_ask_it_to_stop(run: Run, pool: SafeThreadPool) -> None:
    async def main() -> None:
        for by_timeout in (False, True):
            future = pool.submit(sleep, LIMIT)
            with pytest.raises(TimeoutError):
                await (within(future) if by_timeout else asyncio.wait_for(future, 0.01))
            concurrent.futures.wait([future], LIMIT)
            assert future.cancelled()
        assert await asyncio.wait_for(pool.submit(int, 4), LIMIT) == 4

    run(main())


def test_shield_keeps_the_call(run: Run, pool: SafeThreadPool) -> None:
    async def main() -> None:
        with Busy(pool) as busy:
            queued = pool.submit(int, 8)
            shielded = asyncio.shield(queued)  # type: ignore[call-overload]
            task = asyncio.ensure_future(wait_on(shielded))
            await turns()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not queued.cancelled()
            busy.gate.set()
            assert await queued == 8

    run(main())


def test_one_of_two_awaiters_cancelled(run: Run, pool: SafeThreadPool) -> None:
    async def main() -> None:
        with Busy(pool) as busy:
            queued = pool.submit(int, 9)
            first, second = await waiting(queued), await waiting(queued)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert not queued.done()
            busy.gate.set()
            assert await second == 9

    run(main())


def test_the_last_awaiters_cancel_cancels_a_queued_call(run: Run, pool: SafeThreadPool) -> None:
    async def main() -> None:
        ran: list[int] = []
        with Busy(pool):
            queued = pool.submit(ran.append, 1)
            tasks = [await waiting(queued), await waiting(queued)]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert all(task.cancelled() for task in tasks)
            assert queued.cancelled()
        await pool.submit(int)
        assert ran == []

    run(main())


@pytest.mark.parametrize("interest", ["detach", "callback", "reader", "waiter"])
def test_who_keeps_a_call_that_its_last_awaiter_left(run: Run, pool: SafeThreadPool, interest: str) -> None:
    async def main() -> None:
        with Busy(pool) as busy, concurrent.futures.ThreadPoolExecutor(1) as readers:
            queued = pool.submit(int, 5)
            if interest == "detach":
                assert queued.detach() is queued
            elif interest == "callback":
                queued.add_done_callback(lambda _: None)
            elif interest == "reader":
                idents: list[int] = []

                def read() -> int:
                    idents.append(threading.get_ident())
                    return queued.result(LIMIT)

                reader = readers.submit(read)
                # Another thread sees that line begun only when the call on it has released the GIL.
                while not (idents and line_of(idents[0]) == read.__code__.co_firstlineno + 2) and not reader.done():
                    await asyncio.sleep(0)
            else:
                waiter = readers.submit(concurrent.futures.wait, [queued], LIMIT)
                while not queued._waiters and not waiter.done():
                    await asyncio.sleep(0)
            task = await waiting(queued)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not queued.cancelled()
            busy.gate.set()
            assert queued.result(LIMIT) == 5

    def line_of(ident: int) -> int:
        frame = sys._current_frames().get(ident)
        return 0 if frame is None else frame.f_lineno

    run(main())


def test_a_bare_promise_is_never_cancelled_by_its_awaiters(run: Run) -> None:
    async def main() -> None:
        promise: SafeFuture[int] = SafeFuture()
        task = await waiting(promise)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not promise.cancelled()
        promise.set_result(1)

    run(main())


def test_stop_iteration(run: Run, pool: SafeThreadPool) -> None:
    def stop() -> None:
        raise StopIteration(3)

    async def main() -> None:
        with pytest.raises(RuntimeError) as caught:
            await pool.submit(stop)
        assert isinstance(caught.value.__cause__, StopIteration)
        with pytest.raises(RuntimeError):
            await asyncio.gather(pool.submit(stop))

    run(main())
    with pytest.raises(StopIteration):
        pool.submit(stop).result(LIMIT)


def test_several_loops_await_one_future(run: Run, pool: SafeThreadPool) -> None:
    with Busy(pool) as busy:
        begun = threading.Barrier(5)

        async def main() -> Any:
            task = await waiting(busy.future)
            begun.wait(LIMIT)
            return await task

        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            loops = [threads.submit(run, main()) for _ in range(4)]
            begun.wait(LIMIT)
            busy.gate.set()
            assert [each.result(LIMIT) for each in loops] == ["busy"] * 4


def test_two_loops_in_turn_on_one_thread(run: Run, pool: SafeThreadPool) -> None:
    for number in range(20):
        assert run(wait_on(pool.submit(int, number))) == number


def test_a_closed_loop_leaves_its_calls_alone(run: Loops, pool: SafeThreadPool) -> None:
    with Busy(pool):
        queued = pool.submit(int, 6)
        loop = run.factory()
        task = loop.create_task(wait_on(queued))
        loop.run_until_complete(turns())
        loop.close()
        assert not queued.done()
    assert queued.result(LIMIT) == 6
    assert pool.submit(int, 7).result(LIMIT) == 7
    assert run(wait_on(pool.submit(int, 8))) == 8
    assert not task.done()
    task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_a_dropped_coroutine_leaves_its_call_alone(run: Run, pool: SafeThreadPool) -> None:
    async def main() -> None:
        with Busy(pool):
            queued = pool.submit(int, 6)
            coroutine = wait_on(queued)
            coroutine.send(None)
            coroutine.close()
            assert not queued.cancelled()
        assert await queued == 6

    run(main())


def test_run_in_executor_and_default_executor(run: Run, pool: SafeThreadPool) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(pool, pow, 2, 3) == 8
        with pytest.raises(Boom):
            await loop.run_in_executor(pool, boom)
        own = SafeThreadPool(1, "default")
        loop.set_default_executor(own)
        assert (await asyncio.to_thread(threading.current_thread)).name == "default_0"
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError):
            own.submit(int)

    run(main())


def test_wrap_future(run: Run, pool: SafeThreadPool) -> None:
    async def main() -> None:
        wrapped = asyncio.wrap_future(pool.submit(pow, 2, 3))
        assert asyncio.isfuture(wrapped)
        assert await wrapped == 8
        with Busy(pool):
            queued = pool.submit(int)
            again = asyncio.wrap_future(queued)
            again.cancel()
            await turns()
            assert queued.cancelled()

    run(main())


def test_a_burst_is_delivered_whole(run: Run) -> None:
    async def main() -> None:
        with SafeThreadPool(2) as pool:
            futures = [pool.submit(int, n) for n in range(20_000)]
            assert [await future for future in futures] == list(range(20_000))
            promises: list[SafeFuture[int]] = [SafeFuture() for _ in range(5_000)]
            tasks = [asyncio.ensure_future(wait_on(promise)) for promise in promises]
            await turns()

            def finish() -> None:
                for number, promise in enumerate(promises):
                    promise.set_result(number)

            pool.submit(finish)
            assert await asyncio.gather(*tasks) == list(range(5_000))

    run(main())


def test_awaiting_and_cancelling_race_with_completion(run: Run) -> None:
    async def main() -> None:
        with SafeThreadPool(2) as pool:
            for number in range(1_000):
                future = pool.submit(int, number)
                task = asyncio.ensure_future(wait_on(future))
                await turns(number % 3)
                task.cancel()
                try:
                    assert await task == number
                except asyncio.CancelledError:
                    concurrent.futures.wait([future], LIMIT)

    run(main())


def test_coroutine_functions_and_asyncio_sleep(run: Run, pool: SafeThreadPool) -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    async def main() -> None:
        assert await pool.submit(double, 4) == 8
        assert await asyncio.gather(*(pool.submit(double, n) for n in range(50))) == [2 * n for n in range(50)]

    run(main())


def test_async_with_shuts_the_pool(run: Run) -> None:
    async def main() -> None:
        async with SafeThreadPool(2) as pool:
            future = pool.submit(int, 3)
        assert future.done()
        with pytest.raises(RuntimeError):
            pool.submit(int)

    run(main())


def test_awaiting_outside_of_a_loop_is_an_error(pool: SafeThreadPool) -> None:
    with Busy(pool) as busy:
        coroutine = wait_on(busy.future)
        with pytest.raises(RuntimeError):
            coroutine.send(None)


def test_anyio(pool: SafeThreadPool) -> None:
    async def main() -> None:
        results: list[int] = []

        async def one(number: int) -> None:
            results.append(await pool.submit(int, number))

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(one, number)
        assert sorted(results) == list(range(20))
        future = pool.submit(sleep, LIMIT)
        with anyio.move_on_after(0.01) as scope:
            await future
        assert scope.cancelled_caught
        concurrent.futures.wait([future], LIMIT)
        assert future.cancelled()

    anyio.run(main, backend="asyncio")


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_thousand_loops_leak_nothing(run: Loops, pool: SafeThreadPool) -> None:
    loops: weakref.WeakSet[Any] = weakref.WeakSet()

    def one() -> None:
        loop = run.factory()
        loops.add(loop)
        loop.run_until_complete(wait_on(pool.submit(int)))
        with Busy(pool) as busy:
            task = loop.create_task(wait_on(busy.future))
            loop.run_until_complete(turns(1))
            busy.gate.set()
            assert loop.run_until_complete(task) == "busy"
        loop.close()

    for _ in range(5):
        one()
    gc.collect()
    _kept_pool.end()  # its threads would go meanwhile
    before, threads = open_files(), threading.active_count()
    for _ in range(1_000):
        one()
    gc.collect()
    assert open_files() <= before
    assert threading.active_count() == threads
    assert len(loops) <= 1
