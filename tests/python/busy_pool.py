"""What tests of pools and futures put into a pool: a call that lasts until it may end, and one that fails."""

from __future__ import annotations

import threading
from typing import Self

from pyferris.safe_thread import SafeThreadPool

LIMIT = 30  # seconds; only a failure takes that long


class Busy:
    """Keeps the only worker of a pool in a call, until the block ends."""

    def __init__(self, pool: SafeThreadPool) -> None:
        self.started, self.gate = threading.Event(), threading.Event()
        self.future = pool.submit(self.run)

    def run(self) -> str:
        self.started.set()
        assert self.gate.wait(LIMIT)
        return "busy"

    def __enter__(self) -> Self:
        assert self.started.wait(LIMIT)
        return self

    def __exit__(self, *error: object) -> None:
        self.gate.set()


class Boom(Exception):
    pass


def boom() -> None:
    raise Boom("boom")


def worker_names(prefix: str) -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith(prefix)}
