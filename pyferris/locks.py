"""Locks and conditions, as those of ``threading``."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NoReturn, cast

from ._native import ConditionCore, SafeLock, SafeRLock

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SafeCondition", "SafeLock", "SafeRLock"]


class SafeCondition(threading.Condition):
    """A condition variable, as ``threading.Condition``, with a ``SafeRLock`` where no lock is given.

    ``lock`` may be a ``SafeLock``, a ``SafeRLock`` or one of the standard library's. Any thread. With one of the first
    two it can be pickled: a handle, which is the same condition in other interpreters of the process.

    >>> condition = SafeCondition()
    >>> with condition:
    ...     condition.wait(timeout=0)
    False
    """

    _lock: Any
    _waiters: ConditionCore
    if TYPE_CHECKING:
        _is_owned: Callable[[], bool]
        _release_save: Callable[[], Any]
        _acquire_restore: Callable[[Any], None]

    def __init__(self, lock: Any = None) -> None:
        super().__init__(cast("Any", SafeRLock()) if lock is None else lock)
        self._waiters = ConditionCore()

    def wait(self, timeout: float | None = None) -> bool:
        """Let go of the lock until notified, then take it again; return False if ``timeout`` seconds pass before.

        RuntimeError if this thread does not hold the lock. Ctrl-C ends it.
        """
        if not self._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock: call it inside `with condition:`")
        return self._waiters.wait(self._release_save, self._acquire_restore, timeout)

    def notify(self, n: int = 1) -> None:
        """Wake those ``n`` that have waited longest. RuntimeError if this thread does not hold the lock."""
        if not self._is_owned():
            raise RuntimeError("cannot notify on un-acquired lock: call it inside `with condition:`")
        self._waiters.notify(n)

    def __reduce__(self) -> tuple[Any, ...]:
        if not isinstance(self._lock, (SafeLock, SafeRLock)):
            raise TypeError(
                f"cannot pickle a SafeCondition of {self._lock!r}: other interpreters can share a SafeLock or a "
                "SafeRLock only; make it with one of these"
            )
        return _attached, (type(self), self._waiters, self._lock)

    def __copy__(self) -> NoReturn:
        raise TypeError("cannot copy a SafeCondition: it is shared, not copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__copy__()


def _attached(kind: type[SafeCondition], waiters: ConditionCore, lock: Any) -> SafeCondition:
    condition = kind.__new__(kind)
    threading.Condition.__init__(condition, lock)
    condition._waiters = waiters
    return condition
