"""What type checkers make of pools, futures, maps and the decorator."""

from typing import assert_type

from pyferris.safe_thread import (
    SafeCounter,
    SafeDict,
    SafeFuture,
    SafeThreadPool,
    create_safe_shared_data,
    safe_parallel_map,
    safe_thread_decorator,
)


def half(x: int, *, up: bool = False) -> float:
    return x / 2 + up


@safe_thread_decorator
def plain(x: int) -> str:
    return str(x)


@safe_thread_decorator(2)
def configured(x: int) -> str:
    return str(x)


async def use(pool: SafeThreadPool) -> None:
    future = pool.submit(half, 1, up=True)
    assert_type(future, SafeFuture[float])
    assert_type(future.result(), float)
    assert_type(await future, float)
    assert_type(list(pool.map(half, [1, 2])), list[float])
    assert_type(await pool.map(half, [1, 2]), list[float])
    assert_type(safe_parallel_map(half, [1, 2]), list[float])
    assert_type(await plain(1), str)
    assert_type(configured(1).result(timeout=1.5), str)
    assert_type(create_safe_shared_data("counter"), SafeCounter)
    counts: SafeDict[str, int] = SafeDict()
    assert_type(counts.increment("a"), int)
    pool.submit(half, "one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
