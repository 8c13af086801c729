"""Every feature of pyferris on real data: the source files of this Python's own standard library.

Each part counts lines and tokens and checks what it found against a plain serial computation.
"""

from __future__ import annotations

import asyncio
import sysconfig
import time
import tokenize
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyferris.safe_thread import (
    SafeCondition,
    SafeLock,
    SafeThread,
    SafeThreadPool,
    create_safe_shared_data,
    safe_parallel_map,
    safe_thread_decorator,
)

Counts = tuple[int, int]
FILES = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:120]
WORKERS = 4


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
        all_done.wait_for(lambda: finished.get() == len(FILES))
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


def many(submit: Callable[..., object], results: Callable[[list[object]], list[int]]) -> float:
    """Seconds for 20,000 small calls."""
    started = time.perf_counter()
    found = results([submit(abs, -i) for i in range(20_000)])
    seconds = time.perf_counter() - started
    if found != list(range(20_000)):
        raise SystemExit("the small calls gave wrong results")
    return seconds


def main() -> None:
    serial, serial_seconds = timed("serial", lambda: [count(path) for path in FILES])
    with ThreadPoolExecutor(WORKERS) as executor:
        _, stdlib_seconds = timed("ThreadPoolExecutor.map", lambda: list(executor.map(count, FILES)), serial)
        small_stdlib = many(executor.submit, lambda futures: [future.result() for future in futures])  # type: ignore[attr-defined]
    timed("SafeThreadPool.submit", by_submit, serial)
    _, map_seconds = timed("SafeThreadPool.map", by_map, serial)
    timed("safe_parallel_map", by_parallel_map, serial)
    timed("SafeThread, shared data, lock, condition", by_threads, serial)
    timed("safe_thread_decorator", by_decorator, serial)
    timed("asyncio with a heartbeat", lambda: asyncio.run(with_heartbeat()), serial)
    with SafeThreadPool(WORKERS) as pool:
        small = many(pool.submit, lambda futures: [future.result() for future in futures])  # type: ignore[attr-defined]
    small_serial = many(lambda function, value: function(value), lambda values: values)  # type: ignore[arg-type, return-value]

    print(f"\n{'work':28}{'serial':>12}{'stdlib':>12}{'pyferris':>12}{'stdlib/pyferris':>18}")
    for name, a, b, c in (
        ("count the files (map)", serial_seconds, stdlib_seconds, map_seconds),
        ("20,000 small calls", small_serial, small_stdlib, small),
    ):
        print(f"{name:28}{a * 1e3:9.1f} ms{b * 1e3:9.1f} ms{c * 1e3:9.1f} ms{b / c:17.1f}x")


if __name__ == "__main__":
    main()
