"""SafeThreadPool(isolation="interpreter"): calls, what they are given, what they return and raise."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import sys
import threading
import traceback
import weakref
from array import array
from collections.abc import Callable

import pytest
from interpreter_calls import LIMIT, add, fail, needs_interpreters, other_interpreter, wait_for

from pyferris.safe_thread import SafeQueue
from pyferris.thread_pool import SafeThreadPool

pytestmark = needs_interpreters


@pytest.fixture(name="pool")
def make_pool():
    with SafeThreadPool(2, isolation="interpreter") as made:
        yield made


# --- submit


def test_a_call_runs_in_another_interpreter(pool):
    assert pool.submit(other_interpreter).result(LIMIT)
    assert not other_interpreter()


def test_arguments_and_keywords_arrive(pool):
    assert pool.submit(add, 1).result(LIMIT) == 1
    assert pool.submit(add, 1, other=2).result(LIMIT) == 3
    assert pool.submit(lambda *args, **kwargs: (args, kwargs), 1, a=2, fn=3).result(LIMIT) == ((1,), {"a": 2, "fn": 3})
    assert pool.submit(dict, self=1).result(LIMIT) == {"self": 1}


EDGES = [n + d for b in (7, 8, 15, 16, 30, 31, 32, 62, 63, 64) for n in (1 << b, -1 << b) for d in (-1, 0, 1)]


@pytest.mark.parametrize("count", [0, 1, 2, 254, 255, 256, 257, 70_000])
def test_short_and_long_forms_of_what_travels(pool, count: int) -> None:
    given = tuple((EDGES * (count // len(EDGES) + 1))[:count])
    assert pool.submit(lambda *args: (len(args), args), *given).result(LIMIT) == (count, given)
    assert pool.submit(lambda items: items[::-1], given).result(LIMIT) == given[::-1]
    assert pool.submit(list, given).result(LIMIT) == list(given)


@pytest.mark.parametrize("number", EDGES)
def test_ints_of_every_size_travel(pool, number: int) -> None:
    found = pool.submit(lambda x: (x, [x, (x,)], -x), number).result(LIMIT)
    assert found == (number, [number, (number,)], -number)
    assert pool.submit(abs, number).result(LIMIT) == abs(number)


def test_active_tasks_when_workers_have_come_and_gone():
    made = SafeThreadPool(3, isolation="interpreter")
    batch = [made.submit(add, number) for number in range(300)]
    assert list(made.map(add, range(100))) == list(range(100))
    for future in batch:
        future.result(LIMIT)
    assert made.active_tasks == 0
    made.shutdown()
    assert made.active_tasks == 0


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


# --- what is not kept


def closures(count: int, shape: str) -> tuple[list[weakref.ref[object]], list[Callable[[], int]]]:
    """Functions of one shape, and weak references to them."""
    made: list[Callable[[], int]] = []
    for number in range(count):
        text = "x" * 1000 + str(number)

        def plain(text: str = text) -> int:
            return len(text)

        def closed() -> int:
            return len(text)  # noqa: B023 - each its own

        def recursive(depth: int = 2) -> int:
            return recursive(depth - 1) if depth else 1

        made.append({"plain": plain, "closed": closed, "recursive": recursive}[shape])
    return [weakref.ref(each) for each in made], made


@pytest.mark.parametrize("shape", ["plain", "closed", "recursive"])
def test_functions_are_not_kept(pool, shape: str) -> None:
    references, made = closures(20, shape)
    futures = [pool.submit(each) for each in made]
    assert len({future.result(LIMIT) for future in futures}) <= 3
    del made[:], futures
    gc.collect()
    assert [reference() for reference in references] == [None] * 20


def test_of_functions_that_keep_each_other_only_the_last_ones_are_remembered(pool) -> None:
    def pair() -> Callable[[], int]:
        def one(depth: int = 2) -> int:
            return other(depth - 1) if depth else 1

        def other(depth: int) -> int:
            return one(depth - 1) if depth else 2

        return one

    references: list[weakref.ref[object]] = []
    for _ in range(600):
        function = pair()
        references.append(weakref.ref(function))
        assert pool.submit(function).result(LIMIT) == 1
    del function
    gc.collect()
    assert sum(reference() is not None for reference in references) <= 257
