"""SafeArray under threads, under code that calls back into it, and under the garbage collector."""

from __future__ import annotations

import faulthandler
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import pytest

from pyferris.safe_thread import SafeArray

THREADS = 4


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    """End the process if a test blocks inside native code, where it keeps the GIL and no Python timer can run."""
    faulthandler.dump_traceback_later(60, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


def on_threads(work: Callable[[int], Any]) -> list[Any]:
    """Run `work(number)` on several threads that begin together; their results, or the first error."""
    barrier = threading.Barrier(THREADS)

    def begin(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


# --- Code that calls back ---


def test_add_and_compare_exchange_start_again_when_the_element_was_changed_meanwhile() -> None:
    shared: SafeArray[Any] = SafeArray([None])

    class Number:
        def __add__(self, other: int) -> int:
            shared[0] = 100
            return 1

        def __eq__(self, other: object) -> bool:
            shared[0] = "other"
            return True

    shared[0] = Number()
    assert shared.add(0, 1) == 101
    shared[0] = Number()
    assert shared.compare_exchange(0, "expected", "new") is False
    assert shared[0] == "other"


@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_a_number_changed_while_it_is_compared_is_not_overwritten(dtype: Any) -> None:
    shared: SafeArray[Any] = SafeArray([1], dtype=dtype)
    seen: list[Any] = []

    class Changes:
        def __eq__(self, other: object) -> bool:
            seen.append(other)
            shared[0] = 5
            return other == 1

    assert shared.compare_exchange(0, Changes(), 2) is False
    assert shared[0] == 5
    assert seen == [1, 5], "compared once more"


def test_an_eq_that_raises_changes_nothing() -> None:
    class Raises:
        def __eq__(self, other: object) -> bool:
            raise ArithmeticError("mine")

    for initial in ([1, 2, 3], [1.0, 2.0, 3.0], ["a", "b", "c"]):
        shared: SafeArray[Any] = SafeArray(initial)
        with pytest.raises(ArithmeticError, match="mine"):
            shared.compare_exchange(0, Raises(), initial[1])
        assert shared.to_list() == initial


def test_a_finalizer_may_use_the_array_that_drops_its_object() -> None:
    shared: SafeArray[Any] = SafeArray([None, 0])

    class Dropped:
        def __del__(self) -> None:
            shared.add(1, 1)

    shared[0] = Dropped()
    shared[0] = Dropped()
    shared.compare_exchange(0, shared[0], Dropped())
    shared[:1] = [None]
    assert shared[1] == 3


# --- Threads ---


@pytest.mark.usefixtures("quick_switches")
@pytest.mark.parametrize("zero", [0, 0.0, Fraction(0)], ids=["int64", "float64", "object"])
def test_threads_lose_no_addition(zero: Any) -> None:
    steps = 3_000
    shared: SafeArray[Any] = SafeArray([zero, zero])

    def work(number: int) -> None:
        for _ in range(steps):
            shared.add(0, 1)
            shared.add(-1, -2)

    on_threads(work)
    assert shared.to_list() == [THREADS * steps, -2 * THREADS * steps]


@pytest.mark.usefixtures("quick_switches")
@pytest.mark.parametrize("dtype", ["int64", "float64", "object"])
def test_threads_retrying_compare_exchange_are_exact(dtype: Any) -> None:
    shared: SafeArray[Any] = SafeArray([0], dtype=dtype)

    def work(number: int) -> None:
        for _ in range(2_000):
            seen = shared[0]
            while not shared.compare_exchange(0, seen, seen + 1):
                seen = shared[0]

    on_threads(work)
    assert shared[0] == THREADS * 2_000


# --- Garbage ---


def test_cycles_through_elements_are_collected() -> None:
    class Node:
        pass

    node = Node()
    shared: SafeArray[Any] = SafeArray([node, None])
    shared[1] = shared
    node.shared = shared  # type: ignore[attr-defined]
    references = [weakref.ref(node), weakref.ref(shared)]
    del node, shared
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_an_array_that_is_garbage_can_still_be_used_by_finalizers() -> None:
    seen: list[Any] = []

    class Node:
        shared: SafeArray[Any]

        def __del__(self) -> None:
            seen.append(self.shared.len())

    node = Node()
    node.shared = SafeArray([node, "x"])
    del node
    gc.collect()
    assert seen == [2]


def test_holds_and_drops_exactly_what_it_should() -> None:
    value, other = object(), object()
    before = [sys.getrefcount(value), sys.getrefcount(other)]
    shared: SafeArray[Any] = SafeArray([value, other])
    for _ in range(50):
        shared[0] = other
        shared.set(0, value)
        assert shared.get(0) is shared[0] is value
        assert shared.compare_exchange(0, value, other) is True
        assert shared.compare_exchange(0, value, other) is False
        shared[:] = [value, other]
        assert shared[:1] == [value]
        assert list(shared) == shared.to_list()
        with pytest.raises(TypeError):
            shared.add(0, 1)
    del shared
    assert [sys.getrefcount(value), sys.getrefcount(other)] == before


def test_a_very_deep_nest_is_dropped_without_a_crash() -> None:
    program = """
from pyferris.safe_thread import SafeArray
nest = SafeArray([None])
for _ in range(200_000):
    nest = SafeArray([nest])
del nest
print("done")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (run.stdout, run.returncode) == ("done\n", 0), run.stderr
