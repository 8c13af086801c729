"""Threads and asyncio together: a native thread pool whose futures both block and await.

All names live in ``pyferris.safe_thread``; this package gives the same ones when they are first used.
"""

from __future__ import annotations

from ._version import __version__

TYPE_CHECKING = False  # typing is not imported in a worker interpreter
if TYPE_CHECKING:
    from .safe_thread import (
        BrokenPool,
        CallCancelled,
        ExplainedList,
        MapReport,
        MapResult,
        PoolClosed,
        PyferrisError,
        SafeArray,
        SafeCondition,
        SafeCounter,
        SafeDict,
        SafeFuture,
        SafeLock,
        SafeQueue,
        SafeRLock,
        SafeThread,
        SafeThreadPool,
        ShutDown,
        cancel_requested,
        check_cancelled,
        create_safe_shared_data,
        current_future,
        safe_parallel_map,
        safe_parallel_map_async,
        safe_thread_decorator,
        sleep,
    )

__all__ = [
    "BrokenPool",
    "CallCancelled",
    "ExplainedList",
    "MapReport",
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
    "__version__",
    "cancel_requested",
    "check_cancelled",
    "create_safe_shared_data",
    "current_future",
    "safe_parallel_map",
    "safe_parallel_map_async",
    "safe_thread_decorator",
    "sleep",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        from . import safe_thread

        return getattr(safe_thread, name)
    raise AttributeError(f"module 'pyferris' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
