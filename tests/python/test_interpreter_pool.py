"""SafeThreadPool(isolation="interpreter"): the contract of every pool, kept by workers with a GIL of their own."""

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
import traceback
import weakref
from array import array

import pytest

from pyferris import _native
from pyferris.errors import BrokenPool, CallCancelled, PoolClosed
from pyferris.future import SafeFuture, cancel_requested, check_cancelled, sleep
from pyferris.safe_thread import SafeQueue
from pyferris.thread_pool import SafeThreadPool

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="interpreters with a GIL of their own need Python 3.12"
)

LIMIT = 60  # seconds that nothing here takes


@pytest.fixture(name="pool")
def make_pool():
    with SafeThreadPool(2, isolation="interpreter") as made:
        yield made


def add(one, other=0):
    return one + other


def fail(text):
    raise ValueError(text, 7)


def forever(started):
    started.push(1)
    while True:
        pass


def wait_for(queue):
    return queue.pop(timeout=LIMIT)


def other_interpreter():
    from pyferris import _native

    return not _native.in_main_interpreter()


def started(queue, count=1):
    for _ in range(count):
        queue.pop(timeout=LIMIT)


# --- submit


def test_a_call_runs_in_another_interpreter(pool):
    assert pool.submit(other_interpreter).result(LIMIT)
    assert not other_interpreter()


def test_arguments_and_keywords_arrive(pool):
    assert pool.submit(add, 1).result(LIMIT) == 1
    assert pool.submit(add, 1, other=2).result(LIMIT) == 3
    assert pool.submit(lambda *args, **kwargs: (args, kwargs), 1, a=2, fn=3).result(LIMIT) == ((1,), {"a": 2, "fn": 3})
    assert pool.submit(dict, self=1).result(LIMIT) == {"self": 1}


def test_a_call_starts_before_a_later_one():
    order: SafeQueue[int] = SafeQueue()
    with SafeThreadPool(1, isolation="interpreter") as pool:
        for number in range(500):
            pool.submit(order.push, number)
    assert [order.pop(block=False) for _ in range(500)] == list(range(500))


def test_every_future_of_many_ends_with_its_own_result(pool):
    futures = [pool.submit(add, number, 1) for number in range(20_000)]
    assert [future.result(LIMIT) for future in futures] == list(range(1, 20_001))


def test_calls_submitted_by_many_threads_all_end(pool):
    found: list[int] = []

    def submit(number):
        found.extend(future.result(LIMIT) for future in [pool.submit(add, number, n) for n in range(500)])

    threads = [threading.Thread(target=submit, args=(1000 * each,)) for each in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(1000 * each + n for each in range(6) for n in range(500))


def test_a_result_is_decoded_once(pool):
    future = pool.submit(lambda: [1, [2]])
    assert future.result(LIMIT) is future.result(LIMIT)


def test_arguments_are_copied(pool):
    given = [1]
    assert pool.submit(lambda items: items.append(2) or items, given).result(LIMIT) == [1, 2]
    assert given == [1]


def test_what_cannot_travel_is_refused_with_its_name(pool):
    with pytest.raises(TypeError, match=r"argument.*add"):
        pool.submit(add, threading.Lock())
    with pytest.raises(TypeError, match="callable"):
        pool.submit(3)
    assert pool.submit(add, 1).result(LIMIT) == 1
    assert pool.active_tasks == 0


def test_a_result_that_cannot_travel_is_the_calls_error(pool):
    def generator():
        return (each for each in range(3))

    with pytest.raises(TypeError, match=r"result of .*generator"):
        pool.submit(generator).result(LIMIT)
    assert pool.submit(add, 1).result(LIMIT) == 1


def test_active_tasks_counts_queued_and_running_calls():
    gate: SafeQueue[int] = SafeQueue()
    with SafeThreadPool(1, isolation="interpreter") as pool:
        futures = [pool.submit(wait_for, gate) for _ in range(3)]
        assert pool.active_tasks == 3
        for _ in range(3):
            gate.push(1)
        concurrent.futures.wait(futures, LIMIT)
        assert pool.active_tasks == 0


@pytest.mark.parametrize("size", [0, 1, 32 * 1024 - 1, 32 * 1024, 32 * 1024 + 1, 5_000_000])
def test_blocks_of_memory_come_back_as_they_went(pool, size):
    data = os.urandom(size)
    for value in (data, bytearray(data), array("B", data), array("d", [0.5] * (size // 8)), memoryview(data)):
        back = pool.submit(lambda each: each, value).result(LIMIT)
        assert type(back) is type(value)
        assert back == value
        inside = pool.submit(lambda each: {"in": [each]}, bytes(value)).result(LIMIT)
        assert inside == {"in": [bytes(value)]}


@pytest.mark.parametrize("form", ["B", "b", "c", "i", "d", "?"])
def test_memoryviews_keep_format_and_shape(pool, form):
    view = memoryview(bytes(48 * 1024)).cast(form)
    back = pool.submit(lambda each: (each.format, each.shape, each), view).result(LIMIT)
    assert back[:2] == (form, view.shape)
    assert back[2] == view
    square = memoryview(bytes(4096)).cast("B", (64, 64))
    back = pool.submit(lambda each: each, square[::2]).result(LIMIT)
    assert (back.shape, back.tobytes()) == ((32, 64), square[::2].tobytes())


def test_an_array_of_characters_comes_back(pool):
    text = array("u" if sys.version_info < (3, 13) else "w", "grün" * 20_000)
    assert pool.submit(lambda each: each, text).result(LIMIT) == text


def test_views_and_results_of_subclasses_keep_their_type(pool):
    class Blob(bytearray):
        pass

    back = pool.submit(lambda each: each, Blob(b"x" * 100_000)).result(LIMIT)
    assert type(back).__name__ == "Blob"
    assert back == b"x" * 100_000


# --- errors


def test_an_error_keeps_type_arguments_notes_and_the_users_lines(pool):
    def with_note():
        try:
            fail("wrong")
        except ValueError as error:
            error.add_note("look here")
            raise

    with pytest.raises(ValueError, match="wrong") as caught:
        pool.submit(with_note).result(LIMIT)
    error = caught.value
    assert type(error) is ValueError
    assert error.args == ("wrong", 7)
    assert error.__notes__ == ["look here"]
    text = "".join(traceback.format_exception(error.__cause__))
    assert "in with_note" in text
    assert "in fail" in text
    assert "raise ValueError(text, 7)" in text


def test_an_error_is_the_same_for_each_reader_and_does_not_grow(pool):
    future = pool.submit(fail, "x")
    seen = []
    for _ in range(5):
        with pytest.raises(ValueError, match="x") as caught:
            future.result(LIMIT)
        seen.append((caught.value, len(traceback.extract_tb(caught.value.__traceback__))))
    assert len({id(error) for error, _ in seen}) == 1
    assert len({depth for _, depth in seen}) == 1
    assert future.exception() is seen[0][0]


def test_an_error_that_cannot_be_pickled_arrives_all_the_same(pool):
    class Odd(KeyError):
        def __init__(self, lock):
            super().__init__("odd")
            self.lock = lock

    def odd():
        import _thread

        raise Odd(_thread.allocate_lock())

    with pytest.raises(KeyError) as caught:
        pool.submit(odd).result(LIMIT)
    assert "odd" in str(caught.value)
    assert "in odd" in str(caught.value.__cause__)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, MemoryError])
def test_an_error_of_any_kind_goes_into_the_future(pool, kind):
    def exit_now(kind):
        raise kind(3)

    future = pool.submit(exit_now, kind)
    assert type(future.exception(LIMIT)) is kind
    assert pool.submit(add, 1).result(LIMIT) == 1


def test_a_stop_iteration_is_a_runtime_error_where_it_is_awaited(pool):
    def stop():
        raise StopIteration(1)

    async def main():
        with pytest.raises(RuntimeError):
            await pool.submit(stop)

    asyncio.run(main())


# --- waiting


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
        from pyferris import _native

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


def test_a_call_that_catches_everything_is_given_up(pool):
    def stubborn(queue):
        queue.push(1)
        while True:
            try:
                while True:
                    pass
            except BaseException:
                if queue.qsize() > 1:
                    return

    queue: SafeQueue[int] = SafeQueue()
    future = pool.submit(stubborn, queue)
    started(queue)
    future.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(LIMIT)
    assert list(pool.map(add, range(10))) == list(range(10))
    for _ in range(3):
        queue.push(1)  # it ends when it is asked once more
    while future.done() and _native.interpreter_counts() is None:
        pass


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
    with pytest.raises(error), SafeThreadPool(1, isolation="interpreter") as pool:
        running, queued = pool.submit(forever, queue), [pool.submit(add, n) for n in range(50)]
        results = pool.map(add, range(10))
        started(queue)
        raise error
    assert running.cancelled()
    assert all(each.cancelled() for each in queued)
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
    import sys
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
    import sys

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
        assert [pool.submit(count_up).result(LIMIT) for _ in range(2)][0] == 1
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
