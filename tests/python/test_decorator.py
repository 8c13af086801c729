"""safe_thread_decorator: functions and methods whose calls are futures."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pyferris.safe_thread import PoolClosed, SafeFuture, SafeThreadPool, safe_thread_decorator

LIMIT = 30  # seconds; only a failure takes that long


@pytest.fixture
def pool() -> Iterator[SafeThreadPool]:
    with SafeThreadPool(1, "given") as pool:
        yield pool


def scale(number: int, *, by: int = 2) -> int:
    """Scale a number."""
    return number * by


def thread_name() -> str:
    return threading.current_thread().name


@pytest.mark.parametrize(
    "decorate",
    [safe_thread_decorator, safe_thread_decorator(), safe_thread_decorator(3), safe_thread_decorator(max_workers=1)],
)
def test_calls_are_futures(decorate: Any) -> None:
    threaded = decorate(scale)
    try:
        future = threaded(4, by=5)
        assert isinstance(future, SafeFuture)
        assert future.result(LIMIT) == 20
    finally:
        threaded.shutdown()


def test_number_of_workers() -> None:
    for decorate, workers in ((safe_thread_decorator, 4), (safe_thread_decorator(), 4), (safe_thread_decorator(2), 2)):
        threaded: Any = decorate(scale)  # type: ignore[operator]
        assert threaded.pool._max_workers == workers
        assert threaded.pool is threaded.pool
        threaded.shutdown()


def test_wraps(pool: SafeThreadPool) -> None:
    threaded = safe_thread_decorator(pool=pool)(scale)
    assert (threaded.__name__, threaded.__doc__) == ("scale", "Scale a number.")  # type: ignore[attr-defined]
    assert threaded.__wrapped__ is scale  # type: ignore[attr-defined]


def test_a_given_pool_is_used(pool: SafeThreadPool) -> None:
    threaded = safe_thread_decorator(pool=pool)(thread_name)
    assert threaded.pool is pool
    assert threaded().result(LIMIT) == "given_0"


def test_methods(pool: SafeThreadPool) -> None:
    class Account:
        def __init__(self, total: int) -> None:
            self.total = total

        @safe_thread_decorator(pool=pool)
        def add(self, number: int) -> int:
            """Add."""
            self.total += number
            return self.total

        @staticmethod
        @safe_thread_decorator(pool=pool)
        def plain(number: int) -> int:
            return -number

        @classmethod
        @safe_thread_decorator(pool=pool)
        def name(cls) -> str:
            return cls.__name__

    account = Account(1)
    assert account.add(2).result(LIMIT) == 3
    assert Account.add(account, 4).result(LIMIT) == 7
    assert Account.add.__doc__ == "Add."
    assert Account.plain(3).result(LIMIT) == -3
    bound: Any = Account.name
    assert bound().result(LIMIT) == "Account"


def test_two_methods_share_nothing_but_their_functions_pool() -> None:
    class Both:
        @safe_thread_decorator(1)
        def call(self) -> str:
            return thread_name()

    try:
        assert Both().call().result(LIMIT) == Both().call().result(LIMIT)
    finally:
        Both.call.shutdown()


def test_await_coroutine_functions_and_errors(pool: SafeThreadPool) -> None:
    @safe_thread_decorator(pool=pool)
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    @safe_thread_decorator(pool=pool)
    def fail() -> None:
        raise KeyError("x")

    async def main() -> None:
        assert await double(4) == 8  # type: ignore[comparison-overlap]
        with pytest.raises(KeyError):
            await fail()

    asyncio.run(main())


def test_shutdown() -> None:
    threaded = safe_thread_decorator(1)(thread_name)
    name = threaded().result(LIMIT)
    assert threaded.shutdown() is True
    assert name not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(PoolClosed):
        threaded()


def test_a_lent_pool_is_left_alone(pool: SafeThreadPool) -> None:
    threaded = safe_thread_decorator(pool=pool)(scale)
    assert threaded.shutdown() is True
    assert threaded.shutdown(wait=False, cancel_futures=True) is True
    assert threaded(4).result(LIMIT) == 8


@safe_thread_decorator(1)
def pickled(number: int) -> int:
    return number


class Owner:
    @safe_thread_decorator
    def method(self) -> int:
        return 1


def test_a_decorated_function_is_pickled_by_name() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(pickled, protocol)) is pickled
    assert pickle.loads(pickle.dumps(Owner.method)) is Owner.method
    assert copy.deepcopy(pickled) is pickled
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(safe_thread_decorator(scale))


def test_inline() -> None:
    threaded = safe_thread_decorator(isolation="inline")(thread_name)
    future = threaded()
    assert future.done()
    assert future.result() == threading.current_thread().name
    threaded.shutdown()


def test_first_calls_from_many_threads_make_one_pool() -> None:
    for _ in range(50):
        threaded = safe_thread_decorator(1)(thread_name)
        barrier = threading.Barrier(4)
        pools: list[SafeThreadPool] = []

        def call(barrier: threading.Barrier = barrier, threaded: Any = threaded, pools: Any = pools) -> None:
            barrier.wait()
            pools.append(threaded.pool)

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(pool) for pool in pools}) == 1
        threaded.shutdown()


@pytest.mark.parametrize(("workers", "error"), [(0, ValueError), (-2, ValueError), ("4", TypeError), (True, TypeError)])
def test_wrong_workers(workers: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_workers"):
        safe_thread_decorator(workers)


def test_other_wrong_arguments(pool: SafeThreadPool) -> None:
    with pytest.raises(TypeError, match=r"pool must be a SafeThreadPool or None, not int: 5"):
        safe_thread_decorator(pool=5)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"takes a function, not str: 'f'"):
        safe_thread_decorator(2)("f")  # type: ignore[call-overload]
    for workers in (2, 4):
        with pytest.raises(TypeError, match=rf"max_workers={workers}"):
            safe_thread_decorator(workers, pool=pool)


def test_wrong_isolation() -> None:
    with pytest.raises(ValueError, match="isolation"):
        safe_thread_decorator(isolation="processes")(scale)(1)  # type: ignore[arg-type]


def test_isolation_is_not_for_a_pool_that_is_lent() -> None:
    with SafeThreadPool(1) as pool, pytest.raises(TypeError, match="isolation is for a pool of the function's own"):
        safe_thread_decorator(pool=pool, isolation="process")
    with pytest.raises(ValueError, match="nonsense"):
        safe_thread_decorator(isolation="nonsense")  # type: ignore[call-overload]
