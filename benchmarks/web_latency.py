"""How long a light endpoint of examples/web_app.py takes to answer while another one computes.

The app is served by a process of its own (`--serve KIND`), the load comes from a second one: one connection that asks
again as soon as it has its answer, and one call of the heavy endpoint at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

SECONDS = 3.0
LIMIT = 30_000  # the heavy endpoint's, about 50 ms
EXAMPLES = Path(__file__).parent.parent / "examples"


class Latency(NamedTuple):
    """Seconds that half of the requests, and 99 of 100, took at most; requests a second."""

    p50: float
    p99: float
    rate: float


class Awaitable:
    """A standard executor as one whose futures can be awaited."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, *call: Any) -> Any:
        return asyncio.wrap_future(self._executor.submit(*call))


def serve(kind: str) -> None:
    """Serve the app, its heavy endpoint on workers of this kind, until the process is ended. Prints the port."""
    sys.path.insert(0, str(EXAMPLES))
    import uvicorn
    import web_app

    from pyferris.safe_thread import SafeThreadPool

    if kind == "ThreadPoolExecutor":
        pool: Any = Awaitable(ThreadPoolExecutor(2))
    elif kind == "ProcessPoolExecutor":
        pool = Awaitable(ProcessPoolExecutor(2))
    else:
        pool = SafeThreadPool(2, isolation=kind)  # type: ignore[arg-type]
    config = uvicorn.Config(web_app.create_app(pool), log_level="warning")
    with web_app.listen(0) as listening:
        print(listening.getsockname()[1], flush=True)
        asyncio.run(uvicorn.Server(config).serve([listening]))


def ask(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise SystemExit(f"{path}: {response.status} {body!r}")
    return body


def ask_light(port: int, seconds: float) -> Latency:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    took: list[float] = []
    end = time.perf_counter() + seconds
    while (before := time.perf_counter()) < end:
        ask(connection, "/light")
        took.append(time.perf_counter() - before)
    connection.close()
    return Latency(statistics.median(took), statistics.quantiles(took, n=100)[98], len(took) / seconds)


def measure(kind: str, busy: bool) -> Latency:
    """The light endpoint's latency; `busy`: while one heavy call after another runs."""
    with subprocess.Popen(
        [sys.executable, __file__, "--serve", kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            expected = ask(connection, f"/heavy/{LIMIT}")
            ask_light(port, 0.3)
            stop, wrong = threading.Event(), threading.Event()

            def load() -> None:
                while not stop.is_set():
                    if ask(connection, f"/heavy/{LIMIT}") != expected:
                        wrong.set()

            thread = threading.Thread(target=load, daemon=True)
            if busy:
                thread.start()
            found = ask_light(port, SECONDS)
            stop.set()
            if busy:
                thread.join(30)
            if wrong.is_set():
                raise SystemExit("the heavy endpoint gave a wrong answer")
            return found
        finally:
            os.killpg(server.pid, signal.SIGKILL)  # its worker processes as well


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", metavar="KIND")
    kind = parser.parse_args().serve
    if kind is not None:
        serve(kind)
        return
    print("idle", measure("isolated", busy=False))
    for kind in ("ThreadPoolExecutor", "ProcessPoolExecutor", "isolated"):
        print(kind, measure(kind, busy=True))


if __name__ == "__main__":
    main()
