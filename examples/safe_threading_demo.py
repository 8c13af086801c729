"""Every feature of pyferris on real data: the source files of this Python's own standard library.

Each part counts lines and tokens and checks what it found against a plain serial computation. The table at its end
says how long the same took in one thread, with the standard library, and here; its first row is CPU-bound Python in
parallel.
"""

from __future__ import annotations

import asyncio
import sys
import sysconfig
import time
import tokenize
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

from pyferris.safe_thread import (
    SafeCondition,
    SafeCounter,
    SafeLock,
    SafeThread,
    SafeThreadPool,
    check_cancelled,
    create_safe_shared_data,
    safe_parallel_map,
    safe_parallel_map_async,
    safe_thread_decorator,
)

Counts = tuple[int, int]
FILES = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:120]
WORKERS = 4
ISOLATED = "interpreters" if sys.version_info >= (3, 12) else "processes"


def count(path: Path) -> Counts:
    """Lines and tokens of one file."""
    with path.open("rb") as file:
        tokens = sum(1 for _ in tokenize.tokenize(file.readline))
    return len(path.read_bytes().splitlines()), tokens


def timed(
    name: str, work: Callable[[], list[Counts]], expected: list[Counts] | None = None
) -> tuple[list[Counts], float]:
    """Run one part; stop the demo if it found anything but what the serial computation did."""
    started = time.perf_counter()
    found = work()
    seconds = time.perf_counter() - started
    if expected is not None and found != expected:
        raise SystemExit(f"{name}: differs from the serial computation")
    lines, tokens = (sum(column) for column in zip(*found, strict=True))
    print(f"{name:44} {len(found)} files, {lines:,} lines, {tokens:,} tokens in {seconds:.2f} s")
    return found, seconds


def by_submit() -> list[Counts]:
    with SafeThreadPool(WORKERS) as pool:
        futures = [pool.submit(count, path) for path in FILES]
        return [future.result() for future in futures]


def by_map() -> list[Counts]:
    with SafeThreadPool(WORKERS) as pool:
        return list(pool.map(count, FILES))


def isolated() -> SafeThreadPool:
    """A pool whose workers, one a core, have an interpreter lock of their own. They are there when it is returned."""
    pool = SafeThreadPool(isolation="isolated")
    list(pool.map(count, FILES[:WORKERS], chunksize=1))
    return pool


def by_parallel_map() -> list[Counts]:
    return safe_parallel_map(count, FILES, WORKERS, progress=True)


def by_threads() -> list[Counts]:
    """Threads that share a queue of files, a dict of results, a counter and an array, and a lock and a condition."""
    work = create_safe_shared_data("queue", FILES)
    results = create_safe_shared_data("dict")
    finished = create_safe_shared_data("counter")
    totals = create_safe_shared_data("array", [0, 0])
    lock, all_done = SafeLock(), SafeCondition()
    biggest: list[tuple[int, str]] = []
    work.close()

    def worker() -> int:
        taken = 0
        for path in work:
            lines, tokens = results.get_or_insert(path, count(path))
            totals.add(0, lines)
            totals.add(1, tokens)
            with lock:
                biggest[:] = [max([*biggest, (tokens, path.name)])]
            taken += 1
            if finished.increment() == len(FILES):
                with all_done:
                    all_done.notify_all()
        return taken

    threads = [SafeThread(target=worker, name=f"counter-{i}") for i in range(WORKERS)]
    for thread in threads:
        thread.start()
    with all_done:
        if not all_done.wait_for(lambda: finished.get() == len(FILES), timeout=60):
            print("    a thread stopped early")  # get_result raises why
    if sum(thread.get_result() for thread in threads) != len(FILES):
        raise SystemExit("the threads did not take each file once")
    found = [results[path] for path in FILES]
    if totals.to_list() != [sum(column) for column in zip(*found, strict=True)]:
        raise SystemExit("the shared array differs from the shared dict")
    print(f"    the largest is {biggest[0][1]} with {biggest[0][0]:,} tokens")
    return found


@safe_thread_decorator(WORKERS)
def count_decorated(path: Path) -> Counts:
    return count(path)


def by_decorator() -> list[Counts]:
    futures = [count_decorated(path) for path in FILES]
    found = [future.result() for future in futures]
    count_decorated.shutdown()
    return found


async def with_heartbeat() -> list[Counts]:
    """The event loop goes on ticking while it awaits the pool."""
    gaps: list[float] = []

    async def beat() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.01)
            gaps.append(time.perf_counter() - before)

    async with SafeThreadPool(WORKERS) as pool:
        heart = asyncio.create_task(beat())
        found = await asyncio.gather(*[pool.submit(count, path) for path in FILES])
        heart.cancel()
    print(f"    {len(gaps)} heartbeats meanwhile, the slowest after {max(gaps) * 1e3:.0f} ms")
    return found


async def by_async_map() -> list[Counts]:
    """A map read with `async for`, another awaited as a whole."""
    half = len(FILES) // 2
    async with SafeThreadPool(WORKERS) as pool:
        found = [counts async for counts in pool.map(count, FILES[:half])]
    return found + await safe_parallel_map_async(count, FILES[half:], WORKERS)


async def by_coroutines() -> list[Counts]:
    """Coroutine functions run as tasks on the pool's own loop; all of them sleep at the same time."""
    async with SafeThreadPool(WORKERS) as pool:

        async def count_later(path: Path) -> Counts:
            await asyncio.sleep(0.1)
            return await pool.submit(count, path)

        return await asyncio.gather(*[pool.submit(count_later, path) for path in FILES])


def by_stopping() -> list[Counts]:
    """A call that would never end is asked to stop; what it had counted by then stays."""
    found: list[Counts] = []
    rounds = SafeCounter()

    def count_for_ever() -> NoReturn:
        while True:
            for path in FILES:
                check_cancelled()
                counts = count(path)
                if rounds.get() == 0:
                    found.append(counts)
            rounds.increment()

    with SafeThreadPool(1) as pool:
        endless = pool.submit(count_for_ever)
        queued = pool.submit(count, FILES[0])
        while rounds.get() == 0 and not endless.done():
            time.sleep(0.01)
        if not queued.cancel() or endless.cancel():
            raise SystemExit("a queued call is cancelled at once, a running one is asked")
    if not endless.cancelled() or not queued.cancelled():
        raise SystemExit("the calls did not end cancelled")
    return found


def many(submit: Callable[..., object], results: Callable[[list[object]], list[int]]) -> float:
    """Seconds for 20,000 small calls."""
    started = time.perf_counter()
    found = results([submit(abs, -i) for i in range(20_000)])
    seconds = time.perf_counter() - started
    if found != list(range(20_000)):
        raise SystemExit("the small calls gave wrong results")
    return seconds


def many_mapped(mapped: Callable[..., Any]) -> float:
    """Seconds for a map over 20,000 small items."""
    started = time.perf_counter()
    found = list(mapped(abs, range(20_000)))
    seconds = time.perf_counter() - started
    if found != list(range(20_000)):
        raise SystemExit("the map of small items gave wrong results")
    return seconds


async def one_by_one(start: Callable[..., Any]) -> float:
    """Seconds for 2,000 small calls, each awaited before the next one starts."""
    started = time.perf_counter()
    found = [await start(abs, -i) for i in range(2_000)]
    seconds = time.perf_counter() - started
    if found != list(range(2_000)):
        raise SystemExit("the awaited calls gave wrong results")
    return seconds


async def called(function: Callable[[int], int], value: int) -> int:
    return function(value)


async def in_executor() -> float:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(WORKERS) as executor:
        return await one_by_one(lambda *call: loop.run_in_executor(executor, *call))


async def in_pool() -> float:
    async with SafeThreadPool(WORKERS) as pool:
        return await one_by_one(pool.submit)


def main() -> None:
    serial, serial_seconds = timed("serial", lambda: [count(path) for path in FILES])
    with ThreadPoolExecutor(WORKERS) as executor:
        _, stdlib_seconds = timed("ThreadPoolExecutor.map", lambda: list(executor.map(count, FILES)), serial)
        map_stdlib = many_mapped(executor.map)
        small_stdlib = many(executor.submit, lambda futures: [future.result() for future in futures])  # type: ignore[attr-defined]
    timed("SafeThreadPool.submit", by_submit, serial)
    _, map_seconds = timed("SafeThreadPool.map", by_map, serial)
    timed("safe_parallel_map", by_parallel_map, serial)
    timed("SafeThread, shared data, lock, condition", by_threads, serial)
    timed("safe_thread_decorator", by_decorator, serial)
    timed("asyncio with a heartbeat", lambda: asyncio.run(with_heartbeat()), serial)
    timed("async for, safe_parallel_map_async", lambda: asyncio.run(by_async_map()), serial)
    timed("coroutine functions", lambda: asyncio.run(by_coroutines()), serial)
    timed("an endless call that is stopped", by_stopping, serial)
    with isolated() as apart:
        _, apart_seconds = timed(f"SafeThreadPool.map, {ISOLATED}", lambda: list(apart.map(count, FILES)), serial)
    with SafeThreadPool(WORKERS) as pool:
        map_small = many_mapped(pool.map)
        small = many(pool.submit, lambda futures: [future.result() for future in futures])  # type: ignore[attr-defined]
    small_serial = many(lambda function, value: function(value), lambda values: values)  # type: ignore[arg-type, return-value]

    awaited_serial = asyncio.run(one_by_one(called))
    awaited_stdlib = asyncio.run(in_executor())
    awaited = asyncio.run(in_pool())

    columns = ("serial", "stdlib", "pyferris", "serial/pyferris", "stdlib/pyferris")
    print(f"\n{'work':32}" + "".join(f"{column:>{len(column) + 5}}" for column in columns))
    for name, a, b, c in (
        (f"count the files ({ISOLATED})", serial_seconds, stdlib_seconds, apart_seconds),
        ("count the files (threads)", serial_seconds, stdlib_seconds, map_seconds),
        ("20,000 small calls", small_serial, small_stdlib, small),
        ("a map of 20,000 small items", many_mapped(map), map_stdlib, map_small),
        ("2,000 awaited one by one", awaited_serial, awaited_stdlib, awaited),
    ):
        print(f"{name:32}{a * 1e3:8.1f} ms{b * 1e3:8.1f} ms{c * 1e3:10.1f} ms{a / c:19.2f}x{b / c:19.2f}x")


if __name__ == "__main__":
    main()
