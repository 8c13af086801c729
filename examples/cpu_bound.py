"""Pure Python that computes, in one thread, in threads, and isolated: each worker with an interpreter lock of its own.

First ten short calls in a pool that is made for them, then the tokens and the syntax trees of the standard library's
own files. Every answer is checked against the serial one.
"""

from __future__ import annotations

import ast
import io
import sysconfig
import time
import tokenize
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pyferris.safe_thread import SafeThreadPool, safe_parallel_map

T = TypeVar("T")

FILES = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:100]
CALLS = 10
LIMIT = 70_000


def sum_of_squares(limit: int) -> int:
    return sum(i * i for i in range(limit))


def count(source: bytes) -> tuple[int, int]:
    """Tokens and nodes of the syntax tree of one file."""
    tokens = sum(1 for _ in tokenize.tokenize(io.BytesIO(source).readline))
    return tokens, sum(1 for _ in ast.walk(ast.parse(source)))


def timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    found = work()
    return found, time.perf_counter() - started


def compare(name: str, serial: Callable[[], T], ways: dict[str, Callable[[], T]]) -> None:
    """Run a work in each way; print how long it took, stop where an answer differs."""
    expected, serial_seconds = timed(serial)
    print(f"{name}\n    {'serial':24}{serial_seconds * 1e3:9.1f} ms")
    for way, work in ways.items():
        found, seconds = timed(work)
        if found != expected:
            raise SystemExit(f"{name}, {way}: differs from the serial computation")
        print(f"    {way:24}{seconds * 1e3:9.1f} ms{serial_seconds / seconds:8.2f}x")


def in_threads() -> list[int]:
    with ThreadPoolExecutor() as pool:
        return [future.result() for future in [pool.submit(sum_of_squares, LIMIT) for _ in range(CALLS)]]


def isolated() -> list[int]:
    with SafeThreadPool(isolation="isolated") as pool:
        return [future.result() for future in [pool.submit(sum_of_squares, LIMIT) for _ in range(CALLS)]]


def main() -> None:
    compare(
        f"{CALLS} calls, the pool made for them",
        lambda: [sum_of_squares(LIMIT) for _ in range(CALLS)],
        {"ThreadPoolExecutor": in_threads, "isolated": isolated},
    )
    sources = [path.read_bytes() for path in FILES]
    with ThreadPoolExecutor() as threads, SafeThreadPool(isolation="isolated") as pool:
        list(pool.map(count, sources[:2]))  # the workers are there
        compare(
            f"tokens and tree nodes of {len(sources)} files",
            lambda: [count(source) for source in sources],
            {
                "ThreadPoolExecutor.map": lambda: list(threads.map(count, sources)),
                "isolated": lambda: list(pool.map(count, sources)),
            },
        )
    found = safe_parallel_map(sum_of_squares, [LIMIT] * 100, explain=True)
    report = found.report
    print(f"safe_parallel_map: {report.mode}, {report.workers} workers, {report.speed:.0f} items a second")
    print(f"    {report.reason}")
    if found != [sum_of_squares(LIMIT)] * 100:
        raise SystemExit("safe_parallel_map: differs from the serial computation")


if __name__ == "__main__":
    main()
