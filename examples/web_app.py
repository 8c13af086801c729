"""A web app (FastAPI, uvicorn) whose heavy endpoint computes on another core, while its light one stays quick.

    python examples/web_app.py            serves on http://127.0.0.1:8000
    python examples/web_app.py --check    serves on a free port, asks both endpoints at once, checks what they say

`count_primes` is a function of this module, whose imports refuse to load in other interpreters. It runs there all the
same: a function travels by value, with what it reaches and nothing else. Needs `pip install fastapi uvicorn`.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import math
import socket
import time
from typing import Annotated, Any

import fastapi
import uvicorn

from pyferris.safe_thread import SafeFuture, SafeThreadPool

CHECKED = 200_000  # the numbers that --check asks for


def count_primes(limit: int) -> int:
    """How many primes there are below `limit`: pure Python that keeps a core busy."""
    return sum(all(n % divisor for divisor in range(2, math.isqrt(n) + 1)) for n in range(2, limit))


def create_app(pool: SafeThreadPool) -> fastapi.FastAPI:
    app = fastapi.FastAPI()

    @app.get("/light")
    async def light() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/heavy/{limit}")
    async def heavy(limit: Annotated[int, fastapi.Path(ge=0, le=1_000_000)]) -> dict[str, int]:
        return {"primes": await pool.submit(count_primes, limit)}

    return app


def listen(port: int) -> socket.socket:
    # With its protocol, or asyncio does not know that it is TCP and lets the kernel hold small answers back.
    listening = socket.socket(proto=socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(128)
    return listening


def ask(port: int, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    if response.status != 200:
        raise SystemExit(f"{path}: {response.status} {body}")
    return body


def ask_meanwhile(port: int, heavy: SafeFuture[Any]) -> list[float]:
    """Ask the light endpoint until the heavy one has answered; how long each answer took."""
    took: list[float] = []
    while not heavy.done():
        before = time.perf_counter()
        if ask(port, "/light") != {"status": "ok"}:
            raise SystemExit("the light endpoint gave a wrong answer")
        took.append(time.perf_counter() - before)
    return took


async def check() -> None:
    """Serve and ask in one process: the clients are threads."""
    async with SafeThreadPool(isolation="isolated") as pool, SafeThreadPool(2) as clients:
        with listen(0) as listening:
            port = listening.getsockname()[1]
            server = uvicorn.Server(uvicorn.Config(create_app(pool), log_level="warning"))
            serving = asyncio.create_task(server.serve([listening]))
            await clients.submit(ask, port, "/heavy/10")  # the worker is there
            heavy = clients.submit(ask, port, f"/heavy/{CHECKED}")
            took = await clients.submit(ask_meanwhile, port, heavy)
            found = await heavy
            server.should_exit = True
            await serving
    if found != {"primes": count_primes(CHECKED)}:
        raise SystemExit(f"the heavy endpoint gave a wrong answer: {found}")
    if not took:
        raise SystemExit("the light endpoint gave no answer while the heavy one computed")
    print(f"{found['primes']} primes below {CHECKED}")
    print(f"{len(took)} light answers meanwhile, the slowest after {max(took) * 1e3:.0f} ms")


async def serve(port: int) -> None:
    async with SafeThreadPool(isolation="isolated") as pool:
        with listen(port) as listening:
            await uvicorn.Server(uvicorn.Config(create_app(pool))).serve([listening])


def main() -> None:
    parser = argparse.ArgumentParser(description="A web app with a light and a heavy endpoint.")
    parser.add_argument("--check", action="store_true", help="serve on a free port, ask, check the answers")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    asyncio.run(check() if arguments.check else serve(arguments.port))


if __name__ == "__main__":
    main()
