"""Shared data and locks passed into isolated calls: the same native object on both sides."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest
from interpreter_calls import LIMIT, needs_interpreters

from pyferris.safe_thread import (
    SafeArray,
    SafeCondition,
    SafeCounter,
    SafeDict,
    SafeLock,
    SafeQueue,
    SafeRLock,
    ShutDown,
    create_safe_shared_data,
)
from pyferris.thread_pool import SafeThreadPool

pytestmark = needs_interpreters


@pytest.fixture(name="pool")
def make_pool():
    with SafeThreadPool(2, isolation="interpreter") as made:
        yield made


def both(pool, function, *args):
    """What two calls at once give."""
    return [future.result(LIMIT) for future in [pool.submit(function, *args) for _ in range(2)]]


def test_a_counter_counts_exactly(pool):
    def count(counter):
        for _ in range(100_000):
            counter.increment()

    counter = SafeCounter()
    both(pool, count, counter)
    assert counter.get() == 200_000


def test_a_counter_compares_and_exchanges(pool):
    def take(counter):
        return sum(counter.compare_exchange(n, n + 1) for n in range(2000))

    counter = SafeCounter()
    assert sum(both(pool, take, counter)) == counter.get() > 0


def test_the_memory_of_a_numeric_array_is_one(pool):
    def fill(array, start):
        for index in range(start, len(array), 2):
            array[index] = index
        for _ in range(20_000):
            array.add(0, 1)

    array = SafeArray([0] * 1000)
    for future in [pool.submit(fill, array, start) for start in (1, 2)]:
        future.result(LIMIT)
    assert array.to_list() == [40_000, *range(1, 1000)]
    view = memoryview(array)
    pool.submit(array.__setitem__, 5, -7).result(LIMIT)
    assert view[5] == -7


def test_an_array_of_objects_takes_copies(pool):
    def change(array):
        array[0] = {"one": [1]}
        return array[1]

    array = SafeArray([None, ("x", [2])])
    assert pool.submit(change, array).result(LIMIT) == ("x", [2])
    assert array[0] == {"one": [1]}


def test_a_queue_carries_everything_in_order(pool):
    def produce(queue):
        for number in range(2000):
            queue.push((number, [number], str(number)))

    def consume(queue):
        return [queue.pop(timeout=60) for _ in range(2000)]

    queue: SafeQueue[object] = SafeQueue(10)
    consumed, produced = pool.submit(consume, queue), pool.submit(produce, queue)
    assert consumed.result(LIMIT) == [(n, [n], str(n)) for n in range(2000)]
    produced.result(LIMIT)


def test_a_queue_is_closed_from_either_side(pool):
    def drain(queue):
        return list(queue)

    queue: SafeQueue[int] = SafeQueue()
    future = pool.submit(drain, queue)
    for number in range(100):
        queue.push(number)
    queue.close()
    assert future.result(LIMIT) == list(range(100))
    other: SafeQueue[int] = SafeQueue()
    pool.submit(other.close).result(LIMIT)
    with pytest.raises(ShutDown):
        other.pop()


class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return isinstance(other, Point) and self.x == other.x

    def __hash__(self):
        return hash(self.x)


@pytest.mark.parametrize("value", [None, 1, 2.5, "text", b"bytes", (1, [2]), {"a": {1}}, bytearray(b"x"), range(3)])
def test_what_a_worker_puts_in_comes_out_here(pool, value):
    queue, table, array = SafeQueue(), SafeDict(), SafeArray([None])

    def put(queue, table, array, value):
        queue.push(value)
        table["key"] = value
        array[0] = value

    pool.submit(put, queue, table, array, value).result(LIMIT)
    assert queue.pop(block=False) == table["key"] == array[0] == value
    queue.push(value)
    table["other"] = value
    assert pool.submit(lambda queue, table: (queue.pop(block=False), table["other"]), queue, table).result(LIMIT) == (
        value,
        value,
    )


def test_what_was_in_before_the_first_pool_is_seen_there():
    # Pickled by hand first: before a pool of interpreters has said how elements are encoded.
    from own_process import run

    assert (
        run("""
import pickle
from pyferris.safe_thread import *
queue, table = SafeQueue(), SafeDict()
queue.push({1, 2})
table[(1, 2)] = range(4)
pickle.dumps((queue, table))
queue.push(frozenset([3]))
with SafeThreadPool(1, isolation="interpreter") as pool:
    print(pool.submit(lambda: (queue.pop(), queue.pop(), table[(1, 2)])).result())
""")
        == "({1, 2}, frozenset({3}), range(0, 4))"
    )


def test_a_dict_adds_up(pool):
    def work(table):
        for number in range(5000):
            table.increment("all")
            table.increment(number % 10)
            table.update_value("list", lambda items: [*items, 1] if len(items) < 50 else items, [])
        return table.get_or_insert("once", 1)

    table: SafeDict[object, object] = SafeDict()
    assert both(pool, work, table) == [1, 1]
    assert table["all"] == 10_000
    assert [table[n] for n in range(10)] == [1000] * 10
    assert len(table["list"]) == 50
    assert table.size() == 13


def test_a_dict_is_a_mapping_on_both_sides(pool):
    def use(table):
        table.update(b=2, c=3)
        del table["a"]
        return sorted(table.items()), "b" in table, table.pop("c"), len(table), dict(table) == {"b": 2}

    table: SafeDict[str, int] = SafeDict({"a": 1})
    assert pool.submit(use, table).result(LIMIT) == ([("b", 2), ("c", 3)], True, 3, 1, True)
    assert dict(table) == {"b": 2}


def test_compare_exchange_of_a_dict_lets_one_win(pool):
    def claim(table):
        return sum(table.compare_exchange(n, None, "mine") for n in range(1000))

    table: SafeDict[int, object] = SafeDict(dict.fromkeys(range(1000)))
    assert sum(both(pool, claim, table)) == 1000


@pytest.mark.parametrize("kind", [SafeLock, SafeRLock])
def test_a_lock_excludes_across_interpreters(pool, kind):
    def work(lock, table):
        for _ in range(2000):
            with lock:
                table["sum"] = table["sum"] + 1

    table, lock = SafeDict({"sum": 0}), kind()
    futures = [pool.submit(work, lock, table) for _ in range(2)]
    work(lock, table)
    for future in futures:
        future.result(LIMIT)
    assert table["sum"] == 6000


def test_a_lock_held_here_is_held_there(pool):
    def attempt(lock):
        taken = lock.acquire(timeout=0.01)
        if taken:
            lock.release()
        return taken

    for lock in (SafeLock(), SafeRLock()):
        with lock:
            assert pool.submit(attempt, lock).result(LIMIT) is False
        assert pool.submit(attempt, lock).result(LIMIT) is True


@pytest.mark.parametrize("lock", [None, SafeLock, SafeRLock])
def test_a_condition_wakes_the_other_side(pool, lock):
    def answer(condition, table):
        with condition:
            table["ready"] = True
            condition.notify_all()
            while not table.get("question"):
                condition.wait(LIMIT_OF_WORKER)
            table["answer"] = table["question"] + 1
            condition.notify_all()

    condition = SafeCondition(lock() if lock is not None else None)
    table: SafeDict[str, int] = SafeDict()
    future = pool.submit(answer, condition, table)
    with condition:
        assert condition.wait_for(lambda: table.get("ready"), LIMIT)
        table["question"] = 41
        condition.notify_all()
        assert condition.wait_for(lambda: table.get("answer"), LIMIT)
    future.result(LIMIT)
    assert table["answer"] == 42


LIMIT_OF_WORKER = 60


def test_a_condition_over_a_lock_of_the_standard_library_is_refused(pool):
    with pytest.raises(TypeError, match="Safe"):
        pool.submit(print, SafeCondition(threading.Lock()))


def test_a_call_cancelled_in_a_wait_leaves_the_container_usable(pool):
    def wait(started, queue):
        started.increment()
        queue.pop()

    for _ in range(5):
        started, queue = SafeCounter(), SafeQueue()
        future = pool.submit(wait, started, queue)
        while not started.get():
            pass
        future.cancel()
        with pytest.raises(CancelledError):
            future.result(LIMIT)
        assert future.cancelled()
        assert pool.submit(queue.push, 3).exception(LIMIT) is None
        assert queue.pop(timeout=LIMIT) == 3


def test_a_call_cancelled_in_a_wait_for_a_condition_or_a_lock_leaves_it_usable(pool):
    def wait(started, condition, lock):
        if lock is not None:
            started.increment()
            lock.acquire()
        with condition:
            started.increment()
            condition.wait()

    condition, lock = SafeCondition(), SafeLock()
    lock.acquire()
    for held in (None, lock):
        started = SafeCounter()
        future = pool.submit(wait, started, condition, held)
        while not started.get():
            pass
        future.cancel()
        with pytest.raises(CancelledError):
            future.result(LIMIT)
        with condition:
            condition.notify_all()
    lock.release()
    assert lock.acquire(timeout=LIMIT)


def test_containers_in_containers_closures_and_maps(pool):
    inner, outer = SafeCounter(), SafeDict()
    outer["counter"] = inner

    def work(number):
        outer["counter"].increment(number)
        inner.increment()

    list(pool.map(work, range(100)))
    assert inner.get() == sum(range(100)) + 100
    assert pool.submit(lambda: outer).result(LIMIT)["counter"].get() == inner.get()


def test_a_container_that_only_bytes_in_flight_refer_to_lives_on(pool):
    gate: SafeQueue[int] = SafeQueue()
    blockers = [pool.submit(gate.pop) for _ in range(2)]
    futures = []
    for number in range(50):
        queue: SafeQueue[int] = SafeQueue()
        queue.push(number)
        futures.append(pool.submit(queue.pop))
        del queue
    gate.push(1)
    gate.push(1)
    assert [future.result(LIMIT) for future in [*blockers, *futures]] == [1, 1, *range(50)]


def test_made_in_a_worker_and_returned(pool):
    def make(kind):
        from pyferris.safe_thread import create_safe_shared_data

        made = create_safe_shared_data(kind, {"a": 1} if kind == "dict" else [1, 2] if kind == "array" else None)
        if kind == "queue":
            made.push("x")
        return made

    assert pool.submit(make, "dict").result(LIMIT)["a"] == 1
    assert pool.submit(make, "array").result(LIMIT).to_list() == [1, 2]
    assert pool.submit(make, "queue").result(LIMIT).pop(block=False) == "x"
    assert pool.submit(make, "counter").result(LIMIT).increment() == 1


def test_every_kind_by_its_name(pool):
    for kind in ("dict", "queue", "counter", "array"):
        made = create_safe_shared_data(kind)
        assert pool.submit(lambda each: type(each).__name__, made).result(LIMIT) == type(made).__name__


def test_an_element_that_cannot_travel_is_named():
    table: SafeDict[str, object] = SafeDict()
    table["lock"] = threading.Lock()
    with SafeThreadPool(1, isolation="interpreter") as pool:
        with pytest.raises(TypeError, match="lock"):
            pool.submit(len, table)
        del table["lock"]
        assert pool.submit(len, table).result(LIMIT) == 0
