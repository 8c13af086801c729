"""How a map shares the workers: claims, runs, fairness, stealing, contexts, errors in time, shutdown, fork."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import gc
import os
import threading
import time
import weakref
from typing import Any

import pytest

from pyferris.safe_thread import (
    BrokenPool,
    MapResult,
    PoolClosed,
    SafeFuture,
    SafeThreadPool,
    check_cancelled,
    current_future,
    sleep,
)

LIMIT = 30  # seconds; only a failure takes that long


class Boom(Exception):
    pass


class Held:
    """A pool of one worker that is held in a call until ``free``."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.pool = SafeThreadPool(1)
        started = threading.Event()
        self.first = self.pool.submit(lambda: (started.set(), self.gate.wait(LIMIT)))
        assert started.wait(LIMIT)

    def free(self) -> None:
        self.gate.set()


# --- claims and runs


def test_every_item_runs_once_whatever_the_order() -> None:
    counts = [0] * 20_000
    with SafeThreadPool(8) as pool:

        def call(number: int) -> int:
            counts[number] += 1
            if number % 997 == 0:
                time.sleep(0.001)
            return number

        assert list(pool.map(call, range(20_000))) == list(range(20_000))
    assert counts == [1] * 20_000


def test_a_submit_waits_for_one_run_at_most() -> None:
    held = Held()
    ran: list[int] = []

    def call(number: int) -> None:
        ran.append(number)
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            pass

    result = held.pool.map(call, range(300))
    seen = held.pool.submit(lambda: len(ran))
    held.free()
    assert seen.result(LIMIT) <= 1  # a call takes longer than a run may
    result.close()
    held.pool.shutdown()


def test_a_long_map_of_one_thread_does_not_hold_back_the_submits_of_another() -> None:
    with SafeThreadPool(1) as pool:
        started = threading.Event()
        stop = threading.Event()

        def call(_: int) -> None:
            started.set()
            assert stop.wait(0.001) in (True, False)

        result = pool.map(call, range(100_000))
        assert started.wait(LIMIT)
        assert [pool.submit(int, number).result(LIMIT) for number in range(20)] == list(range(20))
        assert result._finished < 100_000
        stop.set()
        result.close()


def test_cheap_items_go_in_runs_and_dear_ones_alone(pool: SafeThreadPool) -> None:
    cheap = pool.map(int, range(100_000))
    assert cheap == list(range(100_000))
    assert cheap._runs < 20_000
    dear = pool.map(lambda _: time.sleep(0.001), range(20))
    assert len(list(dear)) == 20
    assert dear._runs == 20


def test_an_item_that_blocks_does_not_hold_back_the_others_of_its_run() -> None:
    """Items of a run that one worker has claimed are taken over by another."""
    met = threading.Barrier(2)

    def call(number: int) -> int:
        if number >= 5_000:
            met.wait(LIMIT)  # two neighbours: one worker alone would wait for ever
        return number

    with SafeThreadPool(2) as pool:
        assert list(pool.map(call, range(5_002))) == list(range(5_002))


def test_results_before_an_item_that_blocks_are_there(pool: SafeThreadPool) -> None:
    gate = threading.Event()
    result = pool.map(lambda number: number if number != 3_000 else gate.wait(LIMIT), range(3_001))
    assert [next(result) for _ in range(3_000)] == list(range(3_000))
    gate.set()
    assert next(result) is True


def test_several_threads_may_read_one_map(pool: SafeThreadPool) -> None:
    result = pool.map(int, range(5_000))
    seen: list[list[int]] = [[], []]

    def read(mine: list[int]) -> None:
        while True:
            try:
                mine.append(next(result))
            except StopIteration:
                return

    readers = [threading.Thread(target=read, args=(mine,)) for mine in seen]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(LIMIT)
    assert sorted(seen[0] + seen[1]) == list(range(5_000))
    assert all(mine == sorted(mine) for mine in seen)


def test_active_tasks_counts_items() -> None:
    held = Held()
    result = held.pool.map(int, range(10))
    assert held.pool.active_tasks == 11
    held.free()
    assert list(result) == list(range(10))
    held.pool.shutdown()
    assert held.pool.active_tasks == 0
    held = Held()
    held.pool.map(int, range(10)).close()
    assert held.pool.active_tasks == 1
    held.free()
    held.pool.shutdown()
    assert held.pool.active_tasks == 0


def test_native_functions_let_other_threads_run() -> None:
    with SafeThreadPool(1) as pool:
        result = pool.map(abs, range(3_000_000))
        seen = most = 0
        while seen < 3_000_000:
            before, seen = seen, result._finished
            most = max(most, seen - before)
        assert most < 1_000_000  # of as many in 6 ms, 170,000


# --- inside the items


variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)


@pytest.mark.parametrize("waiting", [(500, 1500), (0, 1), (100, 101), (7, 19_000)])
def test_items_that_wait_for_the_next_one_do_not_keep_it(waiting: tuple[int, int]) -> None:
    events = {number: threading.Event() for number in waiting}

    def call(number: int) -> bool:
        if number - 1 in events:
            events[number - 1].set()
        return number not in events or events[number].wait(LIMIT)

    with SafeThreadPool(2 + (waiting[1] - waiting[0] == 1)) as pool:
        assert all(pool.map(call, range(20_000)))


other: contextvars.ContextVar[int] = contextvars.ContextVar("other", default=0)


def set_and_look(number: int) -> tuple[int, int]:
    found = variable.get(), other.get()
    if number % 3 == 0:
        variable.set(number)
    elif number % 7 == 0:
        other.reset(other.set(number))
    elif number % 11 == 0:
        other.set(number)
    return found


@pytest.mark.parametrize("given", [None, 5])
@pytest.mark.parametrize("workers", [1, 3])
def test_what_an_item_sets_the_next_does_not_see(given: int | None, workers: int) -> None:
    def main() -> list[tuple[int, int]]:
        if given is not None:
            variable.set(given)
        with SafeThreadPool(workers) as pool:
            found = list(pool.map(set_and_look, range(20_000)))
        assert variable.get() == (given or 0)
        return found

    assert contextvars.Context().run(main) == [(given or 0, 0)] * 20_000


@pytest.mark.parametrize("given", [0, 7])
@pytest.mark.parametrize("isolation", ["none", "inline"])
def test_each_item_has_a_context_of_its_own(given: int, isolation: Any) -> None:
    def call(number: int) -> int:
        before = variable.get()
        variable.set(number)
        return before

    def main() -> list[int]:
        if given:
            variable.set(given)
        with SafeThreadPool(1, isolation=isolation) as pool:
            return list(pool.map(call, range(1, 500)))

    assert contextvars.Context().run(main) == [given] * 499
    assert variable.get() == 0


def test_the_items_have_one_future_which_stops_them_all(pool: SafeThreadPool) -> None:
    futures = set(pool.map(lambda _: current_future(), range(10)))
    assert len(futures) == 1
    future = futures.pop()
    assert isinstance(future, SafeFuture)
    assert future.result(LIMIT) is None

    def call(number: int) -> int:
        if number == 5:
            mine = current_future()
            assert mine is not None
            mine.cancel()
        check_cancelled()
        return number

    with SafeThreadPool(1) as one:
        result = one.map(call, range(10))
        assert [next(result) for _ in range(5)] == list(range(5))
        with pytest.raises(concurrent.futures.CancelledError):
            next(result)


def test_a_map_read_by_its_own_item_is_an_error() -> None:
    with SafeThreadPool(1) as pool:
        ready = threading.Event()
        maps: list[MapResult[Any]] = []

        def call(_: int) -> None:
            assert ready.wait(LIMIT)
            next(maps[0])

        maps.append(pool.map(call, range(1)))
        ready.set()
        with pytest.raises(RuntimeError, match="for ever"):
            next(maps[0])


def test_arguments_are_dropped_when_the_item_has_run(pool: SafeThreadPool) -> None:
    class Thing:
        pass

    things = [Thing() for _ in range(100)]
    alive = weakref.WeakSet(things)
    result = pool.map(lambda thing: None, things)
    things.clear()
    assert result == [None] * 100
    gc.collect()
    assert len(alive) == 0


@pytest.mark.parametrize("read", ["none", "some"])
def test_results_of_a_dropped_map_are_dropped(pool: SafeThreadPool, read: str) -> None:
    class Thing:
        pass

    alive: weakref.WeakSet[Thing] = weakref.WeakSet()

    def make(_: int) -> Thing:
        thing = Thing()
        alive.add(thing)
        return thing

    result = pool.map(make, range(100))
    if read == "some":
        next(result)
    del result
    pool.shutdown()
    gc.collect()
    assert len(alive) == 0


def test_a_map_in_a_cycle_is_collected(pool: SafeThreadPool) -> None:
    class Box:
        content: Any = None

    boxes = [Box()]
    boxes[0].content = pool.map(boxes.__getitem__, [0, 0, 0])
    assert boxes[0].content[2] is boxes[0]
    gone = weakref.ref(boxes.pop())
    pool.shutdown()
    gc.collect()
    assert gone() is None


# --- errors


def test_an_await_raises_the_first_failure_at_once() -> None:
    pool = SafeThreadPool(4)
    gate = threading.Event()

    def call(number: int) -> None:
        if number == 1:
            raise Boom
        assert gate.wait(LIMIT)

    async def main() -> None:
        await pool.map(call, range(2))

    with pytest.raises(Boom):
        asyncio.run(main())  # item 0 is still running
    with pytest.raises(Boom):
        assert pool.map(call, range(2)) == []
    gate.set()
    pool.shutdown()


def test_an_unread_map_runs_on_after_a_failure_and_reports_it_once(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[int] = []

    def call(number: int) -> None:
        ran.append(number)
        if number in (2, 4):
            raise Boom(number)

    with SafeThreadPool(1) as pool:
        pool.map(call, range(10))
    assert ran == list(range(10))
    records = [record for record in caplog.records if record.name == "pyferris"]
    assert len(records) == 1
    assert records[0].exc_info is not None
    assert str(records[0].exc_info[1]) == "2"


def test_a_failure_read_twice_has_one_traceback(pool: SafeThreadPool) -> None:
    def call(_: int) -> None:
        raise Boom

    result = pool.map(call, [1])

    def frames() -> int:
        with pytest.raises(Boom) as caught:
            result[0]
        return len(caught.traceback)

    assert frames() == frames()


def test_stop_iteration_of_an_item_does_not_end_the_loop(pool: SafeThreadPool) -> None:
    def call(number: int) -> int:
        if number == 1:
            raise StopIteration("early")
        return number

    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        list(pool.map(call, range(3)))
    assert isinstance(caught.value.__cause__, StopIteration)
    kept = list(pool.map(call, range(3), return_exceptions=True))
    assert isinstance(kept[1], RuntimeError)


def test_an_interrupt_ends_an_inline_map() -> None:
    ran: list[int] = []

    def call(number: int) -> None:
        ran.append(number)
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), SafeThreadPool(isolation="inline") as pool:
        list(pool.map(call, range(10)))
    assert ran == [0, 1, 2]


# --- pools that end


def test_shutdown_that_cancels_stops_a_running_map() -> None:
    started = threading.Event()
    gate = threading.Event()

    def call(number: int) -> int:
        started.set()
        assert gate.wait(LIMIT)
        return number

    pool = SafeThreadPool(1)
    result = pool.map(call, range(100))
    assert started.wait(LIMIT)
    pool.shutdown(wait=False, cancel_futures=True)
    gate.set()
    assert next(result) == 0
    with pytest.raises(concurrent.futures.CancelledError):
        next(result)
    assert pool.shutdown()


def test_a_closed_pool_finishes_its_maps() -> None:
    pool = SafeThreadPool(3)
    result = pool.map(lambda number: time.sleep(0.0001) or number, range(300))
    pool.shutdown(wait=False)
    assert list(result) == list(range(300))
    pool.shutdown()


def test_a_lazy_map_on_a_pool_that_was_shut_gives_what_had_run_then_says_so() -> None:
    pool = SafeThreadPool(1)
    result = pool.map(int, range(10), buffersize=3)
    pool.shutdown()
    assert [next(result) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(PoolClosed):
        next(result)


def test_an_initializer_that_fails_breaks_the_map() -> None:
    def fail() -> None:
        raise Boom

    pool = SafeThreadPool(2, initializer=fail)
    with pytest.raises(BrokenPool):
        list(pool.map(int, range(10)))


def test_an_interrupted_with_block_stops_the_items() -> None:
    started = threading.Event()

    def call(_: int) -> None:
        started.set()
        sleep(LIMIT)

    def interrupted() -> None:
        with SafeThreadPool(2) as pool:
            pool.map(call, range(10))
            assert started.wait(LIMIT)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()


def test_a_map_holds_its_pool_until_it_is_over() -> None:
    pool: SafeThreadPool | None = SafeThreadPool(1)
    assert pool is not None
    gone = weakref.ref(pool)
    result = pool.map(int, range(1_000))
    pool = None
    assert list(result) == list(range(1_000))
    while gone() is not None:  # its last worker may still be on its way out
        gc.collect()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_a_map_that_is_pending_when_the_process_forks_raises_in_the_child() -> None:
    held = Held()
    result = held.pool.map(int, range(10))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            list(result)
        except BrokenPool:
            code = 0 if list(held.pool.map(int, range(5))) == list(range(5)) else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    held.free()
    assert list(result) == list(range(10))
    held.pool.shutdown()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_an_item_that_forks_goes_on_in_both_processes() -> None:
    def call(number: int) -> int:
        if number != 1:
            return number
        child = os.fork()
        if child == 0:
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    with SafeThreadPool(2) as pool:
        assert list(pool.map(call, range(3))) == [0, 7, 2]


# --- coroutine functions, names that are not maps


def test_a_coroutine_function_is_awaited(pool: SafeThreadPool) -> None:
    async def call(number: int) -> int:
        await asyncio.sleep(0)
        return number * 2

    assert list(pool.map(call, range(10))) == [2 * number for number in range(10)]


def test_a_map_not_made_by_a_pool_says_so() -> None:
    empty: MapResult[int] = MapResult()
    with pytest.raises(RuntimeError, match=r"SafeThreadPool\.map"):
        next(empty)
    empty.close()
    assert "MapResult" in repr(empty)


@pytest.mark.parametrize("function", [3, None, "abs"])
def test_a_function_that_is_none(pool: SafeThreadPool, function: Any) -> None:
    with pytest.raises(TypeError, match="callable"):
        pool.map(function, [1])
