"""The life of a worker interpreter between two pools: ``enter``, calls with ``flush`` after each, ``leave``.

Native code calls these in the worker interpreter, on the worker's thread. The first ``enter`` takes the state that each
``leave`` brings back, so what every pool needs must have been imported by then. User code of one pool must find nothing
of another's: not a module, not a patched attribute, not a running thread.
"""

from __future__ import annotations

import gc
import io
import marshal
import sys

from . import _native, _worker_guard, _worker_output, _worker_site
from ._homes import SYSTEM

TYPE_CHECKING = False  # typing is not imported in a worker
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Send = Callable[[int, bytes], object]

__all__ = ["end", "enter", "flush", "leave"]

_PRIVATE = ("pyferris._worker", "pyferris._native", "_frozen_importlib", "sys.monitoring")
_THREADS_END = 0.25  # seconds that threads of user code get to end by themselves

_baseline: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {}  # module, its namespace, copies of its containers
_settings: tuple[Any, ...] = ()
_froze = False  # user code has frozen objects, or thawed those of the baseline
_send: Send | None = None
_outputs: tuple[_Output, ...] = ()  # the streams of this pool
_said = False  # something went home since the last flush
_buffered = False  # native code knows that a flush is due


def enter(environment: bytes, send: Send, request: Callable[[int, bytes, float], bytes] | None = None) -> None:
    """Take over the environment of the pool's maker. ``send(kind, payload)`` goes home; kind 0 asks for a ``flush``.

    ``request(kind, payload, timeout)`` waits for the main interpreter's answer; without it a worker loads only those
    extension modules that the main interpreter had loaded when the environment was captured.
    """
    global _send, _settings, _outputs
    state = marshal.loads(environment)
    if not _baseline:
        _worker_site.install()
        _worker_guard.install()
        _settings = _current_settings()
        _note_freezing()
        _take_baseline()
        _freeze()  # the collector need not look at what stays
    _send = send
    _worker_output.hear_nothing()
    _worker_guard.allow(state["extensions"], state["library"], request)
    _worker_site.enter(state["prefixes"], state["finds_distutils"])
    sys.path[:] = state["path"]
    sys.argv = list(state["argv"])
    sys.dont_write_bytecode = state["dont_write_bytecode"]
    sys.setrecursionlimit(state["recursion_limit"])
    sys.set_int_max_str_digits(state["max_str_digits"])
    _set_environ(state["environ"])
    sys.stdin = io.StringIO()  # the process's is the main interpreter's to read
    _outputs = (_Output(1, state["stdout"], _tell), _Output(2, state["stderr"], _tell))
    sys.stdout, sys.stderr = _outputs
    filters = [_filter(entry) for entry in state["filters"]]
    _set_filters(filters)
    _worker_guard.when_imported("warnings", lambda module: _set_up_warnings(module, filters))
    _worker_guard.when_imported(
        "logging",
        lambda module: _worker_output.set_up_logging(module, state["log_levels"], state["log_disable"], _tell),
    )


def flush() -> bool:
    """Send what is buffered. Return whether anything was sent since the last flush. After each call that asked."""
    global _said, _buffered
    _buffered = False
    for stream in _outputs:
        stream.flush()
    said, _said = _said, False
    return said


def leave() -> bool:
    """Bring the interpreter back to what it was before the first pool. False if it must not be used again.

    User code runs in here: exit functions and destructors.
    """
    global _send, _outputs
    try:
        usable = _clean()
        flush()
    except BaseException:
        usable = False
    _send = None
    _outputs = ()
    return usable


def end() -> None:
    """Let the interpreter end: it frees what the collector can see."""
    gc.unfreeze()


def _tell(kind: int, payload: bytes) -> None:
    global _said
    if _send is not None:
        _said = True
        _send(kind, payload)


class _Output(_worker_output.TextOutput):
    """One that lets native code know when text has begun to wait."""

    def write(self, text: str, /) -> int:
        global _buffered
        length = super().write(text)
        if self._parts and not _buffered and _send is not None:
            _buffered = True
            _send(0, b"")
        return length


def _set_environ(environ: dict[str, str]) -> None:
    of_system: Any = SYSTEM.environ  # what os makes its own of
    of_system.clear()
    if SYSTEM.__name__ == "nt":
        of_system.update(environ)
    else:
        encoding, errors = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
        of_system.update(
            (name.encode(encoding, errors), value.encode(encoding, errors)) for name, value in environ.items()
        )
    os: Any = sys.modules.get("os")
    if os is not None:
        os.environ.clear()
        os.environ.update(environ)


# --- warnings


class _Pattern:
    """A filter's pattern: ``re`` is imported when there is a warning to match."""

    def __init__(self, pattern: str, flags: int) -> None:
        self._source = (pattern, flags)

    def match(self, text: str) -> object:
        import re

        return re.compile(*self._source).match(text)


def _filter(entry: tuple[Any, ...]) -> tuple[Any, ...]:
    action, message, category, module, line = entry
    return action, _matcher(message), getattr(sys.modules["builtins"], category), _matcher(module), line


def _matcher(part: Any) -> Any:
    return part if part is None or isinstance(part, str) else _Pattern(*part)


def _set_filters(filters: list[tuple[Any, ...]]) -> None:
    import _warnings

    module: Any = _warnings  # its names differ between versions
    if hasattr(module, "filters"):
        module.filters[:] = filters
    for changed in ("_filters_mutated", "_filters_mutated_lock_held"):
        if hasattr(module, changed):
            try:
                getattr(module, changed)()
            except RuntimeError:  # wants the lock that warnings.py takes
                lock = getattr(module, "_acquire_lock", None)
                if lock is not None:
                    lock()
                    getattr(module, changed)()
                    module._release_lock()


def _set_up_warnings(warnings: Any, filters: list[tuple[Any, ...]]) -> None:
    warnings.filters[:] = filters  # importing it has put some before them
    _set_filters(filters)
    warnings._showwarnmsg_impl = _show_warning


def _show_warning(message: Any) -> None:
    _worker_output.send_warning(_tell, message)


# --- the way back


def _is_private(name: str) -> bool:
    return name.startswith(_PRIVATE)


_freeze = gc.freeze


def _note_freezing() -> None:
    def noting(original: Callable[[], None]) -> Callable[[], None]:
        def call() -> None:
            global _froze
            _froze = True
            original()

        call.__name__, call.__qualname__, call.__doc__ = original.__name__, original.__name__, original.__doc__
        return call

    gc.freeze, gc.unfreeze = noting(gc.freeze), noting(gc.unfreeze)


def _take_baseline() -> None:
    for name, module in list(sys.modules.items()):
        _keep(name, module)


def _keep(name: str, module: Any) -> None:
    """Note what ``module`` is like now, for ``leave``."""
    namespace: dict[str, Any] = {} if _is_private(name) else dict(module.__dict__)
    containers = _native.copy_containers(namespace)
    containers.pop("__builtins__", None)  # the namespace of builtins, which is there by itself
    if name == "sys":
        del containers["modules"]
    _baseline[name] = (module, namespace, containers)


def _keep_os() -> None:
    """Import ``os`` for all pools to come, as it is imported by so much, now that nothing of a pool's is left."""
    __import__("os")
    for name, module in list(sys.modules.items()):
        if name not in _baseline:
            _keep(name, module)


def _current_settings() -> tuple[Any, ...]:
    return sys.getrecursionlimit(), sys.get_int_max_str_digits(), sys.getswitchinterval(), gc.get_threshold()


def _clean() -> bool:
    global _froze
    sys.settrace(None)
    sys.setprofile(None)
    _stop_monitoring()
    threads_ended = _end_threads()
    if "atexit" in sys.modules:
        sys.modules["atexit"]._run_exitfuncs()
    flush()
    tracing = sys.modules.get("tracemalloc")
    if tracing is not None and tracing.is_tracing():
        tracing.stop()
    _worker_guard.forget_codecs()
    needs_os = "os" in sys.modules and "os" not in _baseline
    dropped = _restore_modules()
    if _outputs:
        sys.stdout, sys.stderr = _outputs  # for destructors
    limit, digits, interval, thresholds = _settings
    sys.setrecursionlimit(limit)
    sys.set_int_max_str_digits(digits)
    sys.setswitchinterval(interval)
    sys.set_asyncgen_hooks(None, None)
    sys.set_coroutine_origin_tracking_depth(0)
    gc.enable()
    if _froze:
        gc.unfreeze()
    gc.set_debug(0)
    gc.set_threshold(*thresholds)
    gc.callbacks.clear()
    gc.collect()
    if dropped:
        hook, sys.unraisablehook = sys.unraisablehook, _ignore
        for namespace in dropped:  # or what C code refers to keeps whole modules, as at the end of an interpreter
            namespace.clear()
        gc.collect()
        sys.unraisablehook = hook
    if needs_os:
        _keep_os()
        _froze = True
    if _froze:
        _freeze()
        _froze = False
    lasting = _worker_guard.foreign_extensions or _worker_guard.lasting
    return threads_ended and not _running_threads() and not lasting and not gc.garbage


def _ignore(_unraisable: object) -> None:
    """A destructor that misses its module's globals has nothing to say."""


def _restore_modules() -> list[dict[str, Any]]:
    """Put ``sys.modules`` and the namespaces of what was there back. Return those of the modules that went."""
    dropped: list[dict[str, Any]] = []
    kept = {id(module) for module, _, _ in _baseline.values()}
    for name, module in list(sys.modules.items()):
        if name not in _baseline and not _is_private(name):
            del sys.modules[name]
            # Some have two names: collections.abc is _collections_abc.
            if isinstance(module, type(sys)) and id(module) not in kept and not _is_extension(module):
                dropped.append(module.__dict__)
    for name, (module, namespace, containers) in _baseline.items():
        sys.modules[name] = module
        if _is_private(name):
            continue
        current: dict[str, Any] = module.__dict__
        if not _native.same_values(current, namespace):
            for key in [key for key in current if key not in namespace]:
                del current[key]
            for key, value in namespace.items():
                if current.get(key, dropped) is not value:
                    current[key] = value
        for key, copy in containers.items():
            _refill(namespace[key], copy)
    return dropped


def _is_extension(module: Any) -> bool:
    namespace: dict[str, Any] = module.__dict__
    file = namespace.get("__file__")
    return file is None or not str(file).endswith((".py", ".pyc"))


def _refill(container: Any, copy: Any) -> None:
    kind: object = container.__class__
    if kind is list:
        container[:] = copy
    elif kind is set or not _native.same_values(container, copy):
        container.clear()
        container.update(copy)


def _stop_monitoring() -> None:
    monitoring: Any = vars(sys).get("monitoring")
    for tool in range(6):
        if monitoring.get_tool(tool) is not None:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)


def _running_threads() -> int:
    thread: Any = sys.modules.get("_thread")
    return 0 if thread is None else thread._count()


def _end_threads() -> bool:
    """Let the threads that user code has started end. False if some go on."""
    if not _running_threads():
        return True
    pools: Any = sys.modules.get("concurrent.futures.thread")
    if pools is not None:  # executors that nobody has shut down: their idle threads end as at exit
        pools._shutdown = True
        for queue in list(pools._threads_queues.values()):
            queue.put(None)
    loops: Any = sys.modules.get("pyferris._coroutines")
    if loops is not None:
        loops.CoroutineRunner.begin_to_close_all()
    from time import monotonic, sleep

    deadline = monotonic() + _THREADS_END
    while _running_threads():
        if monotonic() > deadline:
            return False
        sleep(0.001)
    return True
