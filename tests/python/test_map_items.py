"""Items that a map has not as a list, and the list of its results."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import weakref
from typing import Any

import pytest

from pyferris.safe_thread import SafeThreadPool, safe_parallel_map


class Boom(Exception):
    pass


class Holder:
    itself: Any = None


@pytest.mark.parametrize(
    "numbers",
    [
        range(0),
        range(5, 5, -1),
        range(7),
        range(-3, 900, 7),
        range(10, -10, -3),
        range(2**62 - 2, 2**62 + 1),
        range(-(2**62) - 1, -(2**62) + 2),
        range(2**70, 2**70 + 4),
        range(-(2**80), 2**80, 2**79),
    ],
)
@pytest.mark.parametrize("chunksize", [1, 3])
def test_items_of_ranges(pool: SafeThreadPool, numbers: range, chunksize: int) -> None:
    expected = [number * 3 for number in numbers]
    assert list(pool.map(lambda x: x * 3, numbers, chunksize=chunksize)) == expected
    assert pool.map(lambda x: x * 3, numbers) == expected
    assert list(pool.map(lambda x, y: x + 2 * y, numbers, numbers)) == expected
    assert safe_parallel_map(lambda x: (threading.get_ident(), x * 3)[1], numbers) == expected


def fail_at_13(number: int) -> int:
    if number == 13:
        raise Boom(number)
    return number


def test_a_range_that_is_not_read_to_its_end(pool: SafeThreadPool) -> None:
    with contextlib.closing(pool.map(lambda x: x, range(100_000))) as numbers:
        assert next(numbers) == 0
    with pytest.raises(Boom) as caught:
        list(pool.map(fail_at_13, range(10, 100)))
    assert caught.value.__notes__ == ["raised for item 3 of the map"]


def test_a_list_of_results_is_a_list_like_any_other() -> None:
    objects = [object() for _ in range(3000)]
    before = sys.getrefcount(objects[7])
    for size in (0, 1, 5, 3000):
        found = safe_parallel_map(lambda x: (threading.get_ident(), x)[1], objects[:size], isolation="none")
        assert found == objects[:size]
        assert sys.getsizeof(found) == sys.getsizeof([None] * size)
        found += objects
        found.append(None)
        del found[1:-1]
        found.insert(0, 3)
        found.clear()
        assert gc.is_tracked(found)
    cycle = safe_parallel_map(lambda x: (threading.get_ident(), x)[1], [Holder()], isolation="none")
    cycle[0].itself = cycle
    trace = weakref.ref(cycle[0])
    del cycle
    gc.collect()
    assert trace() is None
    after = sys.getrefcount(objects[7])
    assert after == before
