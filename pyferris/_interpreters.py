"""Pools whose workers are interpreters with a GIL of their own: the main interpreter's side.

Imports little itself: the first interpreters of a pool are on their way while the rest is imported.
"""

from __future__ import annotations

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

# What a worker begins with, each after those that it imports, but for what is frozen or built in.
_MODULES = (
    "_version",
    "__init__",
    "_native",
    "_homes",
    "_rebuild",
    "_wire",
    "_initial_state",
    "_messages",
    "_worker_site",
    "_worker_guard",
    "_worker_output",
    "_plain",
    "_library",
    "_auto_worker",
    "_worker",
    "_worker_calls",
    "_worker_main",
)

# Run in a new interpreter, with ``state``: makes the modules from their code, as the import system would, which takes
# a third of the time, and without looking for files. Without code the import system does look for them.
_BOOTSTRAP = """
import sys
from _frozen_importlib import ModuleSpec, _load
from _frozen_importlib_external import SourceFileLoader, spec_from_file_location
from marshal import loads
path, native, modules = loads(state)
sys.path[:] = path

class Features:  # what the modules import of __future__; nothing of it is used
    annotations = None

sys.modules["__future__"] = Features
for name, found in modules.items():
    if name in sys.modules:
        continue
    if found is None:
        _load(spec_from_file_location(name, native))
        continue
    file, cached, code, places = found
    spec = ModuleSpec(name, SourceFileLoader(name, file), origin=file)
    spec.submodule_search_locations, spec.cached, spec._set_fileattr = places, cached, True
    module = sys.modules[name] = type(sys)(name)
    if places is not None:
        module.__path__ = places
    module.__spec__, module.__loader__, module.__package__ = spec, spec.loader, spec.parent
    module.__file__, module.__cached__ = file, cached
    exec(loads(code), module.__dict__)
for name in modules:
    package, _, own = name.rpartition(".")
    if package:
        setattr(sys.modules[package], own, sys.modules[name])
if not modules:
    import pyferris
    pyferris._native = _load(spec_from_file_location("pyferris._native", native))
import pyferris._worker_main as worker
del sys.modules["__future__"]
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


def _bytecode() -> dict[str, tuple[str, str, bytes, list[str] | None] | None]:
    """Of each of ``_MODULES``: its file, that of its bytecode, code as marshal has it, where a package's modules are.

    Empty where one has no bytecode file that is of the file as it is: workers then look for all of them themselves.
    """
    found: dict[str, tuple[str, str, bytes, list[str] | None] | None] = {}
    if __spec__.origin is None or __spec__.cached is None:
        return found  # in an archive, or frozen
    own = __spec__.name.rpartition(".")[2]
    before, _, after = __spec__.cached.rpartition(own)
    for module in _MODULES:
        name = "pyferris" if module == "__init__" else f"pyferris.{module}"
        if module == "_native":
            found[name] = None
            continue
        file, cached = os.path.join(os.path.dirname(__spec__.origin), module + ".py"), before + module + after
        code = _frozen_start.read_code(file, cached)
        if code is None:
            return {}
        found[name] = file, cached, code, list(sys.modules[name].__path__) if module == "__init__" else None
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
    early: int,
) -> None:
    """Make ``pool`` one of interpreters. Raises ``TypeError`` where the initializer cannot be shipped.

    ``early``: workers at most that begin before there is a call.
    """
    if not _native.in_main_interpreter():
        raise RuntimeError(
            "isolation='interpreter' inside an isolated call: only the main interpreter makes others; use "
            "isolation='none' there"
        )
    preload()
    prefix = prefix.replace("\0", "?").encode(errors="replace").decode()  # of threads that the system names
    _native.open_interpreters(
        pool, max_workers, prefix, _environment_of_pool, initializer, initargs, daemon, threading.stack_size(), early
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
