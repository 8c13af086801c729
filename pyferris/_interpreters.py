"""Pools whose workers are interpreters with a GIL of their own: the main interpreter's side."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import BrokenExecutor, CancelledError
from typing import TYPE_CHECKING, Any

from . import _environment, _native, _shipping, _wire
from ._worker_calls import one_by_one
from .errors import PoolClosed

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._worker_calls import Outcome

__all__ = ["BatchRunner", "open_pool"]

_lock = threading.Lock()
_ready = False  # guarded by _lock

_BOOTSTRAP = """
import sys
sys.path[:] = {path!r}
import pyferris._worker_main as worker
"""


def _prepare() -> None:
    """Once, before the first interpreter: what native code needs, and what CPython needs for its own safety."""
    global _ready
    with _lock:
        if _ready:
            return
        _environment.preload()
        _native.install_isolation(
            ship=_shipping.ship,
            missing=_shipping.MISSING,
            dumps=_wire.dumps,
            loads=_wire.loads,
            loads_error=_wire.loads_error,
            deliver=_environment.deliver_to,
            answer=_environment.answer,
        )
        _native.set_shared_codec(_wire.dumps, _wire.loads_element)
        _native.set_interpreter_bootstrap(_BOOTSTRAP.format(path=[each for each in sys.path if type(each) is str]))
        _ready = True


def open_pool(
    pool: _native.PoolCore,
    max_workers: int,
    prefix: str,
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
    daemon: bool,
) -> None:
    """Make ``pool`` one of interpreters. Raises ``TypeError`` where the initializer cannot be shipped."""
    if not _native.in_main_interpreter():
        raise RuntimeError(
            "isolation='interpreter' inside an isolated call: only the main interpreter makes others; use "
            "isolation='none' there"
        )
    _prepare()
    environment = _environment.capture()
    prefix = prefix.replace("\0", "?").encode(errors="replace").decode()  # of threads that the system names
    _native.open_interpreters(
        pool, max_workers, prefix, environment, initializer, initargs, daemon, threading.stack_size()
    )


class BatchRunner:
    """Runs the items of one run of a map in a pool of interpreters: the function of a ``batch`` map.

    Its calls come from threads of the main interpreter, one for each worker.
    """

    def __init__(self, pool: _native.PoolCore, function: Callable[..., Any], single: bool, fail_fast: bool) -> None:
        self._pool = pool
        self._shipment = _native.prepare_shipment(function)
        self._single = single
        self._fail_fast = fail_fast
        self._output = _native.current_output()

    def __call__(self, items: list[Any]) -> Outcome:
        try:
            data, failures, took = _native.wait_through(self._submit(items))
        except (PoolClosed, BrokenExecutor, CancelledError, MemoryError):
            raise
        except Exception as error:  # one of them cannot travel: none was called
            if len(items) == 1:
                return [None], {0: error}, 0
            return one_by_one(self, items, self._fail_fast)
        results: list[Any] = _wire.loads(data)
        if failures is None:
            return results, None, took
        return (
            results + [None] * (len(items) - len(results)),
            {place: _wire.loads_error(error) for place, error in failures.items()},
            took,
        )

    def _submit(self, items: list[Any]) -> Any:
        return _native.submit_batch(self._pool, self._shipment, items, self._single, self._fail_fast, self._output)
