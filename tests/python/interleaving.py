"""Threads that take turns more often than they would."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


@contextlib.contextmanager
def switching(seconds: float) -> Iterator[None]:
    """Have threads take turns after so long, until the end of the block."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def beside(change: Callable[[], object], call: Callable[[], T]) -> T:
    """What ``call`` gives while another thread does ``change``."""
    other = threading.Thread(target=change)
    with switching(1e-5):
        try:
            other.start()
            return call()
        finally:
            other.join()
