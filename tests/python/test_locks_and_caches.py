"""Locks and caches in functions: they keep to data, if the function does nothing else with them."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pyferris import SafeLock, SafeRLock, _purity
from pyferris.safe_thread import safe_parallel_map


class Point:
    x = 0


point = Point()
LOCK, RLOCK, OTHERS = threading.Lock(), threading.RLock(), [threading.Lock()]
OURS, OUR_RLOCK = SafeLock(), SafeRLock()
CONDITION = threading.Condition()
total = 0


def counts(x: int) -> int:
    global total
    with LOCK:
        total += x
    return total


def nested(x: int) -> int:
    for _ in range(3):
        with RLOCK, OURS, OUR_RLOCK as entered:
            if x:
                break
            point.x += entered
    return x


def may_fail(x: int) -> int:
    with LOCK:
        raise ValueError(x)


def with_its_own_lock() -> tuple[Any, ...]:
    own, seen = threading.Lock(), [0]

    def adds(x: int) -> int:
        def add() -> int:
            with own:
                seen[0] += x
            return seen[0]

        return add()

    def gives(x: int) -> Any:
        with own:
            return [own for _ in range(x)]

    def passes(x: int) -> Any:
        return (lambda: own)()

    return adds, gives, passes


adds_under_its_lock, gives_its_lock, passes_its_lock = with_its_own_lock()


def acquires(x: int) -> int:
    LOCK.acquire()
    try:
        return x
    finally:
        LOCK.release()


def one_of_two(x: Any) -> int:
    with x if x else LOCK:
        return 1


def one_or_the_other(x: Any) -> int:
    with x or LOCK:
        return 1


def leaves_it(x: int) -> Iterator[int]:
    with LOCK:
        yield x


def another_name(x: int) -> int:
    lock = LOCK
    with lock:
        return x


def notified(x: int) -> int:
    with CONDITION:
        return x


def of_default(x: int, lock: Any = LOCK) -> int:
    with lock:
        return x


def of_others(x: int) -> int:
    with OTHERS[0]:
        return x


@functools.lru_cache
def squared(x: int) -> int:
    return x * x


@functools.lru_cache
def kept_ident(x: int) -> int:
    return threading.get_ident()


@functools.cache
def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


@functools.lru_cache
def seems_squared(x: int) -> int:
    return threading.get_ident()


seems_squared.__wrapped__ = squared.__wrapped__  # type: ignore[method-assign]


@functools.lru_cache(maxsize=2_000)
def full(x: int) -> int:
    return x


@functools.lru_cache
def function_of(x: int) -> Any:
    return lambda: x


function_of(1)
for number in range(1_500):
    full(number)


@functools.lru_cache
def with_attributes(x: int) -> int:
    return x


with_attributes.wait = time.sleep  # type: ignore[attr-defined]


class Waits:
    def __call__(self, x: object) -> Any:
        return (lambda: 0) if x is None else threading.Event().wait(30)

    def __hash__(self) -> int:
        return 1


of_an_object = functools.lru_cache(10)(Waits())
of_an_object(None)  # the only function that can be seen there


@functools.cache
def a_lock(x: int) -> Any:
    return LOCK if x == 1 else x


@functools.lru_cache
def of_objects(x: object) -> int:
    return 1


@functools.lru_cache
def a_class(x: object) -> type:
    return Point


a_lock(1)
of_objects(Waits())
a_class(1)


KEEPING = [
    counts,
    nested,
    may_fail,
    adds_under_its_lock,
    lambda x: counts(x),
    squared,
    fibonacci,
    lambda x: squared(x) + fibonacci(x),
]
DOING_MORE = [
    gives_its_lock,
    passes_its_lock,
    acquires,
    one_of_two,
    one_or_the_other,
    another_name,
    notified,
    of_default,
    of_others,
    lambda x: [LOCK],
    lambda x: LOCK.locked(),
    kept_ident,
    lambda x: kept_ident(x),
    seems_squared,
    full,  # of which there is too much to be sure what it calls
    function_of,
    with_attributes,
    of_an_object,
    a_lock,
    lambda x: a_lock(x),
    of_objects,
    a_class,
    lambda x: squared.cache_info(),
    lambda x: list(leaves_it(x)),
    functools.lru_cache(time.sleep),
]


@pytest.mark.parametrize("function", KEEPING)
def test_locks_and_caches_that_are_only_used(function: Any) -> None:
    verdict = _purity.judge(function)
    assert verdict.reason is not None
    assert verdict.keeps_to_data, verdict.reason


@pytest.mark.parametrize("function", DOING_MORE)
def test_locks_and_caches_of_which_more_is_made(function: Any) -> None:
    assert not _purity.judge(function).keeps_to_data


@pytest.mark.parametrize("maxsize", [None, 100])
def test_a_cache_is_filled_as_in_a_loop(maxsize: int | None) -> None:
    def remainder(n: int) -> int:
        return n % 7

    outcomes = []
    for run_map in (lambda *given: list(map(*given)), functools.partial(safe_parallel_map, explain=True)):
        cached = functools.lru_cache(maxsize)(remainder)
        results = run_map(cached, [n % 300 for n in range(3_000)])
        outcomes.append((results, cached.cache_info()))
    assert outcomes[0] == outcomes[1]
    report = outcomes[1][0].report  # type: ignore[attr-defined]
    assert report.mode == "inline", report


def test_cheap_items_with_a_lock_stay_with_the_caller() -> None:
    lock = threading.Lock()
    entered = [0]

    def enter(n: int) -> int:
        with lock:
            entered[0] += 1
            return n

    found = safe_parallel_map(enter, range(100_000), 4, explain=True)
    assert found == list(range(100_000))
    assert entered == [100_000]
    assert (found.report.mode, found.report.workers) == ("inline", 0)
    with pytest.raises(TimeoutError):
        safe_parallel_map(enter, range(2_000_000), 4, timeout=0.05)
