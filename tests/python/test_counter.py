"""SafeCounter: an atomic whole number that never wraps and does not change under operators."""

from __future__ import annotations

import copy
import gc
import operator
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pyferris.safe_thread import SafeCounter

MAX = 2**63 - 1
MIN = -(2**63)
THREADS = 4


def on_threads(work: Callable[[int], Any]) -> list[Any]:
    """Run `work(number)` on several threads that begin together; their results, or the first error."""
    barrier = threading.Barrier(THREADS)

    def begin(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


def test_starts_at_zero_or_the_initial_value() -> None:
    assert SafeCounter().get() == 0
    assert SafeCounter(-5).get() == -5
    assert SafeCounter(initial=MAX).get() == MAX
    assert SafeCounter(SafeCounter(7)).get() == 7


def test_steps_return_the_new_value() -> None:
    counter = SafeCounter(10)
    assert counter.increment() == 11
    assert counter.increment(5) == 16
    assert counter.increment(n=-1) == 15
    assert counter.decrement() == 14
    assert counter.decrement(4) == 10
    assert counter.decrement(n=-2) == 12
    assert counter.add(-20) == -8
    assert counter.add(n=8) == 0
    assert counter.get() == 0


def test_set_stores_and_returns_nothing() -> None:
    counter = SafeCounter(1)
    assert counter.set(MIN) is None
    assert counter.get() == MIN


def test_compare_exchange_stores_only_over_the_expected_value() -> None:
    counter = SafeCounter(1)
    assert counter.compare_exchange(2, 5) is False
    assert counter.get() == 1
    assert counter.compare_exchange(expected=1, new=5) is True
    assert counter.get() == 5
    assert counter.compare_exchange(2**70, 0) is False, "no counter has a value beyond 64 bits"


@pytest.mark.parametrize(
    ("start", "step"),
    [
        (MAX, lambda c: c.increment()),
        (MAX, lambda c: c.add(1)),
        (MIN, lambda c: c.decrement()),
        (MIN, lambda c: c.increment(-1)),
        (MAX, lambda c: c.decrement(-1)),
        (0, lambda c: c.decrement(MIN)),
        (5, lambda c: c.increment(MAX)),
    ],
)
def test_overflow_raises_and_changes_nothing(start: int, step: Callable[[SafeCounter], int]) -> None:
    counter = SafeCounter(start)
    with pytest.raises(OverflowError, match=rf"{start} [+-] .*9223372036854775807.*set\(\)"):
        step(counter)
    assert counter.get() == start


def test_the_limits_themselves_are_reached() -> None:
    assert SafeCounter(MAX - 1).increment() == MAX
    assert SafeCounter(MIN + 1).decrement() == MIN
    assert SafeCounter(-1).decrement(MIN) == MAX


@pytest.mark.parametrize("value", [2**63, MIN - 1, 10**5000], ids=["above", "below", "far above"])
def test_numbers_beyond_64_bits_are_refused(value: int) -> None:
    counter = SafeCounter(3)
    calls: list[Callable[[], Any]] = [
        lambda: SafeCounter(value),
        lambda: counter.increment(value),
        lambda: counter.decrement(value),
        lambda: counter.add(value),
        lambda: counter.set(value),
        lambda: counter.compare_exchange(3, value),
    ]
    for call in calls:
        with pytest.raises(OverflowError, match=r"9223372036854775807.*SafeDict\.increment"):
            call()
    assert counter.get() == 3


@pytest.mark.parametrize("value", [1.0, "1", None, [1]])
def test_what_is_no_int_is_refused_by_name(value: Any) -> None:
    counter = SafeCounter(3)
    calls: list[Callable[[], Any]] = [
        lambda: SafeCounter(value),
        lambda: counter.increment(value),
        lambda: counter.decrement(value),
        lambda: counter.add(value),
        lambda: counter.set(value),
        lambda: counter.compare_exchange(3, value),
        lambda: counter.compare_exchange(value, 4),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=f"an int, not {type(value).__name__}: ") as caught:
            call()
        assert repr(value) in str(caught.value)
    assert counter.get() == 3


def test_wrong_arguments_are_type_errors() -> None:
    counter: Any = SafeCounter()
    with pytest.raises(TypeError, match=r"increment\(\) takes at most 1 argument \(2 given\)"):
        counter.increment(1, 2)
    with pytest.raises(TypeError, match="unexpected keyword argument 'm'"):
        counter.increment(m=1)
    with pytest.raises(TypeError, match="multiple values for argument 'n'"):
        counter.increment(1, n=1)
    with pytest.raises(TypeError, match="missing its argument 'new'"):
        counter.compare_exchange(1)
    with pytest.raises(TypeError, match="missing its argument 'n'"):
        counter.add()
    with pytest.raises(TypeError):
        counter.get(1)
    assert counter.get() == 0


def test_index_may_call_back_and_its_errors_pass() -> None:
    counter = SafeCounter()

    class Amount:
        def __init__(self, error: Exception | None = None) -> None:
            self.error = error

        def __index__(self) -> int:
            if self.error is not None:
                raise self.error
            return counter.increment(10)

    assert counter.increment(Amount()) == 20
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        counter.set(Amount(error))
    assert caught.value is error
    assert counter.get() == 20


BINARY = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
    operator.lshift,
    operator.rshift,
    operator.and_,
    operator.or_,
    operator.xor,
    divmod,
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
]


@pytest.mark.parametrize("operation", BINARY, ids=lambda operation: operation.__name__)
def test_operators_use_the_value(operation: Callable[[Any, Any], Any]) -> None:
    counter = SafeCounter(7)
    for left, right, a, b in [(counter, 3, 7, 3), (3, counter, 3, 7), (counter, counter, 7, 7)]:
        result = operation(left, right)
        assert result == operation(a, b)
        assert type(result) is type(operation(a, b))
    assert counter.get() == 7


@pytest.mark.parametrize(
    "operation", [operator.neg, operator.pos, operator.abs, operator.invert, int, float, bool, operator.index, str]
)
def test_unary_operators_use_the_value(operation: Callable[[Any], Any]) -> None:
    for value in (-3, 0, 12):
        result = operation(SafeCounter(value))
        assert result == operation(value)
        assert type(result) is type(operation(value))


def test_works_with_floats_and_as_an_index() -> None:
    counter = SafeCounter(2)
    assert counter + 0.5 == 2.5
    assert 0.5 + counter == 2.5
    assert pow(counter, 5, 7) == 4
    assert "abc"[counter] == "c"
    assert list(range(counter)) == [0, 1]
    assert counter == 2.0
    assert counter != "2"
    total = 1
    total += counter
    assert total == 3
    assert type(total) is int


def test_operators_refuse_what_ints_refuse() -> None:
    counter: Any = SafeCounter(2)
    with pytest.raises(TypeError, match="unsupported operand"):
        counter + "a"
    with pytest.raises(TypeError, match="not supported between"):
        counter < "a"  # noqa: B015
    with pytest.raises(ZeroDivisionError):
        counter / 0


@pytest.mark.parametrize(
    "operation",
    [
        operator.iadd,
        operator.isub,
        operator.imul,
        operator.itruediv,
        operator.ifloordiv,
        operator.imod,
        operator.ipow,
        operator.ilshift,
        operator.irshift,
        operator.iand,
        operator.ior,
        operator.ixor,
    ],
    ids=lambda operation: operation.__name__,
)
def test_in_place_operators_are_refused(operation: Callable[[Any, Any], Any]) -> None:
    counter = SafeCounter(7)
    with pytest.raises(TypeError, match=r"use increment\(n\)"):
        operation(counter, 1)
    assert counter.get() == 7


def test_shows_as_itself_and_formats_as_its_value() -> None:
    counter = SafeCounter(1234567)
    assert repr(counter) == "SafeCounter(1234567)"
    assert f"{counter}" == "1234567"
    assert f"{counter:>12,}" == "   1,234,567"


def test_has_no_hash_as_it_compares_by_a_changing_value() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(SafeCounter())


def test_can_be_subclassed() -> None:
    class Named(SafeCounter):
        def __init__(self, name: str) -> None:
            super().__init__(5)
            self.name = name

    named = Named("hits")
    assert named.increment() == 6
    assert named + SafeCounter(1) == 7
    assert SafeCounter(1) - named == -5
    assert repr(named) == "Named(6)"
    assert named.name == "hits"


def test_takes_weak_references_and_no_part_in_garbage_collection() -> None:
    counter = SafeCounter()
    seen: list[str] = []
    reference = weakref.ref(counter, lambda _: seen.append("gone"))
    assert reference() is counter
    assert not gc.is_tracked(counter)
    del counter
    assert reference() is None
    assert seen == ["gone"]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_is_not_copied_by_accident(duplicate: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"cannot copy a SafeCounter.*get\(\)"):
        duplicate(SafeCounter())


def test_threads_lose_no_step_and_each_gets_its_own_value() -> None:
    steps = 20_000
    counter = SafeCounter()

    def work(number: int) -> list[int]:
        return [counter.increment() for _ in range(steps)]

    seen = on_threads(work)
    assert counter.get() == THREADS * steps
    assert sorted(value for values in seen for value in values) == list(range(1, THREADS * steps + 1))


def test_threads_that_go_both_ways_end_where_they_began() -> None:
    counter = SafeCounter(100)

    def work(number: int) -> None:
        for amount in range(10_000):
            (counter.increment if number % 2 else counter.decrement)(amount)

    on_threads(work)
    assert counter.get() == 100


def test_threads_retrying_compare_exchange_are_exact(quick_switches: None) -> None:
    counter = SafeCounter()

    def work(number: int) -> None:
        for _ in range(2_000):
            seen = counter.get()
            while not counter.compare_exchange(seen, seen + 1):
                seen = counter.get()

    on_threads(work)
    assert counter.get() == THREADS * 2_000


def test_threads_at_the_limit_are_refused_exactly() -> None:
    room = 1_000
    counter = SafeCounter(MAX - room)

    def work(number: int) -> int:
        refused = 0
        for _ in range(room):
            try:
                counter.increment()
            except OverflowError:
                refused += 1
        return refused

    assert sum(on_threads(work)) == (THREADS - 1) * room
    assert counter.get() == MAX
