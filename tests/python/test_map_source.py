"""Maps that read their items as they run, as a loop would, for as long as one worker does."""

from __future__ import annotations

import functools
import gc
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from interleaving import beside

from pyferris.map_result import MapResult
from pyferris.safe_thread import SafeThreadPool, safe_parallel_map


def read(pool: SafeThreadPool, function: Callable[[Any], Any], items: Any, first: int = 0) -> MapResult[Any]:
    return pool._start_map("map", function, (items,), None, 1, None, False, False, lanes=1, since=first)


def begun(pool: SafeThreadPool, items: Any, first: int = 0) -> tuple[MapResult[Any], threading.Event]:
    """A map whose items go on once the event is set; the first one runs."""
    runs, goes_on = threading.Event(), threading.Event()

    def waits(item: Any) -> Any:
        runs.set()
        assert goes_on.wait(30)
        return item

    mapped = read(pool, waits, items, first)
    assert runs.wait(30)
    return mapped, goes_on


@pytest.mark.parametrize("make", [list, tuple])
@pytest.mark.parametrize("first", [0, 3, 20, 25])
def test_items_from_a_number_on(pool: SafeThreadPool, make: Any, first: int) -> None:
    items = make(range(20))
    mapped = read(pool, str, items, first)
    assert mapped._added == max(0, 20 - first)
    assert mapped._results(True) == [str(item) for item in items[first:]]


def test_an_error_says_which_item_of_the_map_it_was(pool: SafeThreadPool) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        read(pool, lambda item: 1 // item, [5, 4, 3, 2, 1, 0, 1], 2)._results(True)
    assert caught.value.__notes__ == ["raised for item 3 of the map"]


def test_one_worker_reads_the_list_as_it_is(pool: SafeThreadPool) -> None:
    items: list[Any] = list(range(9))
    mapped, goes_on = begun(pool, items, 1)
    items[5] = "another"
    items += [10, 11]  # which are none of the map
    goes_on.set()
    assert mapped._results(True) == [1, 2, 3, 4, "another", 6, 7, 8]


@pytest.mark.parametrize("left", [0, 1, 2, 3, 7])
def test_a_list_that_becomes_shorter_ends_the_map(pool: SafeThreadPool, left: int) -> None:
    items = list(range(8))
    mapped, goes_on = begun(pool, items, 1)
    del items[left:]
    goes_on.set()
    assert mapped._results(True) == [1, *items[2:]]
    assert mapped._added == mapped._finished == max(1, left - 1)
    assert pool._active == 0


@pytest.mark.parametrize("left", [0, 1, 2, 3, 7])
def test_items_that_are_owned_stay_as_they_are(pool: SafeThreadPool, left: int) -> None:
    items = list(range(8))
    mapped, goes_on = begun(pool, items, 1)
    del items[left:]
    then = items[1:]
    assert mapped._own_items() == then
    assert mapped._own_items() is mapped._own_items()
    items[:] = "xyzxyzxyzxyz"
    goes_on.set()
    assert mapped._results(True) == [1, *then[1:]]
    assert pool._active == 0


@pytest.mark.parametrize("how", ["widen", "run_by"])
@pytest.mark.parametrize("left", [200, 90, 0])
def test_several_workers_and_others_have_a_copy(how: str, left: int) -> None:
    with SafeThreadPool(3) as pool:
        items: list[Any] = list(range(200))
        mapped, goes_on = begun(pool, items)
        del items[left:]
        if how == "widen":
            mapped._widen(3)
        else:
            mapped._run_by(lambda run: (list(run), None, 1))
        items.clear()
        goes_on.set()
        assert mapped._results(True) == list(range(max(1, left)))


def test_a_tuple_is_its_own_copy(pool: SafeThreadPool) -> None:
    items = tuple(range(5))
    assert read(pool, abs, items)._own_items() is items
    assert read(pool, abs, items, 2)._own_items() == (2, 3, 4)


def test_items_that_were_taken_at_once_are_not_there(pool: SafeThreadPool) -> None:
    for items in ([1, 2], range(2)):
        mapped = pool.map(abs, items)
        assert mapped._own_items() is None
        assert mapped == list(items)


def test_a_map_that_is_dropped_lets_go_of_the_list(pool: SafeThreadPool) -> None:
    class Item:
        mapped: Any = None

    items = [Item() for _ in range(5)]
    before = sys.getrefcount(items)
    assert len(read(pool, id, items)._results(True)) == 5
    mapped = read(pool, id, items)
    with pytest.raises(TypeError):
        read(pool, len, items)._results(True)
    mapped._stop()
    del mapped
    gc.collect()
    assert sys.getrefcount(items) == before
    items[0].mapped = read(pool, id, items)  # a cycle through the list
    promise = items[0].mapped._promise(True)
    if promise is not None:
        promise.result()
    del promise
    trace = weakref.ref(items[0])
    del items
    gc.collect()
    assert trace() is None


class Plain:
    """Not known to be data."""

    def __init__(self, number: int) -> None:
        self.number = number


def number_of(item: Plain) -> int:
    return item.number


@pytest.mark.parametrize("before", [0, 300])
def test_what_the_caller_leaves_is_read_from_its_list(before: int) -> None:
    items: list[Any] = [Plain(number) for number in range(before, 5000)]
    items[:0] = map(Plain, range(before))
    counts = [sys.getrefcount(item) for item in items[::1000]]
    assert safe_parallel_map(number_of, items) == list(range(5000))
    after = [sys.getrefcount(item) for item in items[::1000]]
    assert after == counts
    mixed: list[Any] = [*range(300), *items]
    found = safe_parallel_map(lambda item: item if type(item) is int else item.number, mixed, explain=True)
    assert found == [*range(300), *range(5000)]
    assert found.report.mode == "threads"


def test_a_list_that_another_thread_cuts_ends_the_map_there() -> None:
    for _ in range(20):
        items = [Plain(number) for number in range(20_000)]
        cut = functools.partial(items.__delitem__, slice(30, None))
        results = beside(cut, functools.partial(safe_parallel_map, number_of, items))
        assert results == list(range(len(results)))
        assert 30 <= len(results) <= 20_000
