"""What a pool says to those who use it in a way that it is not meant for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pyferris import _native
from pyferris.safe_thread import MapResult, SafeThreadPool


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
