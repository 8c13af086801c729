"""The threads that run one ``safe_parallel_map`` after another.

To make a pool and its first thread for each map, and to end them, takes a third of a millisecond. So a pool that a map
is done with is kept for the next one; its threads go when they have waited for that for ``LINGER`` seconds. A fork does
not find them, and the interpreter's exit does not wait so long.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from . import _runtime
from .thread_pool import SafeThreadPool, default_workers

__all__: list[str] = []

LINGER = 5.0

_kept: list[tuple[SafeThreadPool, tuple[Any, ...]]] = []  # one, or none; whoever uses it has taken it out


def take(max_workers: int | None) -> SafeThreadPool:
    """A pool of threads for one map, to be given back by ``give_back``, or shut down."""
    try:
        pool, made_for = _kept.pop()
    except IndexError:
        pass
    else:
        wanted = default_workers("none") if max_workers is None else max_workers
        if _surroundings() == made_for and type(wanted) is int and pool._max_workers == wanted:
            return pool
        pool.shutdown()
    pool = SafeThreadPool(max_workers, "safe_parallel_map", isolation="none")
    pool._linger(LINGER)
    return pool


def give_back(pool: SafeThreadPool) -> bool:
    """Keep a pool of ``take``. False where it is to be shut down: it has something to do, or another one is kept."""
    if pool._active or pool._runner is not None or pool._closed or _kept or _runtime.draining:
        return False
    _kept.append((pool, _surroundings()))
    return True


def end() -> None:
    """Let go of what is kept, and wait until it is gone."""
    while _kept:
        _kept.pop()[0].shutdown()


def _surroundings() -> tuple[Any, ...]:
    """What the threads of a pool take over when they begin."""
    return threading.gettrace(), threading.getprofile(), threading.stack_size()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=end)
