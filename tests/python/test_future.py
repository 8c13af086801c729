"""SafeFuture as a concurrent.futures.Future: its contract, the standard waiters, callbacks, errors and memory."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import gc
import logging
import pickle
import sys
import threading
import traceback
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from busy_pool import LIMIT, Boom, Busy, boom

from pyferris.safe_thread import (
    CallCancelled,
    SafeFuture,
    SafeThreadPool,
    cancel_requested,
    check_cancelled,
    current_future,
    sleep,
)


@pytest.fixture
def pool() -> Iterator[SafeThreadPool]:
    with SafeThreadPool(1) as pool:
        yield pool


def test_is_a_standard_future_and_no_asyncio_one() -> None:
    future: SafeFuture[int] = SafeFuture()
    assert isinstance(future, concurrent.futures.Future)
    assert not asyncio.isfuture(future)
    assert hash(future) == hash(future)
    assert future != SafeFuture()
    assert weakref.ref(future)() is future
    assert SafeFuture[int]  # subscriptable at run time


def test_states_of_a_promise_with_a_result() -> None:
    future: SafeFuture[int] = SafeFuture()
    assert (future.running(), future.done(), future.cancelled()) == (False, False, False)
    assert future.set_running_or_notify_cancel() is True
    assert (future.running(), future.done(), future.cancelled()) == (True, False, False)
    assert future.cancel() is False
    future.set_result(7)
    assert (future.running(), future.done(), future.cancelled()) == (False, True, False)
    assert future.cancel() is False
    assert (future.result(), future.result(0), future.exception()) == (7, 7, None)


def test_states_of_a_promise_with_an_exception() -> None:
    future: SafeFuture[int] = SafeFuture()
    error = Boom("x")
    future.set_exception(error)
    assert future.done()
    assert not future.cancelled()
    assert future.exception() is error
    with pytest.raises(Boom) as caught:
        future.result()
    assert caught.value is error


def test_states_of_a_cancelled_promise() -> None:
    future: SafeFuture[int] = SafeFuture()
    assert future.cancel() is True
    assert future.cancel() is True
    assert future.cancelled()
    assert future.done()
    for read in (future.result, future.exception):
        with pytest.raises(concurrent.futures.CancelledError):
            read()
    assert future.set_running_or_notify_cancel() is False


@pytest.mark.parametrize("end", ["result", "exception", "cancel"])
def test_a_finished_future_cannot_be_finished_again(end: str) -> None:
    future: SafeFuture[int] = SafeFuture()
    if end == "result":
        future.set_result(1)
    elif end == "exception":
        future.set_exception(Boom())
        future.exception()
    else:
        future.cancel()
    with pytest.raises(concurrent.futures.InvalidStateError):
        future.set_result(2)
    with pytest.raises(concurrent.futures.InvalidStateError):
        future.set_exception(Boom())
    if end == "result":
        assert future.result() == 1


def test_waiting_ends_with_timeout_error() -> None:
    future: SafeFuture[int] = SafeFuture()
    for timeout in (0, -1, 0.001):
        with pytest.raises(concurrent.futures.TimeoutError):
            future.result(timeout)
        with pytest.raises(TimeoutError):
            future.exception(timeout=timeout)


def test_a_future_is_not_copied_or_pickled() -> None:
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            act(SafeFuture())


def test_repr_tells_state_and_outcome() -> None:
    future: SafeFuture[int] = SafeFuture()
    assert "pending" in repr(future)
    future.set_result(1)
    assert "finished" in repr(future)
    assert "int" in repr(future)


def test_all_readers_wake_up() -> None:
    future: SafeFuture[object] = SafeFuture()
    value = object()
    with concurrent.futures.ThreadPoolExecutor(8) as readers:
        reads = [readers.submit(future.result, LIMIT) for _ in range(8)]
        future.set_result(value)
        assert all(read.result(LIMIT) is value for read in reads)


def test_cancel_from_another_thread_wakes_a_reader() -> None:
    future: SafeFuture[None] = SafeFuture()
    with concurrent.futures.ThreadPoolExecutor(1) as readers:
        read = readers.submit(future.exception, LIMIT)
        future.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            read.result(LIMIT)


# --- the standard library's waiters


def test_wait_returns_as_it_is_told(pool: SafeThreadPool) -> None:
    with Busy(pool) as busy:
        done: SafeFuture[int] = SafeFuture()
        done.set_result(1)
        futures: list[Any] = [busy.future, done]
        first = concurrent.futures.wait(futures, LIMIT, concurrent.futures.FIRST_COMPLETED)
        assert (first.done, first.not_done) == ({done}, {busy.future})
        late = concurrent.futures.wait(futures, 0.001)
        assert late.not_done == {busy.future}
        failed: SafeFuture[int] = SafeFuture()
        failed.set_exception(Boom())
        some = concurrent.futures.wait([busy.future, failed], LIMIT, concurrent.futures.FIRST_EXCEPTION)
        assert some.done == {failed}
    assert concurrent.futures.wait([*futures, failed], LIMIT).not_done == set()


def test_wait_mixes_with_standard_futures(pool: SafeThreadPool) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as other:
        futures: list[Any] = [pool.submit(pow, 2, 2), other.submit(pow, 2, 3)]
        assert concurrent.futures.wait(futures, LIMIT).not_done == set()
        assert sorted(each.result() for each in concurrent.futures.as_completed(futures, LIMIT)) == [4, 8]


def test_as_completed_times_out_and_goes_on(pool: SafeThreadPool) -> None:
    with Busy(pool) as busy:
        with pytest.raises(TimeoutError):
            list(concurrent.futures.as_completed([busy.future], 0.001))
        busy.gate.set()
        assert next(concurrent.futures.as_completed([busy.future], LIMIT)) is busy.future


def test_wait_and_as_completed_race_with_completion() -> None:
    with SafeThreadPool(2) as pool:
        for number in range(10_000):
            pair = [pool.submit(int, number), pool.submit(int, number)]
            if number % 2:
                assert len(concurrent.futures.wait(pair, LIMIT).done) == 2
            else:
                assert set(concurrent.futures.as_completed(pair, LIMIT)) == set(pair)


def test_waiters_leave_no_trace() -> None:
    future: SafeFuture[None] = SafeFuture()
    for _ in range(3):
        concurrent.futures.wait([future], 0)
    assert list(future._waiters) == []


# --- callbacks


def test_callbacks_run_once_in_order_on_the_worker(pool: SafeThreadPool) -> None:
    ran: list[tuple[int, object, str]] = []
    last = threading.Event()
    with Busy(pool) as busy:
        for number in range(3):
            busy.future.add_done_callback(
                lambda future, number=number: ran.append((number, future, threading.current_thread().name))
            )
        busy.future.add_done_callback(lambda future: last.set())
    assert last.wait(LIMIT)
    assert [entry[:2] for entry in ran] == [(number, busy.future) for number in range(3)]
    assert {entry[2] for entry in ran} == {f"{pool._thread_name_prefix}_0"}


def test_a_callback_of_a_finished_future_runs_at_once() -> None:
    future: SafeFuture[int] = SafeFuture()
    future.set_result(1)
    threads: list[int] = []
    future.add_done_callback(lambda _: threads.append(threading.get_ident()))
    assert threads == [threading.get_ident()]


def test_a_callback_runs_on_cancel() -> None:
    future: SafeFuture[int] = SafeFuture()
    ran: list[bool] = []
    future.add_done_callback(lambda each: ran.append(each.cancelled()))
    future.cancel()
    future.cancel()
    assert ran == [True]


def test_a_failing_callback_is_logged_and_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    future: SafeFuture[int] = SafeFuture()
    ran: list[int] = []

    def fail(_: object) -> None:
        raise Boom("callback")

    future.add_done_callback(fail)
    future.add_done_callback(lambda each: ran.append(each.result()))
    future.set_result(5)
    assert ran == [5]
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], Boom)


def test_removed_callbacks_do_not_run() -> None:
    future: SafeFuture[int] = SafeFuture()
    ran: list[str] = []

    def gone(_: object) -> None:
        ran.append("gone")

    def kept(_: object) -> None:
        ran.append("kept")

    for callback in (gone, kept, gone):
        future.add_done_callback(callback)
    assert future.remove_done_callback(gone) == 2
    assert future.remove_done_callback(gone) == 0
    future.set_result(1)
    assert ran == ["kept"]


def test_callbacks_added_during_completion_all_run() -> None:
    for _ in range(300):
        future: SafeFuture[int] = SafeFuture()
        ran: list[int] = []
        barrier = threading.Barrier(2)

        def finish(future: SafeFuture[int] = future, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            future.set_result(1)

        thread = threading.Thread(target=finish)
        thread.start()
        barrier.wait()
        for number in range(20):
            future.add_done_callback(lambda _, number=number, ran=ran: ran.append(number))
        thread.join()
        assert sorted(ran) == list(range(20))


# --- cancelling


def test_cancel_and_completion_race_to_one_outcome() -> None:
    with SafeThreadPool(1) as pool:
        outcomes = {True: 0, False: 0}
        for _ in range(2_000):
            ran: list[int] = []
            future = pool.submit(ran.append, 1)
            cancelled = future.cancel()
            concurrent.futures.wait([future], LIMIT)
            if cancelled:
                assert future.cancelled()
                assert ran == []
            elif not future.cancelled():
                assert ran == [1]
            outcomes[cancelled] += 1
    assert sum(outcomes.values()) == 2_000


def test_cancel_of_a_running_call_is_a_request(pool: SafeThreadPool) -> None:
    started, asked = threading.Event(), threading.Event()

    def call() -> str:
        assert not cancel_requested()
        check_cancelled()
        started.set()
        assert asked.wait(LIMIT)
        assert cancel_requested()
        with pytest.raises(CallCancelled):
            check_cancelled()
        with pytest.raises(CallCancelled):
            sleep(LIMIT)
        return "all the same"

    future = pool.submit(call)
    assert started.wait(LIMIT)
    assert future.cancel() is False
    asked.set()
    assert future.result(LIMIT) == "all the same"
    assert not future.cancelled()
    assert pool.submit(cancel_requested).result(LIMIT) is False


def test_a_call_that_obeys_ends_cancelled(pool: SafeThreadPool) -> None:
    started = threading.Event()
    eaten: list[BaseException] = []

    def call() -> None:
        started.set()
        try:
            sleep(LIMIT)
        except Exception as error:
            eaten.append(error)

    future = pool.submit(call)
    assert started.wait(LIMIT)
    assert future.cancel() is False
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(LIMIT)
    assert future.cancelled()
    assert eaten == []


def test_current_future(pool: SafeThreadPool) -> None:
    seen: list[object] = []
    future = pool.submit(lambda: seen.append(current_future()))
    future.result(LIMIT)
    assert seen == [future]
    assert current_future() is None
    with pytest.raises(ValueError, match="-1"):
        sleep(-1)


# --- errors


def test_an_error_keeps_its_frames_and_does_not_grow(pool: SafeThreadPool) -> None:
    future = pool.submit(boom)
    lengths = []
    for _ in range(5):
        with pytest.raises(Boom) as caught:
            future.result(LIMIT)
        names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert names[-1] == "boom"
        lengths.append(len(names))
    assert len(set(lengths)) == 1


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt("x"), StopIteration(4), GeneratorExit()])
def test_errors_that_are_no_exceptions_reach_the_reader(pool: SafeThreadPool, error: BaseException) -> None:
    def fail() -> None:
        raise error

    future = pool.submit(fail)
    with pytest.raises(type(error)) as caught:
        future.result(LIMIT)
    assert caught.value is error
    assert pool.submit(abs, -1).result(LIMIT) == 1


def unretrieved(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    gc.collect()
    return [record for record in caplog.records if record.name == "pyferris"]


def test_an_unread_failure_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with SafeThreadPool(1) as pool:
        future = pool.submit(boom)
    assert unretrieved(caplog) == []
    del future
    (record,) = unretrieved(caplog)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], Boom)
    assert record.getMessage() == "a call failed in boom() and nobody looked at its outcome"
    assert len(unretrieved(caplog)) == 1


@pytest.mark.parametrize("look", ["result", "exception", "callback", "wait", "cancelled"])
def test_a_failure_that_was_looked_at_is_not_logged(caplog: pytest.LogCaptureFixture, look: str) -> None:
    with SafeThreadPool(1) as pool:
        with Busy(pool):
            future = pool.submit(boom)
            if look == "callback":
                future.add_done_callback(lambda _: None)
            elif look == "cancelled":
                future.cancel()
        if look == "result":
            with pytest.raises(Boom):
                future.result(LIMIT)
        elif look == "exception":
            assert isinstance(future.exception(LIMIT), Boom)
        elif look == "wait":
            concurrent.futures.wait([future], LIMIT)
    del future
    assert unretrieved(caplog) == []


# --- memory


class Thing:
    pass


def test_a_cycle_through_a_future_is_collected() -> None:
    def through_result() -> weakref.ref[Thing]:
        thing, future = Thing(), SafeFuture[Any]()
        thing.future = future  # type: ignore[attr-defined]
        future.set_result(thing)
        return weakref.ref(thing)

    def through_callback() -> weakref.ref[Thing]:
        thing, future = Thing(), SafeFuture[Any]()
        thing.future = future  # type: ignore[attr-defined]
        future.add_done_callback(lambda _: thing)
        return weakref.ref(thing)

    for make in (through_result, through_callback):
        reference = make()
        gc.collect()
        assert reference() is None, make


def test_result_and_callbacks_are_released() -> None:
    thing = Thing()
    before = sys.getrefcount(thing)
    future: SafeFuture[Thing] = SafeFuture()
    future.add_done_callback(lambda _, held=thing: None)
    future.set_result(thing)
    for _ in range(100):
        assert future.result() is thing
    del future
    assert sys.getrefcount(thing) == before


@pytest.mark.parametrize("timeout", ["1", object()])
def test_a_wrong_timeout_is_a_type_error(timeout: Any) -> None:
    with pytest.raises(TypeError):
        SafeFuture().result(timeout)


def test_wrong_arguments() -> None:
    future: SafeFuture[int] = SafeFuture()
    with pytest.raises(TypeError):
        future.set_result()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        SafeFuture(1)  # type: ignore[call-arg]
    assert not future.done()


def test_a_subclass_may_take_arguments_of_its_own() -> None:
    class Named(SafeFuture[int]):
        def __init__(self, name: str, *, size: int) -> None:
            super().__init__()
            self.name, self.size = name, size

    class Plain(SafeFuture[int]):
        pass

    future = Named("mine", size=3)
    assert (future.name, future.size, future.done()) == ("mine", 3, False)
    future.set_result(1)
    assert future.result() == 1
    with pytest.raises(TypeError, match=r"Plain\(\) takes no arguments"):
        Plain(1)  # type: ignore[call-arg]
