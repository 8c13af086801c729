"""The main interpreter's side of a worker's environment: what travels to it, and what comes home.

``capture`` is called when a pool or a map begins, on the caller's thread. ``deliver`` and ``answer`` are called by the
notifier thread, attached.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import sys
from _frozen_importlib_external import ExtensionFileLoader
from types import ModuleType
from typing import TYPE_CHECKING, Any

from . import _frozen_start
from ._messages import EXTENSION, LOG, STDERR, STDERR_BYTES, STDOUT, STDOUT_BYTES, WARNING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["answer", "capture", "deliver", "deliver_to"]

_loaded: tuple[int, dict[str, str]] = (0, {})  # len(sys.modules) at the last look, and what was found


# --- what travels


def capture() -> bytes:
    """Return what a worker needs to know of this interpreter, for ``_worker.enter``."""
    logging = sys.modules.get("logging")
    return marshal.dumps(
        {
            "prefixes": (sys.prefix, sys.exec_prefix),
            "library": os.path.dirname(os.__file__) + os.sep,
            "finds_distutils": _frozen_start.finds_distutils,
            "path": [entry for entry in sys.path if type(entry) is str],
            "argv": [str(argument) for argument in getattr(sys, "argv", ())],
            "environ": dict(os.environ),
            "filters": _filters(),
            "recursion_limit": sys.getrecursionlimit(),
            "max_str_digits": sys.get_int_max_str_digits(),
            "dont_write_bytecode": sys.dont_write_bytecode,
            "log_levels": None if logging is None else _log_levels(logging),
            "log_disable": 0 if logging is None else int(logging.root.manager.disable),
            "stdout": _facts(sys.stdout),
            "stderr": _facts(sys.stderr),
            "extensions": _extensions(),
        }
    )


def _filters() -> list[tuple[object, ...]]:
    """The warnings filters, patterns and categories as text. A category that is no built-in stays here."""
    import warnings

    filters: list[tuple[object, ...]] = []
    entries: list[tuple[Any, ...]] = list(warnings.filters)
    for action, message, category, module, line in entries:
        if category.__module__ == "builtins":
            filters.append((action, _pattern(message), category.__name__, _pattern(module), line))
    return filters


def _pattern(pattern: Any) -> object:
    return pattern if pattern is None or type(pattern) is str else (pattern.pattern, pattern.flags)


def _log_levels(logging: Any) -> dict[str, int]:
    """The level of each logger that has one of its own; a disabled one lets nothing through. The root's name is ''."""
    levels = {"": int(logging.root.level)}
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if getattr(logger, "disabled", False):
            levels[name] = sys.maxsize
        elif level := getattr(logger, "level", 0):  # a placeholder has none
            levels[name] = int(level)
    return levels


def _facts(stream: Any) -> tuple[str | None, str, bool, bool]:
    """A stream's encoding and errors, whether it is a terminal, and whether a line goes out as soon as it is whole."""
    encoding = getattr(stream, "encoding", None)
    errors = getattr(stream, "errors", None)
    try:
        terminal = bool(stream.isatty())
    except Exception:  # closed, or no such method
        terminal = False
    return (
        encoding if type(encoding) is str else None,
        errors if type(errors) is str else "strict",
        terminal,
        bool(getattr(stream, "line_buffering", True)),
    )


def _extensions() -> dict[str, str]:
    """The extension modules that this interpreter has loaded, with their files: a worker may load them unasked."""
    global _loaded
    count, found = _loaded
    if count != len(sys.modules):
        found = dict(_found_extensions(list(sys.modules.items())))
        _loaded = (len(sys.modules), found)
    return found


def _found_extensions(modules: Iterable[tuple[str, object]]) -> Iterable[tuple[str, str]]:
    for name, module in modules:
        if isinstance(module, ModuleType):
            # Not getattr: a lazy module would be loaded by it.
            spec = object.__getattribute__(module, "__dict__").get("__spec__")
            origin = getattr(spec, "origin", None)
            if type(origin) is str and isinstance(getattr(spec, "loader", None), ExtensionFileLoader):
                yield name, origin


# --- what comes home


def deliver(kind: int, payload: bytes, stdout: Any, stderr: Any) -> None:
    """Do here what a worker has said: print, log, warn. Nothing that goes wrong in it is raised."""
    with contextlib.suppress(BaseException):
        if kind in (STDOUT, STDERR):
            _write(stdout if kind == STDOUT else stderr, payload.decode("utf-8", "surrogatepass"))
        elif kind in (STDOUT_BYTES, STDERR_BYTES):
            _write_bytes(stdout if kind == STDOUT_BYTES else stderr, payload)
        elif kind == LOG:
            _log(payload)
        elif kind == WARNING:
            _warn(payload)


def deliver_to(kind: int, payload: bytes, output: Any, context: Any) -> None:
    """``deliver`` to ``output``, a pair of streams, in a copy of the submitter's context. ``None``: this one's."""
    stdout, stderr = (sys.stdout, sys.stderr) if output is None else output
    if context is None:
        deliver(kind, payload, stdout, stderr)
    else:
        context.copy().run(deliver, kind, payload, stdout, stderr)


def _write(stream: Any, text: str) -> None:
    if stream is not None:
        stream.write(text)
        stream.flush()


def _write_bytes(stream: Any, data: bytes) -> None:
    buffer = getattr(stream, "buffer", None)
    if buffer is None:
        _write(stream, data.decode("utf-8", "replace"))
    else:
        stream.flush()
        buffer.write(data)
        buffer.flush()


def _log(payload: bytes) -> None:
    import logging
    import pickle

    attributes, pickled = marshal.loads(payload)
    for name, data in pickled.items():
        try:
            attributes[name] = pickle.loads(data)
        except Exception as error:  # a class that only the worker has
            attributes[name] = f"<{name} could not be read: {error!r}>"
    logger = logging.getLogger(attributes["name"])
    if logger.isEnabledFor(attributes["levelno"]):
        logger.handle(logging.makeLogRecord(attributes))


def _warn(payload: bytes) -> None:
    import warnings

    text, module, name, filename, lineno, line, bases = marshal.loads(payload)
    category: Any = getattr(sys.modules.get(module), name, None)
    if not (isinstance(category, type) and issubclass(category, Warning)):
        category = next(builtin for base in bases if (builtin := getattr(sys.modules["builtins"], base, None)))
    warnings.showwarning(category(text), category, filename, lineno, None, line)


# --- what a worker asks for


def answer(kind: int, payload: bytes) -> bytes:
    """Do what a worker waits for. The answer to EXTENSION is empty, or says why the module is not loaded here."""
    if kind != EXTENSION:
        return b"no such request"
    name, origin = marshal.loads(payload)
    try:
        problem = _load(name, origin)
    except BaseException as error:
        problem = f"{type(error).__name__}: {error}"
    return problem.encode("utf-8", "replace")


def _load(name: str, origin: str) -> str:
    """Import ``name`` here, as any import statement would, so that a worker is not the first to load its file."""
    import importlib

    importlib.import_module(name)
    found = dict(_found_extensions([(name, sys.modules.get(name))])).get(name)
    if found is None:
        return f"{name} is something else in the main interpreter"
    if found != origin and os.path.realpath(found) != os.path.realpath(origin):
        return f"the main interpreter has loaded {name} from {found}, not from {origin}"
    return ""
