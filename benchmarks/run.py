"""Compare with the standard library and anyio, in one process, interleaved; print the table, write it into RESULTS.md.

Each figure is the median of the runs; each run verifies the results it times.
"""

from __future__ import annotations

import asyncio
import queue
import statistics
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio.to_thread
import uvloop
from support import check, circumstances, identity, resident, timed, write_section

from pyferris.safe_thread import SafeCounter, SafeLock, SafeQueue, SafeThread, SafeThreadPool

WORKERS = 4
RUNS = 7
Row = tuple[str, str, float, float, str]
rows: list[Row] = []


def compare(name: str, target: str, peer: str, theirs: Callable[[], object], ours: Callable[[], object]) -> None:
    """Time both in turn; the ratio is the peer's median time over ours."""
    pairs = [(timed(theirs), timed(ours)) for _ in range(RUNS)]
    record(name, target, peer, [a for a, _ in pairs], [b for _, b in pairs])


def record(name: str, target: str, peer: str, theirs: list[float], ours: list[float]) -> None:
    them, us = statistics.median(theirs), statistics.median(ours)
    rows.append((name, peer, them, us, target))
    print(
        f"{name:48} {peer:24} {them * 1e3:10.2f} ms {us * 1e3:10.2f} ms {them / us:7.2f}x   (target {target})",
        flush=True,
    )


def submit_all(pool: Any, count: int = 20_000) -> None:
    futures = [pool.submit(identity, i) for i in range(count)]
    check([future.result() for future in futures], list(range(count)))


def one_by_one(pool: Any, count: int = 3_000) -> None:
    for i in range(count):
        check(pool.submit(identity, i).result(), i)


def synchronous(stdlib: ThreadPoolExecutor, ours: SafeThreadPool) -> None:
    submit_all(stdlib), submit_all(ours)
    compare(
        "20,000 submitted, then their results",
        "10x",
        "ThreadPoolExecutor",
        lambda: submit_all(stdlib),
        lambda: submit_all(ours),
    )
    compare(
        "submit().result() one by one",
        "1.6x",
        "ThreadPoolExecutor",
        lambda: one_by_one(stdlib),
        lambda: one_by_one(ours),
    )
    items = list(range(10_000))
    compare(
        "map of a cheap function, 10,000 items",
        "40x",
        "ThreadPoolExecutor.map",
        lambda: check(list(stdlib.map(identity, items)), items),
        lambda: check(list(ours.map(identity, items)), items),
    )
    many = list(range(100_000))
    compare(
        "map of a cheap function, 100,000 items",
        "0.33x",
        "builtin map",
        lambda: check(list(map(identity, many)), many),
        lambda: check(list(ours.map(identity, many)), many),
    )
    # A hundred times the calls, their cost per call compared: the figure is the small run's time over the large one's.
    small = [timed(lambda: submit_all(ours, 10_000)) * 100 for _ in range(RUNS)]
    large = [timed(lambda: submit_all(ours, 1_000_000)) for _ in range(3)]
    record("1,000,000 submitted, then their results", "0.77x", "100 times 10,000", small, large)
    with SafeThreadPool(64) as wide:
        submit_all(wide)
        compare(
            "20,000 submitted, 64 workers against 4",
            "0.5x",
            "4 workers",
            lambda: submit_all(ours),
            lambda: submit_all(wide),
        )


Submit = Callable[[int], Awaitable[Any]]


async def await_one_by_one(submit: Submit, count: int = 2_000) -> None:
    for i in range(count):
        check(await submit(i), i)


async def await_in_turn(submit: Submit, count: int = 10_000) -> None:
    futures = [submit(i) for i in range(count)]
    check([await future for future in futures], list(range(count)))


async def gather(submit: Submit, count: int = 10_000) -> None:
    check(await asyncio.gather(*[submit(i) for i in range(count)]), list(range(count)))


async def asynchronous(stdlib: ThreadPoolExecutor, ours: SafeThreadPool, loop_name: str) -> None:
    loop = asyncio.get_running_loop()

    def run_in_executor(i: int) -> Awaitable[Any]:
        return loop.run_in_executor(stdlib, identity, i)

    def submit(i: int) -> Awaitable[Any]:
        return ours.submit(identity, i)

    async def pair(
        name: str, target: str, peer: str, work: Callable[[Submit], Awaitable[None]], theirs: Submit
    ) -> None:
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(RUNS):
            for side, how in zip(times, (theirs, submit), strict=True):
                started = time.perf_counter()
                await work(how)
                side.append(time.perf_counter() - started)
        record(f"{name} ({loop_name})", target, peer, *times)

    await pair("await one by one", "1.4x", "run_in_executor", await_one_by_one, run_in_executor)
    await pair(
        "await one by one", "1.8x", "asyncio.to_thread", await_one_by_one, lambda i: asyncio.to_thread(identity, i)
    )
    await pair(
        "await one by one", "", "anyio.to_thread", await_one_by_one, lambda i: anyio.to_thread.run_sync(identity, i)
    )
    await pair("10,000 submitted, awaited in turn", "20x", "run_in_executor", await_in_turn, run_in_executor)
    await pair("10,000 through gather", "4x", "run_in_executor", gather, run_in_executor)
    gathered: list[float] = []
    mapped: list[float] = []
    for _ in range(RUNS):
        started = time.perf_counter()
        await gather(run_in_executor, 10_000)
        gathered.append((time.perf_counter() - started) * 10)
        started = time.perf_counter()
        check(await ours.map(identity, range(100_000)), list(range(100_000)))
        mapped.append(time.perf_counter() - started)
    record(f"awaited map of 100,000 items ({loop_name})", "60x", "gather, 10 times 10,000", gathered, mapped)


def locked(lock: Any, count: int = 200_000) -> None:
    for _ in range(count):
        with lock:
            pass


def add_locked(count: int = 200_000) -> None:
    lock, total = threading.Lock(), 0
    for _ in range(count):
        with lock:
            total += 1
    check(total, count)


def count_up(count: int = 200_000) -> None:
    counter = SafeCounter()
    for _ in range(count):
        counter.increment()
    check(counter.get(), count)


def queued(put: Callable[[int], object], get: Callable[[], int], count: int = 100_000) -> None:
    for i in range(count):
        put(i)
        check(get(), i)


def threads(kind: type[threading.Thread], count: int = 300) -> None:
    for _ in range(count):
        thread = kind(target=identity, args=(1,))
        thread.start()
        thread.join()


def primitives() -> None:
    plain, safe = threading.Lock(), SafeLock()
    compare("with lock: pass", "1x", "threading.Lock", lambda: locked(plain), lambda: locked(safe))
    compare("SafeCounter.increment()", "3.3x", "lock and addition", add_locked, count_up)
    simple: queue.SimpleQueue[int] = queue.SimpleQueue()
    ours: SafeQueue[int] = SafeQueue()
    compare(
        "queue: put and get",
        "0.67x",
        "queue.SimpleQueue",
        lambda: queued(simple.put, simple.get),
        lambda: queued(ours.push, ours.pop),
    )
    compare(
        "thread: start and join",
        "0.9x",
        "threading.Thread",
        lambda: threads(threading.Thread),
        lambda: threads(SafeThread),
    )


def pending_bytes(count: int = 300_000) -> float:
    """Memory of one pending future whose argument exists already, without its place in the list that holds it."""
    gate, argument = threading.Event(), object()
    with SafeThreadPool(1) as pool:
        pool.submit(gate.wait)
        futures: list[Any] = [None] * count
        before = resident()
        for i in range(count):
            futures[i] = pool.submit(identity, argument)
        used = (resident() - before) / count
        gate.set()
    return used


def write(memory: float) -> None:
    lines = [
        circumstances(("anyio", "uvloop")),
        f"{WORKERS} workers; medians of {RUNS} interleaved runs in one process; the ratio is the peer's time",
        "over ours.",
        "",
        "| work | peer | peer, ms | pyferris, ms | ratio | to reach |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name} | {peer} | {a * 1e3:.2f} | {b * 1e3:.2f} | {a / b:.2f}x | {target} |"
            for name, peer, a, b, target in rows
        ),
        "",
        f"A pending future takes {memory:.0f} bytes (250 at most to reach).",
    ]
    write_section("Threads and asyncio", lines)


def main() -> None:
    memory = pending_bytes()
    with ThreadPoolExecutor(WORKERS) as stdlib, SafeThreadPool(WORKERS) as ours:
        synchronous(stdlib, ours)
        asyncio.run(asynchronous(stdlib, ours, "asyncio"))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(asynchronous(stdlib, ours, "uvloop"))
    primitives()
    print(f"a pending future: {memory:.0f} bytes")
    write(memory)


if __name__ == "__main__":
    sys.exit(main())
