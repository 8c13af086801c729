"""What a pool says to those who use it in a way that it is not meant for."""

from __future__ import annotations

import asyncio
import copy
import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest

from pyferris import _native
from pyferris.safe_thread import MapResult, SafeThread, SafeThreadPool, safe_parallel_map, safe_parallel_map_async


class Unmade(SafeThreadPool):
    def __init__(self) -> None:
        self.mine = 1


def enter(pool: SafeThreadPool) -> None:
    with pool:
        pass


async def enter_async(pool: SafeThreadPool) -> None:
    async with pool:
        pass


async def nothing() -> None:
    pass


@pytest.mark.parametrize(
    "use",
    [
        lambda pool: pool.submit(int),
        lambda pool: pool.submit(nothing),
        lambda pool: pool.map(int, [1]),
        lambda pool: pool.map(nothing, []),
        lambda pool: pool.shutdown(),
        lambda pool: pool.shutdown(wait=False, cancel_futures=True),
        lambda pool: pool.active_tasks,
        lambda pool: pool._work_queue.qsize(),
        lambda pool: pool._threads,
        lambda pool: pool._cancel_queued(),
        lambda pool: pool._stop_running(),
        lambda pool: pool._join(0),
        enter,
        lambda pool: asyncio.run(enter_async(pool)),
    ],
)
def test_a_pool_whose_init_was_not_called_says_so(use: Callable[[SafeThreadPool], Any]) -> None:
    with pytest.raises(RuntimeError, match=r"not made completely: call super\(\).__init__\(\) first"):
        use(Unmade())


def test_a_pool_whose_init_was_not_called_has_a_repr() -> None:
    assert repr(Unmade()) == "<Unmade not made completely>"


def test_a_map_that_no_pool_has_made_says_so() -> None:
    empty: Any = MapResult()
    for use in (lambda: next(empty), lambda: empty._results(), lambda: empty._promise(True)):
        with pytest.raises(RuntimeError, match="not made by a pool"):
            use()
    empty.close()
    with pytest.raises(TypeError, match="runs in a SafeThreadPool, not in 5"):
        empty._start(5, int, [1], True, 0, 0, None, False, False, None, False)
    assert not _native.is_worker()


@pytest.mark.parametrize("value", [3, None, "abs"])
def test_what_cannot_be_called_is_named_at_once(value: Any) -> None:
    with SafeThreadPool(1) as pool, pytest.raises(TypeError, match=r"^submit\(\) needs a callable") as caught:
        pool.submit(value)
    assert repr(value) in str(caught.value)


def test_a_coroutine_instead_of_its_function_is_told_what_to_give() -> None:
    coroutine: Any = nothing()
    with SafeThreadPool(1) as pool, pytest.raises(TypeError, match=r"submit\(fn, \*args\)"):
        pool.submit(coroutine)
    coroutine.close()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"thread_name_prefix": 5}, TypeError, "thread_name_prefix must be a str, not int: 5"),
        ({"initargs": 5}, TypeError, "initargs must be a tuple of the initializer's arguments, not int: 5"),
        ({"max_workers": 2**70}, OverflowError, f"max_workers must be {sys.maxsize} at most, not {2**70}"),
    ],
)
def test_a_wrong_argument_is_named_with_its_value(options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        SafeThreadPool(**options)
    assert str(caught.value) == text


def test_initargs_may_be_any_iterable() -> None:
    seen: list[int] = []
    with SafeThreadPool(1, initializer=lambda *numbers: seen.extend(numbers), initargs=iter([1, 2])) as pool:  # type: ignore[arg-type]
        pool.submit(int).result()
    assert seen == [1, 2]


def test_a_wrong_argument_of_a_map_is_named_with_the_functions_name() -> None:
    wrong: Any = 5
    with SafeThreadPool(1) as pool:
        for call, text in (
            (lambda: pool.map(abs, wrong), "map() needs an iterable as its argument 2, not int: 5"),
            (lambda: pool.map(pow, [1], wrong), "map() needs an iterable as its argument 3, not int: 5"),
            (lambda: pool.map(wrong, [1]), "map() needs a callable as its first argument, not int: 5"),
            (lambda: pool.map(abs), "map() needs at least one iterable after the function"),
            (
                lambda: safe_parallel_map(abs, wrong),
                "safe_parallel_map() needs an iterable as its argument 2, not int: 5",
            ),
            (
                lambda: safe_parallel_map(wrong, [1]),
                "safe_parallel_map() needs a callable as its first argument, not int: 5",
            ),
            (
                lambda: asyncio.run(safe_parallel_map_async(wrong, [1])),
                "safe_parallel_map_async() needs a callable as its first argument, not int: 5",
            ),
        ):
            with pytest.raises(TypeError) as caught:
                call()
            assert str(caught.value) == text


def test_a_wrong_index_of_a_map_is_named() -> None:
    index: Any = "a"
    with SafeThreadPool(1) as pool:
        mapped = pool.map(abs, range(3))
        for number in (100, -4):
            with pytest.raises(IndexError, match=f"map index {number} out of range for 3 items"):
                mapped[number]
        with pytest.raises(TypeError, match=r"must be an int or a slice, not str: 'a'"):
            mapped[index]
        assert (mapped[-1], mapped[True], mapped[::-1]) == (2, 1, [2, 1, 0])


def test_what_lives_in_one_process_is_not_pickled() -> None:
    with SafeThreadPool(1) as pool:
        for value, remedy in (
            (pool, "make a SafeThreadPool there"),
            (pool.map(abs, [1]), "pass a list of it"),
            (SafeThread(target=int), "pass its get_result"),
        ):
            for use in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(TypeError, match=f"cannot pickle or copy .* one process; .*{remedy}"):
                    use(value)
