"""The package's own errors."""

import concurrent.futures.thread
import sys

from ._native import CallCancelled

__all__ = ["BrokenPool", "CallCancelled", "PoolClosed", "PyferrisError", "ShutDown"]


class PyferrisError(Exception):
    """The root of the package's own errors."""


class PoolClosed(PyferrisError, RuntimeError):
    """Something was submitted to a pool that was shut down."""


class BrokenPool(PyferrisError, concurrent.futures.thread.BrokenThreadPool):
    """A pool cannot run calls any more, or a call was lost with its worker."""


if sys.version_info >= (3, 13):
    from queue import ShutDown
else:

    class ShutDown(Exception):
        """A queue was closed and has nothing left; ``queue.ShutDown`` from Python 3.13 on."""
