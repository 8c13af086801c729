"""What only a new process can show: the first pool of its life. Prints one JSON object.

`python benchmarks/cold_start.py boot interpreter` (or process, threads, stdlib-processes, stdlib-interpreters);
`seed` and a kind; `memory`; `memory cloudpickle`.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from support import check, resident, timed

WORKERS = 2
SEED_CALLS = 10
SEED_LIMIT = 70_000  # about 4 ms


def make(kind: str, workers: int = WORKERS) -> Executor:
    if kind == "threads":
        return concurrent.futures.ThreadPoolExecutor(workers)
    if kind == "stdlib-processes":
        return concurrent.futures.ProcessPoolExecutor(workers)
    if kind == "stdlib-interpreters":
        executor: Any = concurrent.futures.InterpreterPoolExecutor  # type: ignore[attr-defined, unused-ignore]
        return executor(workers)  # type: ignore[no-any-return, unused-ignore]
    from pyferris.safe_thread import SafeThreadPool

    return SafeThreadPool(workers, isolation=kind)  # type: ignore[arg-type]


def begun(seconds: float) -> float:
    """When the call began, on the clock of all; it keeps its worker busy, so that the next one goes to another."""
    at = time.monotonic()
    time.sleep(seconds)
    return at


def ready(kind: str) -> float:
    """Seconds until both workers of a new pool run a call."""
    before = time.monotonic()
    with make(kind) as pool:
        futures = [pool.submit(begun, 0.3) for _ in range(WORKERS)]
        return max(future.result() for future in futures) - before


def boot(kind: str) -> dict[str, float]:
    import pyferris.safe_thread  # noqa: F401 - the import is not what is measured

    first = ready(kind)
    time.sleep(0.1)  # the interpreters are parked
    return {"cold": first, "parked": ready(kind)}


def memory(module: str | None = None, count: int = 8) -> dict[str, float]:
    """Bytes that each further interpreter takes."""

    def work(seconds: float) -> None:
        if module is not None:
            importlib.import_module(module)
        time.sleep(seconds)

    def run(workers: int) -> int:
        with make("interpreter", workers) as pool:
            for future in [pool.submit(work, 0.5) for _ in range(workers)]:
                future.result()
            return resident()

    before = run(1)  # what the first one makes the main interpreter import is not theirs
    return {"bytes": (run(count + 1) - before) / count}


def squares(limit: int) -> int:
    return sum(i * i for i in range(limit))


def seed(kind: str) -> dict[str, float]:
    import pyferris.safe_thread  # noqa: F401

    expected = [squares(SEED_LIMIT) for _ in range(SEED_CALLS)]
    serial = timed(lambda: check([squares(SEED_LIMIT) for _ in range(SEED_CALLS)], expected))

    def in_pool() -> None:
        with make(kind) as pool:
            futures = [pool.submit(squares, SEED_LIMIT) for _ in range(SEED_CALLS)]
            check([future.result() for future in futures], expected)

    return {"serial": serial, "pool": timed(in_pool)}


def main() -> None:
    what, *rest = sys.argv[1:]
    commands: dict[str, Callable[..., dict[str, float]]] = {"boot": boot, "memory": memory, "seed": seed}
    print(json.dumps(commands[what](*rest)))


if __name__ == "__main__":
    main()
