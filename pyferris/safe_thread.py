"""Every public name of the package, in one place.

>>> from pyferris.safe_thread import SafeThreadPool
>>> with SafeThreadPool(2) as pool:
...     pool.submit(sum, [1, 2, 3]).result()
6
"""

from . import _runtime as _runtime
from .decorator import safe_thread_decorator
from .errors import BrokenPool, CallCancelled, PoolClosed, PyferrisError, ShutDown
from .future import SafeFuture, cancel_requested, check_cancelled, current_future, sleep
from .locks import SafeCondition, SafeLock, SafeRLock
from .map_report import ExplainedList, MapReport
from .map_result import MapResult
from .parallel_map import safe_parallel_map, safe_parallel_map_async
from .queue import SafeQueue
from .shared_data import SafeArray, SafeCounter, SafeDict, create_safe_shared_data
from .thread import SafeThread
from .thread_pool import SafeThreadPool

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
    "cancel_requested",
    "check_cancelled",
    "create_safe_shared_data",
    "current_future",
    "safe_parallel_map",
    "safe_parallel_map_async",
    "safe_thread_decorator",
    "sleep",
]
