"""Locks and conditions, as those of ``threading``."""

from __future__ import annotations

import threading
from typing import Any, cast

from ._native import SafeLock, SafeRLock

__all__ = ["SafeCondition", "SafeLock", "SafeRLock"]


class SafeCondition(threading.Condition):
    """A condition variable, as ``threading.Condition``, with a ``SafeRLock`` where no lock is given.

    ``lock`` may be a ``SafeLock``, a ``SafeRLock`` or one of the standard library's. Any thread.

    >>> condition = SafeCondition()
    >>> with condition:
    ...     condition.wait(timeout=0)
    False
    """

    def __init__(self, lock: Any = None) -> None:
        super().__init__(cast("Any", SafeRLock()) if lock is None else lock)
