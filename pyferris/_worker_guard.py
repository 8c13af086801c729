"""What a worker interpreter must not do as the main one does, changed where the interpreter itself would do it.

Installed once in each worker interpreter, before user code runs there.
"""

from __future__ import annotations

import _codecs
import _imp
import codecs
import encodings
import marshal
import sys

from . import _worker_site
from ._homes import SYSTEM
from ._messages import EXTENSION

TYPE_CHECKING = False  # typing is not imported in a worker
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Request = Callable[[int, bytes, float], bytes]

__all__ = ["allow", "foreign_extensions", "forget_codecs", "install", "lasting", "when_imported"]

_TIME_LIMIT = 60.0  # seconds for the main interpreter to import a module that a worker asks for
# Breaks the process below 3.13, also after the main interpreter has loaded it; zoneinfo has a Python version of it.
_REFUSED = frozenset(["_zoneinfo"] if sys.version_info < (3, 13) else [])

foreign_extensions: list[str] = []  # neither Python's nor ours: loading them twice in one interpreter may fail
lasting: list[str] = []  # what was registered with the interpreter and cannot be taken back

_known: dict[str, str] = {}
_searches: list[Any] = []  # functions that look for codecs
_handlers: dict[str, Any] = {}  # names of error handlers that were registered, with those before, or None
_register: Callable[[Any], None] = _codecs.register
_register_error: Callable[[str, Any], None] = _codecs.register_error
_add_audit_hook: Callable[[Any], None] = sys.addaudithook
_request: Request | None = None
_after: dict[str, Callable[[Any], None]] = {}
_create_dynamic: Callable[..., Any] = _imp.create_dynamic
_exec_builtin: Callable[[Any], Any] = _imp.exec_builtin
_library = ""  # the directory of Python's own modules


def install() -> None:
    """Put the guards in."""
    _imp.create_dynamic = _guarded_dynamic
    _imp.exec_builtin = _guarded_exec
    if "_signal" in sys.modules:
        _guard_signal(sys.modules["_signal"])
    both: list[Any] = [SYSTEM, sys.modules.get("os", SYSTEM)]
    for module in both:  # os takes over what it finds when it is imported
        # The environment of the process is the main interpreter's; os.environ here is a copy.
        module.putenv = module.unsetenv = _nothing
        # No worker lives through a fork, and what was registered would stay for good.
        if hasattr(module, "register_at_fork"):
            module.register_at_fork = _nothing
    _codecs.register = codecs.register = _noting_register
    _codecs.register_error = codecs.register_error = _noting_register_error
    sys.addaudithook = _noting_add_audit_hook  # type: ignore[assignment]
    sys.meta_path.insert(0, _Watcher)


def allow(extensions: dict[str, str], library: str, request: Request | None) -> None:
    """Say which extension modules the main interpreter has loaded, from which files, and whom to ask for others.

    ``library``: the directory of Python's own modules, with a separator at its end.
    """
    global _library, _request
    _library = library
    _known.clear()
    _known.update(extensions)
    _request = request


def when_imported(name: str, action: Callable[[Any], None]) -> None:
    """Call ``action(module)`` each time that ``name`` has been imported, and now if it has."""
    _after[name] = action
    if name in sys.modules:
        action(sys.modules[name])


# --- extension modules: never the first to load one. Of those that are built into Python, the main interpreter has
# imported the harmful ones before.


def _guarded_dynamic(spec: Any, file: Any = None) -> Any:
    name, origin = spec.name, spec.origin
    if name in _REFUSED:
        raise ImportError(f"{name} cannot be loaded in an interpreter worker", name=name, path=origin)
    _ask_for(name, origin)
    try:
        module = _create_dynamic(spec) if file is None else _create_dynamic(spec, file)
    except ImportError as error:
        if "subinterpreter" not in str(error):
            raise
        raise ImportError(f'{error}; use isolation="process"', name=name, path=origin) from None
    if not origin.startswith(_library) or "-packages" in origin:
        foreign_extensions.append(name)
    return module


def _guarded_exec(module: Any) -> Any:
    result = _exec_builtin(module)
    if module.__name__ == "_signal":
        _guard_signal(module)
    return result


def _ask_for(name: str, origin: str) -> None:
    if _known.get(name) == origin:
        return
    if _request is None:
        problem = "the main interpreter has not loaded it"
    else:
        try:
            problem = _request(EXTENSION, marshal.dumps((name, origin)), _TIME_LIMIT).decode()
        except TimeoutError:
            problem = f"it took the main interpreter longer than {_TIME_LIMIT:g} s"
    if problem:
        raise ImportError(
            f"an interpreter worker loads the extension module {name} only after the main interpreter has: {problem}; "
            'import it there first, or use isolation="process"',
            name=name,
            path=origin,
        )
    _known[name] = origin


# --- codecs: the interpreter keeps those that were asked for, functions of modules that will be gone


def _noting_register(search_function: Any, /) -> None:
    _register(search_function)
    _searches.append(search_function)


def _noting_register_error(errors: str, handler: Any, /) -> None:
    try:
        before = codecs.lookup_error(errors)
    except LookupError:
        before = None
    _register_error(errors, handler)
    _handlers.setdefault(errors, before)


def forget_codecs() -> None:
    """Have the interpreter forget which codecs and error handlers user code has used and registered."""
    for search in _searches:
        codecs.unregister(search)
    _searches.clear()
    codecs.unregister(encodings.search_function)  # which empties the cache
    _register(encodings.search_function)
    for name, handler in _handlers.items():
        _register_error(name, _unknown_handler(name) if handler is None else handler)
    _handlers.clear()


def _unknown_handler(name: str) -> Any:
    def unknown(_error: object) -> Any:
        raise LookupError(f"unknown error handler name {name!r}")

    return unknown


def _noting_add_audit_hook(hook: Any, /) -> None:
    _add_audit_hook(hook)
    lasting.append("an audit hook")


# --- signals


def _guard_signal(module: Any) -> None:
    # The real one hands out the main interpreter's handler and counts references to it without that one's GIL.
    module.getsignal = _getsignal


def _getsignal(signalnum: int, /) -> None:
    """Return None: no handler of this interpreter."""
    if not 1 <= signalnum < 65:
        raise ValueError("signal number out of range")


def _nothing(*_arguments: Any, **_options: Any) -> None:
    """Does nothing in an interpreter worker."""


# --- modules that are set up when they are imported


class _Watcher:
    """A finder that finds nothing itself: it adds something to the loading of a few modules."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        spec: Any = _worker_site.find_spec(name)
        if spec is not None or name not in _after:
            return spec
        for finder in sys.meta_path:
            if finder is not _Watcher and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    if spec.loader is not None:
                        spec.loader = _Loader(spec.loader)
                    return spec
        return None


class _Loader:
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _after[module.__name__](module)
