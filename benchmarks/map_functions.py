"""What the maps of bench_isolation.py compute."""

from __future__ import annotations

import functools
import hashlib
import re
import threading


def spin(count: int) -> int:
    total = 0
    for i in range(count):
        total = (total * 5 + i) & 1023
    return total


THRESHOLD = 3


def impure(item: int) -> int:
    return spin(item) + THRESHOLD


def sizes(item: int) -> list[int]:
    return [spin(item)] * 100


def digest(item: bytes) -> str:
    return hashlib.sha256(item).hexdigest()


def sines(item: int) -> float:
    import numpy

    return float(numpy.sin(numpy.arange(item, dtype=float)).sum())


LOCK = threading.Lock()


def locked(item: int) -> int:
    with LOCK:
        return item


@functools.lru_cache
def remembered(item: int) -> int:
    return item * item


def looked_up(item: int) -> int:
    return remembered(item & 127)


def read_all(path: str) -> int:
    with open(path, "rb") as file:
        return len(file.read())


def masked(text: str) -> str:
    return re.sub(r"\d", "x", text)


def locked_spin(item: int) -> int:
    with LOCK:
        return spin(item)
