"""Pools whose workers are interpreters with a GIL of their own: the main interpreter's side.

Imports little itself: the first interpreters of a pool are on their way while the rest is imported.
"""

from __future__ import annotations
import __future__

import marshal
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from . import _frozen_start, _native, _runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._runs import Send
    from .future import SafeFuture

__all__ = ["open_pool", "runs", "sender"]

# CPython's own modules that harm the process when a worker initialises them first: by static types that the first
# interpreter to come along fills in (3.12.1 aborts, 3.13.0 frees what another interpreter has allocated). A worker that
# wants one that is a file asks, as for all files, and it is loaded here first (_environment.answer). For what is built
# into Python nobody asks.
_PRELOADED = ("_datetime", "_decimal", "_zoneinfo", "_ctypes", "pyexpat", "_elementtree")

_lock = _runtime.make_lock()
_preloaded = False  # guarded by _lock
_ready = False  # likewise

# What a worker begins with, but for what is frozen or built in.
_MODULES = (
    "__init__",
    "_homes",
    "_initial_state",
    "_messages",
    "_rebuild",
    "_version",
    "_wire",
    "_worker",
    "_worker_calls",
    "_worker_guard",
    "_worker_main",
    "_worker_output",
    "_worker_site",
)

# Run in a new interpreter, with ``path`` and ``found``: imports without looking for files, which takes half of the time
# that importing from bytecode files does.
_BOOTSTRAP = """
import sys
from _frozen_importlib_external import SourceFileLoader, spec_from_file_location
from marshal import loads
path, native, modules = loads(state)
sys.path[:] = path

class Finder:
    loaders = []

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "pyferris._native":
            return spec_from_file_location(name, native)
        found = modules.get(name)
        if found is None:
            return None
        file, code, places = found
        loader = SourceFileLoader(name, file)
        loader.get_code = lambda name: loads(code)
        Finder.loaders.append(loader)
        return spec_from_file_location(name, file, loader=loader, submodule_search_locations=places)

sys.meta_path.insert(0, Finder)
import pyferris._worker_main as worker
sys.meta_path.remove(Finder)
for loader in Finder.loaders:
    del loader.get_code
"""


def preload() -> None:
    """Import what has to be in the main interpreter before the first worker interpreter is made. Any thread of it."""
    global _preloaded
    with _lock:
        if _preloaded:
            return
        for name in set(sys.builtin_module_names) & set(_PRELOADED):
            try:
                __import__(name)
            except ImportError:  # left out of this build
                continue
        _native.keep_memory_at_exit()
        _frozen_start.set_up()
        _preloaded = True


def _prepare() -> None:
    """Once: what native code needs of Python's."""
    global _ready
    from . import _environment, _shipping, _wire

    with _lock:
        if _ready:
            return
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
        path = [each for each in sys.path if type(each) is str]
        state = marshal.dumps((path, _native.__file__, _bytecode()))
        _native.set_interpreter_bootstrap(_BOOTSTRAP, state)
        _ready = True


def _bytecode() -> dict[str, tuple[str, bytes, list[str] | None]]:
    """Of each of ``_MODULES`` and ``__future__``: its file, code as marshal has it, where a package's modules are.

    Without those that have no bytecode file which is of the file as it is: workers look for these themselves.
    """
    found: dict[str, tuple[str, bytes, list[str] | None]] = {}
    for spec, modules in (__spec__, _MODULES), (__future__.__spec__, ("__future__",)):
        if spec.origin is None or spec.cached is None:
            continue  # in an archive, or frozen
        own = spec.name.rpartition(".")[2]
        before, _, after = spec.cached.rpartition(own)
        for module in modules:
            file = os.path.join(os.path.dirname(spec.origin), module + ".py")
            code = _frozen_start.read_code(file, before + module + after)
            if code is None:
                continue
            if module == "__init__":
                found["pyferris"] = file, code, list(sys.modules["pyferris"].__path__)
            else:
                found[spec.name.removesuffix(own) + module] = file, code, None
    return found


def _environment_of_pool() -> bytes:
    from . import _environment

    _prepare()
    return _environment.capture()


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
    preload()
    prefix = prefix.replace("\0", "?").encode(errors="replace").decode()  # of threads that the system names
    _native.open_interpreters(
        pool, max_workers, prefix, _environment_of_pool, initializer, initargs, daemon, threading.stack_size()
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
