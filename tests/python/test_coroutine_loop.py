"""The loop that runs the coroutine functions of a pool: what may happen to it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from own_process import run

from pyferris.safe_thread import BrokenPool, SafeThreadPool


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_task_that_wants_to_end_the_process_ends_no_loop(kind: type[BaseException]) -> None:
    told = []

    async def leave() -> None:
        raise kind("from a task")

    async def start(gate: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(type(context["exception"])))
        task = asyncio.create_task(leave())
        await asyncio.wait([task])
        gate.set()
        await task

    with SafeThreadPool(1) as pool:
        gate = asyncio.Event()
        other = pool.submit(gate.wait)
        failed = pool.submit(start, gate)
        assert type(failed.exception(30)) is kind
        assert other.result(30) is True
        assert pool.submit(asyncio.sleep, 0, "goes on").result(30) == "goes on"
    assert told == [kind]


def test_a_handler_that_raises_ends_no_loop() -> None:
    def handle(_: object, __: object) -> None:
        raise SystemExit(4)

    async def leave() -> None:
        raise SystemExit(3)

    async def start() -> None:
        asyncio.get_running_loop().set_exception_handler(handle)
        await asyncio.create_task(leave())

    with SafeThreadPool(1) as pool:
        assert isinstance(pool.submit(start).exception(30), SystemExit)
        assert pool.submit(asyncio.sleep, 0, "goes on").result(30) == "goes on"


def test_stopping_the_loop_stops_nothing() -> None:
    async def stop() -> str:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.001)
        return "goes on"

    with SafeThreadPool(1) as pool:
        assert pool.submit(stop).result(30) == "goes on"
        assert pool.submit(stop).result(30) == "goes on"


def test_a_loop_that_breaks_fails_what_is_pending_and_a_new_one_comes() -> None:
    ended = threading.Event()

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def smash() -> None:
        asyncio.get_running_loop()._process_events = lambda _: 1 / 0  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        await asyncio.sleep(1000)

    with SafeThreadPool(1) as pool:
        waiting = pool.submit(wait_for_ever)
        assert pool.submit(asyncio.sleep, 0, 1).result(30) == 1
        for future in (pool.submit(smash), waiting):
            error = future.exception(30)
            assert isinstance(error, BrokenPool)
            assert isinstance(error.__cause__, ZeroDivisionError)
            assert repr(error.__cause__) in str(error)
        assert ended.wait(30)
        assert pool.submit(asyncio.sleep, 0, "a new one").result(30) == "a new one"
        assert not waiting.cancel()


def test_no_coroutine_is_active_once_its_result_is_there() -> None:
    async def call() -> None:
        await asyncio.sleep(0)

    with SafeThreadPool(1) as pool:
        for _ in range(200):
            pool.submit(call).result()
            assert pool.active_tasks == 0


def test_pools_that_were_dropped_take_their_loops_along() -> None:
    program = """
        async def late(number):
            await asyncio.sleep(0.001)
            return number
        def counts():
            return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")), threading.active_count()
        SafeThreadPool(1).submit(late, 1).result()
        def work():
            futures = []
            for number in range(20):
                pool = SafeThreadPool(1)
                if number % 2:
                    pool.myself = [pool]
                futures.append(pool.submit(late, number))
            return futures
        futures = work()
        gc.collect()
        print([future.result(30) for future in futures] == list(range(20)))
        while counts()[2] != 1:  # the test's time limit ends it
            time.sleep(0.001)
        first = counts()
        assert len(work()) == 20
        gc.collect()
        while any(now > then for now, then in zip(counts(), first)):
            time.sleep(0.001)
        print("gone")
        """
    assert run(program) == "True\ngone"


def test_shutdown_counts_its_time_once_for_workers_and_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    waits: list[float | None] = []
    pool = SafeThreadPool(1)
    pool.submit(asyncio.sleep, 0).result(30)
    runner = pool._runner
    assert runner is not None
    join = runner.join

    def joined(timeout: float | None) -> bool:
        nonlocal clock
        clock += 7
        return True

    monkeypatch.setattr("pyferris.thread_pool.time.monotonic", lambda: clock)
    monkeypatch.setattr(SafeThreadPool, "_join", lambda _, timeout: joined(timeout))
    monkeypatch.setattr(runner, "join", lambda timeout: waits.append(timeout) or join(None))
    assert pool.shutdown(timeout=10)
    assert waits == [3]


@pytest.mark.parametrize("timeout", [float("inf"), threading.TIMEOUT_MAX + 1, 1e300, 30])
def test_shutdown_may_wait_for_ever(timeout: float) -> None:
    pool = SafeThreadPool(1)
    pool.submit(asyncio.sleep, 0).result(30)
    assert pool.shutdown(timeout=timeout)


@pytest.mark.parametrize("timeout", [0, -1, float("-inf")])
def test_shutdown_that_does_not_wait_is_false_while_a_coroutine_runs(timeout: float) -> None:
    gate = threading.Event()

    async def wait() -> None:
        while not gate.is_set():
            await asyncio.sleep(0)

    pool = SafeThreadPool(1)
    pool.submit(wait)
    assert not pool.shutdown(timeout=timeout)
    gate.set()
    assert pool.shutdown()


def test_a_pool_whose_loop_has_ended_can_be_shut_down_by_any_thread() -> None:
    with SafeThreadPool(1) as pool:
        pool.submit(asyncio.sleep, 0).result(30)
    runner: Any = pool._runner
    failures: list[BaseException] = []

    def shut() -> None:
        runner._thread._ident = threading.get_ident()  # the number of the loop's thread, which is gone, is given anew
        try:
            pool.shutdown()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=shut)
    thread.start()
    thread.join()
    assert failures == []
