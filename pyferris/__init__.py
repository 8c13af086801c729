"""Threads and asyncio together: a native thread pool whose futures both block and await.

All names live in ``pyferris.safe_thread``; this package gives the same ones when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from .safe_thread import (
        BrokenPool as BrokenPool,
        CallCancelled as CallCancelled,
        MapResult as MapResult,
        PoolClosed as PoolClosed,
        PyferrisError as PyferrisError,
        SafeArray as SafeArray,
        SafeCondition as SafeCondition,
        SafeCounter as SafeCounter,
        SafeDict as SafeDict,
        SafeFuture as SafeFuture,
        SafeLock as SafeLock,
        SafeQueue as SafeQueue,
        SafeRLock as SafeRLock,
        SafeThread as SafeThread,
        SafeThreadPool as SafeThreadPool,
        ShutDown as ShutDown,
        cancel_requested as cancel_requested,
        check_cancelled as check_cancelled,
        create_safe_shared_data as create_safe_shared_data,
        current_future as current_future,
        safe_parallel_map as safe_parallel_map,
        safe_parallel_map_async as safe_parallel_map_async,
        safe_thread_decorator as safe_thread_decorator,
        sleep as sleep,
    )

__all__ = [
    "BrokenPool",
    "CallCancelled",
    "MapResult",
    "PoolClosed",
    "PyferrisError",
    "SafeArray",
    "SafeCondition",
    "SafeCounter",
    "SafeDict",
    "SafeFuture",
    "SafeLock",
    "SafeQueue",
    "SafeRLock",
    "SafeThread",
    "SafeThreadPool",
    "ShutDown",
    "cancel_requested",
    "check_cancelled",
    "create_safe_shared_data",
    "current_future",
    "safe_parallel_map",
    "safe_parallel_map_async",
    "safe_thread_decorator",
    "sleep",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        from . import safe_thread

        return getattr(safe_thread, name)
    raise AttributeError(f"module 'pyferris' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
