"""What type checkers make of pools, futures, maps and the decorator."""

from typing import assert_type

from pyferris.safe_thread import (
    ExplainedList,
    MapResult,
    SafeCounter,
    SafeDict,
    SafeFuture,
    SafeThreadPool,
    create_safe_shared_data,
    safe_parallel_map,
    safe_parallel_map_async,
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
    pool.submit(half, "one")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


async def length(text: str, *, extra: int = 0) -> int:
    return len(text) + extra


@safe_thread_decorator
async def plain_coroutine(x: int) -> str:
    return str(x)


@safe_thread_decorator(2)
async def configured_coroutine(x: int) -> str:
    return str(x)


class Service:
    @safe_thread_decorator
    def method(self, x: int, *, up: bool = False) -> str:
        return str(x + up)

    @safe_thread_decorator(max_workers=1)
    async def coroutine(self, x: int) -> bytes:
        return bytes(x)


async def use_coroutine_functions(pool: SafeThreadPool) -> None:
    future = pool.submit(length, "a", extra=1)
    assert_type(future, SafeFuture[int])
    assert_type(await future, int)
    assert_type(pool.map(length, ["a"]), MapResult[int])
    assert_type(safe_parallel_map(length, ["a"]), list[int])
    assert_type(await safe_parallel_map_async(length, ["a"]), list[int])
    assert_type(await plain_coroutine(1), str)
    assert_type(configured_coroutine(1).result(), str)
    pool.submit(length, 1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


async def use_methods(service: Service) -> None:
    assert_type(service.method(1, up=True), SafeFuture[str])
    assert_type(await service.coroutine(1), bytes)
    assert_type(Service.method(service, 1), SafeFuture[str])
    service.method("one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Service.method.shutdown()


async def use_maps(pool: SafeThreadPool) -> None:
    mapped = pool.map(half, [1, 2])
    assert_type(mapped[0], float)
    assert_type(mapped[:1], list[float])
    assert_type(list(pool.map(half, [1], return_exceptions=True)), list[float | Exception])
    assert_type(pool.map(length, ["a"], return_exceptions=True), MapResult[int | Exception])
    assert_type(safe_parallel_map(half, [1], return_exceptions=True), list[float | Exception])
    assert_type(safe_parallel_map(half, [1], explain=True), ExplainedList[float])
    assert_type(await safe_parallel_map_async(half, [1], explain=True), ExplainedList[float])
    assert_type(safe_parallel_map(half, [1], isolation="auto"), list[float])
    SafeThreadPool(isolation="auto")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    safe_parallel_map(half, [1], isolation="other")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
