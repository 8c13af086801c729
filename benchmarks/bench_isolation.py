"""Compare isolated workers with serial code and the standard library's executors; print tables, add to RESULTS.md.

Each figure is the median of interleaved runs; each run verifies the results it times. With arguments (`cold`, `calls`,
`maps`, `loop`, `web`) only these parts run, and nothing is written.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import installed
from map_functions import digest, impure, locked, locked_spin, looked_up, masked, read_all, sines, sizes, spin
from support import check, circumstances, identity, timed, write_section
from web_latency import measure as web_latency

from pyferris.safe_thread import SafeThreadPool, safe_parallel_map

WORKERS = 2
RUNS = 9
SHORT_RUNS = 31  # of what takes some milliseconds
MORE_RUNS = 21  # of what takes no longer than this: a shared core has moments in which it takes 1.8 times as long
LONG = 0.15  # seconds
COLD_RUNS = 21  # processes of each kind: how the system places their threads differs
HAS_INTERPRETERS = sys.version_info >= (3, 12)
OURS = "pyferris"
OURS_PROCESSES = "pyferris, processes"
CHUNK = 64  # ProcessPoolExecutor's and InterpreterPoolExecutor's maps get it for many items


class Row(NamedTuple):
    work: str
    seconds: dict[str, float]  # by column
    against: str  # whose time is divided by ours; "" for none
    target: str
    ratio: float  # the median of those of the runs: one core, or both, may be slow for some of them


rows: list[Row] = []
pools: dict[str, Any] = {}


def stdlib_interpreters() -> type[Executor] | None:
    return getattr(concurrent.futures, "InterpreterPoolExecutor", None)


def columns() -> list[str]:
    names = ["serial", "ThreadPoolExecutor", "ProcessPoolExecutor"]
    if stdlib_interpreters() is not None:
        names.append("InterpreterPoolExecutor")
    return [*names, OURS, OURS_PROCESSES] if HAS_INTERPRETERS else [*names, OURS]


@contextlib.contextmanager
def open_pools() -> Iterator[None]:
    """All kinds, their workers started; those that fork first."""
    with contextlib.ExitStack() as stack:
        kinds: dict[str, Callable[[], Executor]] = {
            "ProcessPoolExecutor": functools.partial(ProcessPoolExecutor, WORKERS),
            "ThreadPoolExecutor": functools.partial(ThreadPoolExecutor, WORKERS),
            OURS: functools.partial(SafeThreadPool, WORKERS, isolation="isolated"),
        }
        interpreters = stdlib_interpreters()
        if interpreters is not None:
            kinds["InterpreterPoolExecutor"] = functools.partial(interpreters, WORKERS)
        if HAS_INTERPRETERS:
            kinds[OURS_PROCESSES] = functools.partial(SafeThreadPool, WORKERS, isolation="process")
        for name, make in kinds.items():
            pools[name] = stack.enter_context(make())
            for future in [pools[name].submit(time.sleep, 0.3) for _ in range(WORKERS)]:
                future.result()
        yield
    pools.clear()


@functools.cache
def calls_of(seconds: float) -> int:
    """The argument with which `spin` takes so long. The rounds of a short call are cheaper than those of a long one."""
    count = max(1, round(seconds / one_step()))
    repeats = max(1, round(0.001 / seconds))
    timings = max(3, min(100, round(0.2 / seconds)))
    took = min(timed(lambda: [spin(count) for _ in range(repeats)]) for _ in range(timings)) / repeats
    return max(1, round(count * seconds / took))


@functools.cache
def one_step() -> float:
    """Seconds of one round of `spin`; what else the processor does makes it longer at times, never shorter."""
    return min(timed(lambda: spin(1_000)) for _ in range(500)) / 1_000


def record(work: str, seconds: dict[str, list[float]], against: str, target: str) -> None:
    medians = {name: statistics.median(each) for name, each in seconds.items() if each}
    pairs = zip(seconds.get(against, ()), seconds.get(OURS, ()), strict=against in seconds)
    ratios = [other / ours for other, ours in pairs]
    row = Row(work, medians, against, target, statistics.median(ratios) if ratios else 0.0)
    rows.append(row)
    shown = "  ".join(f"{name} {each * 1e3:.2f}" for name, each in medians.items())
    print(f"{work}: {shown} ms; {ratio(row) or '-'} {against} (to reach: {target or '-'})", flush=True)


def ratio(row: Row) -> str:
    return f"{row.ratio:.2f}x" if row.ratio else ""


def compare(
    work: str,
    target: str,
    serial: Callable[[], object],
    ways: dict[str, Callable[[], object]],
    against: str = "serial",
    runs: int = RUNS,
) -> None:
    """Time each way in turn and check what it gives."""
    expected = serial()
    everyone = {"serial": serial, **ways}
    seconds: dict[str, list[float]] = {name: [] for name in everyone}
    names = list(everyone)
    for number in range(runs):
        first = number % len(names)
        order = names[first:] + names[:first]
        if number // len(names) % 2 == 1:  # each comes after each
            order.reverse()
        for name in order:
            seconds[name].append(timed(lambda way=everyone[name]: check(way(), expected)))  # type: ignore[misc]
    record(work, seconds, against, target)


def submitted(pool: Any, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    futures: list[Future[Any]] = [pool.submit(function, item) for item in items]
    return [future.result() for future in futures]


def mapped(pool: Any, function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    chunk = 1 if isinstance(pool, SafeThreadPool) else min(CHUNK, max(1, len(items) // (4 * WORKERS)))
    return list(pool.map(function, items, chunksize=chunk))


def by_pools(way: Callable[..., list[Any]], function: Callable[[Any], Any], items: list[Any]) -> dict[str, Any]:
    return {name: functools.partial(way, pool, function, items) for name, pool in pools.items()}


def calls() -> None:
    """Single calls and maps, in pools whose workers are there."""
    for name, target, count, seconds, way in (
        ("8 calls of 60 ms, submit", "1.8x", 8, 60e-3, submitted),
        ("2,000 calls of 30 µs, submit", "1.8x", 2_000, 30e-6, submitted),
        ("2,000 calls of 30 µs, map", "1.8x", 2_000, 30e-6, mapped),
        ("20,000 calls of 3 µs, submit", "1.3x", 20_000, 3e-6, submitted),
        ("20,000 calls of 3 µs, map", "1.7x", 20_000, 3e-6, mapped),
    ):
        items = [calls_of(seconds)] * count
        ways = by_pools(way, spin, items)
        compare(name, target, functools.partial(spin_each, items), ways)
    items = list(range(20_000))
    ways = by_pools(submitted, identity, items)
    compare("20,000 no-op calls, submit", "10x", lambda: items, ways, "ProcessPoolExecutor", 3)


def spin_each(items: list[int]) -> list[int]:
    return [spin(item) for item in items]


def machine_gives() -> str:
    """What two processes gain that share the calls beforehand and exchange nothing meanwhile."""
    half = [calls_of(30e-6)] * 1_000
    half_done = spin_each(half)
    pool = pools["ProcessPoolExecutor"]

    def shared() -> None:
        for future in [pool.submit(spin_each, half) for _ in range(WORKERS)]:
            check(future.result(), half_done)

    alone: list[float] = []
    together: list[float] = []
    for _ in range(15):
        alone.append(timed(lambda: spin_each(WORKERS * half)))
        together.append(timed(shared))
    gives = f"{statistics.median(alone) / statistics.median(together):.2f}x"
    print(f"two processes, each with its half: {gives}", flush=True)
    return (
        f"In the same run two processes that share 2,000 calls of 30 µs beforehand, and exchange nothing, gain {gives}."
    )


TINY = (identity, locked, looked_up)


def maps() -> None:
    """`safe_parallel_map` as it comes, with a pool of its own for each call."""

    def row(
        name: str, target: str, function: Callable[[Any], Any], items: Any, against: str = "serial", runs: int = RUNS
    ) -> None:
        make = items if callable(items) else lambda: items
        threads = pools["ThreadPoolExecutor"]
        ways: dict[str, Callable[[], object]] = {}
        if function not in TINY:  # which take it seconds
            ways["ThreadPoolExecutor"] = lambda: mapped(threads, function, list(make()))
        ways[OURS] = lambda: safe_parallel_map(function, make())
        long = timed(lambda: list(map(function, make()))) > LONG
        runs = runs if long else max(runs, MORE_RUNS)
        compare(f"safe_parallel_map: {name}", target, lambda: list(map(function, make())), ways, against, runs)

    ms = calls_of(1e-3)
    row("pure computation, 200 items of 10 ms", "1.75x", spin, [10 * ms] * 200)
    row("hashlib, 64 items of 1 MiB", "0.9x", digest, [bytes([i]) * (1 << 20) for i in range(64)], "ThreadPoolExecutor")
    if importlib.util.find_spec("numpy") is not None:
        # Of sizes that differ: with equal ones malloc gives the memory of all arrays back or of none, and the same
        # threads differ by half from one process to the next.
        sizes_of_arrays = [100_000 + (i * 37 % 64) * 3_125 for i in range(64)]
        row("numpy, 64 items", "0.9x", sines, sizes_of_arrays, "ThreadPoolExecutor")
    row("3 items of 20 ms", "0.93x", spin, [20 * ms] * 3)
    row("uneven items, 0 to 4 ms", "0.93x", spin, [i % 5 * ms for i in range(50)])
    row("a generator of 500 items of 0.2 ms", "0.93x", spin, lambda: (ms // 5 for _ in range(500)))
    row("one item of 80 ms among 1,000 of 20 µs", "0.93x", spin, [ms // 50] * 500 + [80 * ms] + [ms // 50] * 500)
    row("200,000 tiny items", "0.93x", identity, list(range(200_000)))
    row("100,000 tiny items, a function with a lock", "0.93x", locked, list(range(100_000)))
    row("200,000 tiny items, a function with an lru_cache", "0.93x", looked_up, list(range(200_000)))
    row("500 items of 0.2 ms, large results", "0.93x", sizes, [ms // 5] * 500)
    row("a function that reads a global", "0.93x", impure, [ms] * 100)
    short = functools.partial(row, against="serial", runs=SHORT_RUNS)
    short("6 items of 1 ms", "0.93x", spin, [ms] * 6)
    short("60 items of 0.1 ms, a function with a lock", "0.93x", locked_spin, [ms // 10] * 60)
    short("8 items of 0.7 ms that free the GIL (hashlib)", "0.93x", digest, [bytes([i]) * (1 << 20) for i in range(8)])
    short("5,000 short texts, a function with re", "0.93x", masked, [f"{i} of 5000" for i in range(5000)])
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x" * 200)
        file.flush()
        short("1,000 small files", "0.93x", read_all, [file.name] * 1000)


KINDS = {
    "ThreadPoolExecutor": "threads",
    "ProcessPoolExecutor": "stdlib-processes",
    "InterpreterPoolExecutor": "stdlib-interpreters",
    OURS: "isolated",
    OURS_PROCESSES: "process",
}


def in_new_process(*what: str) -> dict[str, float]:
    script = str(Path(__file__).with_name("cold_start.py"))
    done = subprocess.run([installed.python(), script, *what], stdout=subprocess.PIPE, timeout=120, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def cold_starts() -> None:
    names = [name for name in columns() if name in KINDS]
    cold: dict[str, list[float]] = {name: [] for name in names}
    parked: dict[str, list[float]] = {OURS: []}
    seed: dict[str, list[float]] = {"serial": [], **{name: [] for name in names}}
    for _ in range(COLD_RUNS):
        for name in names:
            found = in_new_process("boot", KINDS[name])
            cold[name].append(found["cold"])
            if name == OURS and HAS_INTERPRETERS:
                parked[OURS].append(found["parked"])
            found = in_new_process("seed", KINDS[name])
            seed[name].append(found["pool"])
            if name == OURS:  # in the same process
                seed["serial"].append(found["serial"])
    record("two workers ready, first pool of a process", cold, "", "40 ms")
    if HAS_INTERPRETERS:
        record("two workers ready, interpreters parked", parked, "", "2 ms")
    record("ten calls of 4 ms, first pool of a process", seed, "serial", "1.2x")


def memory() -> str:
    if not HAS_INTERPRETERS:
        return ""
    plain, pickling = in_new_process("memory")["bytes"], in_new_process("memory", "cloudpickle")["bytes"]
    return (
        f"An interpreter takes {plain / 2**20:.1f} MiB (6 at most to reach), {pickling / 2**20:.1f} with cloudpickle "
        "imported (9 at most)."
    )


async def lateness(pool: Any, seconds: float = 2.0) -> list[float]:
    """How much later than asked a sleep of 1 ms ends while the pool's workers compute."""
    late: list[float] = []
    work = calls_of(0.1)
    running = [pool.submit(spin, work) for _ in range(2 * WORKERS)] if pool is not None else []
    end = time.perf_counter() + seconds
    while (before := time.perf_counter()) < end:
        await asyncio.sleep(0.001)
        late.append(time.perf_counter() - before - 0.001)
        done = [future for future in running if future.done()]
        running = [future for future in running if not future.done()]
        if done:
            running += [pool.submit(spin, work) for _ in done]
    for future in running:
        future.result()
    return late


def loop_rows() -> list[str]:
    lines = ["| what computes | p50, ms | p99, ms | most, ms |", "|---|---|---|---|"]
    for name, pool in [("nothing", None), *pools.items()]:
        late = asyncio.run(lateness(pool))
        figures = (statistics.median(late), statistics.quantiles(late, n=100)[98], max(late))
        lines.append(f"| {name} | " + " | ".join(f"{each * 1e3:.2f}" for each in figures) + " |")
        print("event loop's lateness:", lines[-1], flush=True)
    return lines


def web_rows() -> list[str]:
    if importlib.util.find_spec("fastapi") is None or importlib.util.find_spec("uvicorn") is None:
        return ["Not measured: fastapi or uvicorn is not installed."]
    lines = ["| what computes | p50, ms | p99, ms | requests a second | p99 / idle p99 |", "|---|---|---|---|---|"]
    idle = 0.0
    for name in ("nothing", "ThreadPoolExecutor", "ProcessPoolExecutor", OURS):
        kind = "isolated" if name in ("nothing", OURS) else name
        found = [web_latency(kind, name != "nothing") for _ in range(3)]
        p50, p99, rate = (statistics.median(each) for each in zip(*found, strict=True))
        idle = idle or p99
        lines.append(f"| {name} | {p50 * 1e3:.2f} | {p99 * 1e3:.2f} | {rate:,.0f} | {p99 / idle:.1f}x |")
        print("light endpoint:", lines[-1], flush=True)
    return lines


def table() -> list[str]:
    names = columns()

    def cells(row: Row) -> list[str]:
        times = [f"{row.seconds[name] * 1e3:.2f}" if name in row.seconds else "" for name in names]
        ratio_of = f"{ratio(row)} {'' if row.against == 'serial' else row.against}".strip()
        return [row.work, *times, ratio_of, row.target]

    lines = [["work", *names, "ratio", "to reach"], ["---"] * (len(names) + 3), *map(cells, rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]


def write(late: list[str], web: list[str], space: str, gives: str) -> None:
    isolated = "interpreters" if HAS_INTERPRETERS else "processes"
    noop = next(row for row in rows if "no-op" in row.work)
    noop_rate = f"No-op calls: {20_000 / noop.seconds[OURS]:,.0f} a second (500,000 to reach on interpreters)."
    lines = [
        circumstances(("cloudpickle", "loky")),
        f"{WORKERS} workers; milliseconds, medians of interleaved runs; the ratio is the time of serial code,",
        "or of what is named, over ours, in the run of both that is in the middle: it is not that of the medians;",
        f"`{OURS}`: {isolated}, isolation='isolated', and `safe_parallel_map` as is.",
        f"The standard library's maps over many items have a chunksize of up to {CHUNK}. First pools and memory: of",
        f"new processes in which the package is installed, not linked to its source tree. {gives}",
        "",
        *table(),
        "",
        f"{noop_rate} {space}".strip(),
        "",
        "An event loop's lateness (a sleep of 1 ms) while two workers compute; p99 below 5 ms to reach:",
        "",
        *late,
        "",
        "The light endpoint of `examples/web_app.py` (uvicorn, one connection) while one call of the heavy one at a",
        "time computes; 3x to reach:",
        "",
        *web,
    ]
    write_section("Isolation", lines)


def main() -> None:
    parts = sys.argv[1:] or ["cold", "calls", "maps", "loop", "web"]
    space, gives, late, web = "", "", [""], [""]
    if "cold" in parts:
        cold_starts()
        space = memory()
        print(space)
    if {"calls", "maps", "loop"} & set(parts):
        with open_pools():
            if "calls" in parts:
                gives = machine_gives()
                calls()
            if "maps" in parts:
                maps()
            if "loop" in parts:
                late = loop_rows()
    if "web" in parts:
        web = web_rows()
    if len(sys.argv) == 1:
        write(late, web, space, gives)


if __name__ == "__main__":
    main()
