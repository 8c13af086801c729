"""How many cores this process may use."""

from __future__ import annotations

import contextlib
import math
import os
import time

__all__ = ["usable_cores"]

_CGROUP = "/sys/fs/cgroup"
# Seconds for which the quota is taken to be the same. To read it takes a tenth of a millisecond after a pause, 25 ms
# beside a thread that computes.
_KEPT = 10.0

_known: tuple[float, float | None] | None = None  # when it was read, and the quota


def usable_cores() -> int:
    """Return the number of cores that the affinity mask and the control group's quota leave; 1 at least."""
    count_here = getattr(os, "process_cpu_count", None)  # from Python 3.13 on
    if count_here is not None:
        count = count_here() or 1
    elif hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    global _known
    known, now = _known, time.monotonic()
    if known is None or now - known[0] > _KEPT:
        known = _known = now, _read_quota()
    quota = known[1]
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def _read_quota() -> float | None:
    """Cores that the control group (version 2, then 1) allows; None where nothing limits them."""
    with contextlib.suppress(OSError, ValueError):
        with open(f"{_CGROUP}/cpu.max") as file:
            allowed, period = file.read().split()
        return None if allowed == "max" else int(allowed) / int(period)
    with contextlib.suppress(OSError, ValueError):
        with open(f"{_CGROUP}/cpu/cpu.cfs_quota_us") as file:
            micros = int(file.read())
        with open(f"{_CGROUP}/cpu/cpu.cfs_period_us") as file:
            every = int(file.read())
        return None if micros <= 0 else micros / every
    return None
