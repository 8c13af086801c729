"""Threads and asyncio together: a native thread pool whose futures both block and await.

All names live in ``pyferris.safe_thread``; this package gives the same ones when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from .safe_thread import (
        BrokenPool as BrokenPool,
    )
    from .safe_thread import (
        CallCancelled as CallCancelled,
    )
    from .safe_thread import (
        MapResult as MapResult,
    )
    from .safe_thread import (
        PoolClosed as PoolClosed,
    )
    from .safe_thread import (
        PyferrisError as PyferrisError,
    )
    from .safe_thread import (
        SafeArray as SafeArray,
    )
    from .safe_thread import (
        SafeCondition as SafeCondition,
    )
    from .safe_thread import (
        SafeCounter as SafeCounter,
    )
    from .safe_thread import (
        SafeDict as SafeDict,
    )
    from .safe_thread import (
        SafeFuture as SafeFuture,
    )
    from .safe_thread import (
        SafeLock as SafeLock,
    )
    from .safe_thread import (
        SafeQueue as SafeQueue,
    )
    from .safe_thread import (
        SafeRLock as SafeRLock,
    )
    from .safe_thread import (
        SafeThread as SafeThread,
    )
    from .safe_thread import (
        SafeThreadPool as SafeThreadPool,
    )
    from .safe_thread import (
        ShutDown as ShutDown,
    )
    from .safe_thread import (
        cancel_requested as cancel_requested,
    )
    from .safe_thread import (
        check_cancelled as check_cancelled,
    )
    from .safe_thread import (
        create_safe_shared_data as create_safe_shared_data,
    )
    from .safe_thread import (
        current_future as current_future,
    )
    from .safe_thread import (
        safe_parallel_map as safe_parallel_map,
    )
    from .safe_thread import (
        safe_parallel_map_async as safe_parallel_map_async,
    )
    from .safe_thread import (
        safe_thread_decorator as safe_thread_decorator,
    )
    from .safe_thread import (
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
