"""SafeThreadPool: its threads, and what it holds in memory."""

from __future__ import annotations

import concurrent.futures
import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from busy_pool import LIMIT, Boom, Busy, boom, worker_names

from pyferris.safe_thread import (
    BrokenPool,
    PyferrisError,
    SafeThreadPool,
)


@pytest.fixture
def pool() -> Iterator[SafeThreadPool]:
    with SafeThreadPool(1) as pool:
        yield pool


# --- threads


def test_workers_are_named_threads_that_go_with_the_pool() -> None:
    barrier = threading.Barrier(3)

    def call() -> tuple[str, bool, int | None, int]:
        barrier.wait(LIMIT)
        thread = threading.current_thread()
        return thread.name, thread.is_alive(), thread.ident, threading.get_ident()

    with SafeThreadPool(3, "named") as pool:
        assert worker_names("named") == set()  # on demand
        seen = [future.result(LIMIT) for future in [pool.submit(call) for _ in range(3)]]
        assert {name for name, *_ in seen} == {"named_0", "named_1", "named_2"} == worker_names("named")
        assert all(alive and ident == own for _, alive, ident, own in seen)
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("named")]
    assert worker_names("named") == set()
    assert not any(thread.is_alive() for thread in threads)


def test_threads_start_on_demand() -> None:
    with SafeThreadPool(4, "lazy") as pool:
        for _ in range(20):
            pool.submit(int).result(LIMIT)
            concurrent.futures.wait([pool.submit(int)], LIMIT)
        assert 1 <= len(worker_names("lazy")) <= 4


def test_thread_locals_last_and_belong_to_one_worker(pool: SafeThreadPool) -> None:
    local = threading.local()

    def count() -> int:
        local.count = getattr(local, "count", 0) + 1
        return int(local.count)

    assert [pool.submit(count).result(LIMIT) for _ in range(5)] == [1, 2, 3, 4, 5]


def test_settrace_reaches_workers() -> None:
    seen: list[str] = []

    def trace(frame: Any, event: str, arg: Any) -> None:
        if event == "call":
            seen.append(frame.f_code.co_name)

    def traced_function() -> str:
        return threading.current_thread().name

    before = threading.gettrace()
    threading.settrace(trace)
    try:
        with SafeThreadPool(1, "traced") as pool:
            assert pool.submit(traced_function).result(LIMIT) == "traced_0"
    finally:
        threading.settrace(before)  # type: ignore[arg-type]
    assert "traced_function" in seen


def test_setprofile_reaches_workers() -> None:
    seen: list[str] = []

    def profiled_function() -> None:
        pass

    before = threading.getprofile()
    threading.setprofile(lambda frame, event, arg: seen.append(frame.f_code.co_name))
    try:
        with SafeThreadPool(1) as pool:
            pool.submit(profiled_function).result(LIMIT)
    finally:
        threading.setprofile(before)  # type: ignore[arg-type]
    assert "profiled_function" in seen


def test_the_initializer_runs_once_in_each_worker() -> None:
    ran: list[str] = []
    barrier = threading.Barrier(2)

    with SafeThreadPool(
        2, "init", initializer=lambda word: ran.append(word + threading.current_thread().name), initargs=("in ",)
    ) as pool:
        for future in [pool.submit(barrier.wait, LIMIT) for _ in range(2)]:
            future.result(LIMIT)
        pool.submit(int).result(LIMIT)
    assert sorted(ran) == ["in init_0", "in init_1"]


def test_a_failing_initializer_breaks_the_pool(caplog: pytest.LogCaptureFixture) -> None:
    with SafeThreadPool(2, initializer=boom) as pool:
        future = pool.submit(int)
        with pytest.raises(BrokenPool) as caught:
            future.result(LIMIT)
        assert isinstance(caught.value, concurrent.futures.thread.BrokenThreadPool)
        assert isinstance(caught.value, PyferrisError)
        with pytest.raises(BrokenPool):
            pool.submit(int)
    assert any(record.exc_info and isinstance(record.exc_info[1], Boom) for record in caplog.records)


def test_active_tasks(pool: SafeThreadPool) -> None:
    assert pool.active_tasks == 0
    with Busy(pool):
        queued = [pool.submit(int) for _ in range(3)]
        assert pool.active_tasks == 4
        queued[1].cancel()
        assert pool.active_tasks in (3, 4)  # the cancelled one may still hold its place
    assert pool.shutdown() is True
    assert pool.active_tasks == 0


def test_a_daemon_pool_has_daemon_threads() -> None:
    for daemon in (False, True):
        with SafeThreadPool(1, daemon=daemon) as pool:
            assert pool.submit(threading.current_thread).result(LIMIT).daemon is daemon


# --- memory


class Thing:
    pass


def test_arguments_and_functions_are_dropped_when_the_call_has_run(pool: SafeThreadPool) -> None:
    thing = Thing()

    def call(first: Thing, *, second: Thing) -> None:
        assert first is second

    references = [weakref.ref(thing), weakref.ref(call)]
    future = pool.submit(call, thing, second=thing)
    future.result(LIMIT)
    del thing, call
    pool.submit(int).result(LIMIT)  # the worker has left the first call
    assert [reference() for reference in references] == [None, None]
    assert future.done()


def test_an_idle_worker_holds_no_result_or_error(pool: SafeThreadPool) -> None:
    def fail() -> None:
        error = Boom("held")
        error.thing = Thing()  # type: ignore[attr-defined]
        references.append(weakref.ref(error.thing))  # type: ignore[attr-defined]
        raise error

    references: list[weakref.ref[Thing]] = []
    future: Any = pool.submit(Thing)
    references.append(weakref.ref(future.result(LIMIT)))
    failed: Any = pool.submit(fail)
    failed.exception(LIMIT)
    del future, failed
    pool.submit(int).result(LIMIT)
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_a_cancelled_call_drops_its_arguments(pool: SafeThreadPool) -> None:
    thing = Thing()
    reference = weakref.ref(thing)
    with Busy(pool):
        future = pool.submit(id, thing)
        del thing
        assert future.cancel() is True
    pool.submit(int).result(LIMIT)
    assert reference() is None


def test_a_pool_that_was_dropped_is_collected() -> None:
    pool = SafeThreadPool(1, "dropped")
    reference = weakref.ref(pool)
    thread = pool.submit(threading.current_thread).result(LIMIT)
    assert worker_names("dropped") == {"dropped_0"}
    future = pool.submit(int, 3)
    del pool
    assert future.result(LIMIT) == 3
    thread.join(LIMIT)
    gc.collect()
    assert reference() is None
    assert worker_names("dropped") == set()
