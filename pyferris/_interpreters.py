"""Pools whose workers are interpreters with a GIL of their own: the main interpreter's side."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from . import _environment, _native, _shipping, _wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._runs import Send
    from .future import SafeFuture

__all__ = ["open_pool", "runs", "sender"]

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


def runs(
    pool: _native.PoolCore, fn: Callable[..., Any], single: int, fail_fast: bool
) -> Callable[[list[Any]], SafeFuture[Any]]:
    """What queues the items of a run of a map as one call, whose result is that of ``call_each``."""
    shipment, output = _native.prepare_shipment(fn), _native.current_output()
    return lambda items: _native.submit_batch(pool, shipment, items, single, fail_fast, output)


def sender(pool: _native.PoolCore, fn: Callable[..., Any], single: int, fail_fast: bool) -> Send:
    """What has a worker do the items of a run, and waits. On threads of the main interpreter."""
    submit = runs(pool, fn, single, fail_fast)
    return lambda items: _native.wait_through(submit(items))
