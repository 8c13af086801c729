"""SafeThreadPool: order, contexts, nesting, coroutine functions, shutdown, arguments, isolation."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from busy_pool import LIMIT, Boom, Busy, boom, worker_names

from pyferris.safe_thread import (
    PoolClosed,
    PyferrisError,
    SafeFuture,
    SafeThreadPool,
    current_future,
    sleep,
)


@pytest.fixture
def pool() -> Iterator[SafeThreadPool]:
    with SafeThreadPool(1) as pool:
        yield pool


def test_is_a_standard_executor(pool: SafeThreadPool) -> None:
    assert isinstance(pool, concurrent.futures.ThreadPoolExecutor)
    assert isinstance(pool.submit(int), SafeFuture)
    assert pool._max_workers == 1
    assert pool._shutdown is False
    with Busy(pool):
        pool.submit(int)
        pool.submit(int)
        assert pool._work_queue.qsize() == 2
    assert {thread.name for thread in pool._threads} == {f"{pool._thread_name_prefix}_0"}
    assert all(isinstance(thread, threading.Thread) for thread in pool._threads)


def test_all_arguments_reach_the_call(pool: SafeThreadPool) -> None:
    def call(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    for count in range(12):
        args = tuple(range(count))
        assert pool.submit(call, *args).result(LIMIT) == (args, {})
        assert pool.submit(call, *args, fn=1, self=2).result(LIMIT) == (args, {"fn": 1, "self": 2})


# --- order


def test_first_in_first_out_with_two_submitters(pool: SafeThreadPool) -> None:
    ran: list[int] = []
    order: list[int] = []
    lock = threading.Lock()
    turns = threading.Barrier(2)

    def submit(first: int) -> None:
        turns.wait()
        for number in range(first, 2_000, 2):
            with lock:  # the order in which submit returns
                pool.submit(ran.append, number)
                order.append(number)

    with Busy(pool):
        threads = [threading.Thread(target=submit, args=(first,)) for first in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    pool.submit(int).result(LIMIT)
    assert ran == order
    assert len(ran) == 2_000


def test_each_submitter_keeps_its_order_without_a_lock(pool: SafeThreadPool) -> None:
    ran: list[tuple[int, int]] = []

    def submit(name: int) -> None:
        for number in range(3_000):
            pool.submit(ran.append, (name, number))

    threads = [threading.Thread(target=submit, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.submit(int).result(LIMIT)
    for name in range(3):
        assert [number for who, number in ran if who == name] == list(range(3_000))


# --- contexts and nesting

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def test_calls_run_in_a_copy_of_the_submitters_context(pool: SafeThreadPool) -> None:
    def change() -> str:
        before = variable.get()
        variable.set("changed")
        return before

    token = variable.set("submitter")
    try:
        with Busy(pool):
            first, second = pool.submit(change), pool.submit(change)
            variable.set("later")
        assert [first.result(LIMIT), second.result(LIMIT)] == ["submitter", "submitter"]
        assert variable.get() == "later"
    finally:
        variable.reset(token)
    assert pool.submit(variable.get).result(LIMIT) == "unset"
    assert contextvars.Context().run(pool.submit, variable.get).result(LIMIT) == "unset"


def test_nested_results_to_a_depth_of_200(pool: SafeThreadPool) -> None:
    def nested(depth: int) -> int:
        return 0 if depth == 0 else 1 + pool.submit(nested, depth - 1).result(LIMIT)

    assert pool.submit(nested, 200).result(LIMIT) == 200


def test_a_claimed_call_has_its_own_context_and_future(pool: SafeThreadPool) -> None:
    def inner() -> tuple[object, str]:
        return current_future(), variable.get()

    def outer() -> None:
        mine = current_future()
        variable.set("outer")
        future = pool.submit(inner)
        variable.set("after")
        assert future.result(LIMIT) == (future, "outer")
        assert variable.get() == "after"
        assert current_future() is mine
        failed = pool.submit(boom)
        assert isinstance(failed.exception(LIMIT), Boom)

    pool.submit(outer).result(LIMIT)


# --- coroutine functions


def test_a_thousand_sleeping_coroutines_sleep_together(pool: SafeThreadPool) -> None:
    async def nap(number: int) -> int:
        await asyncio.sleep(1)
        return number

    begin = time.monotonic()
    assert [each.result(LIMIT) for each in [pool.submit(nap, n) for n in range(1_000)]] == list(range(1_000))
    assert time.monotonic() - begin < 20  # one after another they would take 1,000 s


def test_a_coroutines_outcome_and_context(pool: SafeThreadPool) -> None:
    async def call(fail: bool) -> str:
        if fail:
            raise Boom
        return variable.get()

    token = variable.set("submitter")
    future = pool.submit(call, False)
    variable.reset(token)
    assert future.result(LIMIT) == "submitter"
    with pytest.raises(Boom):
        pool.submit(call, True).result(LIMIT)


def test_cancelling_the_future_cancels_the_task(pool: SafeThreadPool) -> None:
    started = threading.Event()
    seen: list[str] = []

    async def call() -> None:
        started.set()
        try:
            await asyncio.sleep(LIMIT)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    future = pool.submit(call)
    assert started.wait(LIMIT)
    assert pool.active_tasks == 1
    future.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(LIMIT)
    assert seen == ["cancelled"]


def test_shutdown_waits_for_coroutines() -> None:
    ran: list[int] = []

    async def call() -> None:
        await asyncio.sleep(0.01)
        ran.append(1)

    with SafeThreadPool(1, "coroutines") as pool:
        pool.submit(call)
    assert ran == [1]
    assert worker_names("coroutines") == set()

    async def late() -> None:
        pytest.fail("it ran after shutdown")

    with pytest.raises(PoolClosed):
        pool.submit(late)


# --- shutdown


def test_submit_after_shutdown_says_who_shut_it() -> None:
    pool = SafeThreadPool(1)
    assert pool.shutdown() is True
    assert pool.shutdown() is True
    with pytest.raises(PoolClosed, match=threading.current_thread().name) as caught:
        pool.submit(int)
    assert isinstance(caught.value, RuntimeError)
    assert isinstance(caught.value, PyferrisError)
    with pytest.raises(RuntimeError):
        pool.map(int, [1])
    assert pool._shutdown is True


def test_shutdown_runs_what_is_queued() -> None:
    ran: list[int] = []
    with SafeThreadPool(1) as pool, Busy(pool):
        for number in range(100):
            pool.submit(ran.append, number)
    assert ran == list(range(100))


def test_shutdown_cancels_what_is_queued() -> None:
    pool = SafeThreadPool(1)
    with Busy(pool) as busy:
        queued = [pool.submit(int) for _ in range(10)]
        assert pool.shutdown(wait=False, cancel_futures=True) is True
        assert all(future.cancelled() for future in queued)
        assert not busy.future.done()
        assert pool.shutdown(timeout=0.001) is False
    assert pool.shutdown() is True
    assert busy.future.result(0) == "busy"


def test_shutdown_without_waiting_runs_what_is_queued() -> None:
    pool = SafeThreadPool(1)
    with Busy(pool):
        queued = pool.submit(int, 3)
        pool.shutdown(wait=False)
        assert not queued.done()
    assert queued.result(LIMIT) == 3
    assert pool.shutdown() is True


def test_shutdown_by_a_worker_is_an_error(pool: SafeThreadPool) -> None:
    with pytest.raises(RuntimeError, match="wait"):
        pool.submit(pool.shutdown).result(LIMIT)
    assert pool.submit(int).result(LIMIT) == 0
    assert pool.submit(pool.shutdown, wait=False).result(LIMIT) is True
    with pytest.raises(PoolClosed):
        pool.submit(int)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_an_interrupted_block_stops_its_calls(error: type[BaseException]) -> None:
    started = threading.Event()

    def call() -> None:
        started.set()
        sleep(LIMIT)

    def block() -> None:
        with SafeThreadPool(1) as pool:
            futures.extend([pool.submit(call), pool.submit(int)])
            assert started.wait(LIMIT)
            raise error

    futures: list[SafeFuture[Any]] = []
    with pytest.raises(error):
        block()
    assert [future.cancelled() for future in futures] == [True, True]


def test_an_ordinary_error_in_the_block_waits_for_the_calls() -> None:
    def block() -> None:
        with SafeThreadPool(1) as pool:
            futures.extend(pool.submit(int, number) for number in range(10))
            raise Boom

    futures: list[SafeFuture[int]] = []
    with pytest.raises(Boom):
        block()
    assert [future.result(0) for future in futures] == list(range(10))


# --- arguments


@pytest.mark.parametrize("workers", [0, -1, -(2**70)])
def test_too_few_workers(workers: int) -> None:
    with pytest.raises(ValueError, match=str(workers)):
        SafeThreadPool(workers)


@pytest.mark.parametrize("workers", ["4", 2.0, [], True])
def test_workers_that_are_no_int(workers: Any) -> None:
    with pytest.raises(TypeError, match="max_workers"):
        SafeThreadPool(workers)


def test_other_wrong_arguments(pool: SafeThreadPool) -> None:
    with pytest.raises(TypeError, match="initializer"):
        SafeThreadPool(1, initializer=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        pool.submit()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        pool.submit(fn=int)  # type: ignore[call-arg]
    assert pool.submit(int).result(LIMIT) == 0


def test_max_workers_default() -> None:
    with SafeThreadPool() as pool:
        assert pool._max_workers == min(32, (os.cpu_count() or 1) + 4)


@pytest.mark.parametrize("isolation", ["processes", "auto", "INLINE", ""])
def test_a_wrong_isolation_lists_the_right_ones(isolation: Any) -> None:
    with pytest.raises(ValueError, match="'none', 'interpreter', 'process', 'isolated', 'inline'") as caught:
        SafeThreadPool(1, isolation=isolation)
    assert repr(isolation) in str(caught.value)


# --- inline


def test_inline_runs_at_once_in_the_caller() -> None:
    ran: list[int] = []

    def call(number: int) -> tuple[int, bool]:
        ran.append(number)
        return threading.get_ident(), current_future() is not None

    with SafeThreadPool(2, "inline", isolation="inline") as pool:
        for number in range(3):
            future = pool.submit(call, number)
            assert future.done()
            assert ran == list(range(number + 1))
            assert future.result() == (threading.get_ident(), True)
        assert isinstance(pool.submit(boom).exception(), Boom)
        assert worker_names("inline") == set()
        assert list(pool.map(abs, [-1, -2])) == [1, 2]

        async def coroutine() -> int:
            await asyncio.sleep(0)
            return 4

        awaited = pool.submit(coroutine)
        assert awaited.done()
        assert awaited.result() == 4
    with pytest.raises(PoolClosed):
        pool.submit(int)


def test_inline_runs_the_initializer_and_a_copy_of_the_context() -> None:
    ran: list[str] = []
    with SafeThreadPool(1, initializer=ran.append, initargs=("init",), isolation="inline") as pool:
        pool.submit(variable.set, "inside")
        assert variable.get() == "unset"
        assert ran == ["init"]


PROGRAM = """
import threading
import pyferris._runtime
from pyferris.safe_thread import SafeThreadPool
with SafeThreadPool(1, "own", isolation={isolation!r}) as pool:
    print(pool.submit(threading.current_thread).result().name)
"""


@pytest.mark.parametrize(
    ("value", "isolation", "expected"),
    [("inline", "none", "MainThread"), ("none", "inline", "own_0"), ("", "none", "own_0"), ("inlin", "none", None)],
)
def test_the_environment_overrides(value: str, isolation: str, expected: str | None) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(isolation=isolation)],
        env={**os.environ, "PYFERRIS_ISOLATION": value},
        capture_output=True,
        text=True,
        timeout=60,
    )
    if expected is None:
        assert "ValueError" in done.stderr
        assert "'inlin'" in done.stderr
    else:
        assert (done.stdout.strip(), done.stderr, done.returncode) == (expected, "", 0)


@pytest.mark.parametrize("prefix", ["\ud800", "a\0b", "\u00e9\U0001f600"])
def test_a_name_may_have_any_characters(prefix: str) -> None:
    with SafeThreadPool(1, prefix) as pool:
        assert pool.submit(lambda: threading.current_thread().name).result() == f"{prefix}_0"
        pool.submit(lambda: pool.shutdown(wait=False)).result()
        with pytest.raises(PoolClosed, match="cannot submit"):
            pool.submit(int)
