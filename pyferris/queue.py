"""A queue for threads that can be closed."""

from ._native import SafeQueue
from .errors import ShutDown

__all__ = ["SafeQueue", "ShutDown"]
