"""What ``site`` does that a worker does without until it is used: the worker's side of ``_frozen_start``.

Where a module has to be imported before another can be, the other's loader does it, not its finder: finders are called
with the lock of all imports held.
"""

from __future__ import annotations

import builtins
import sys
from _frozen_importlib import ModuleSpec

TYPE_CHECKING = False  # typing is not imported in a worker
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["enter", "find_spec", "install"]

_CUSTOM = ("sitecustomize", "usercustomize")

_absent = False  # site is not imported, and was replaced by the short one
_finds_distutils = False
_loading = False


class _Builtin:
    """``exit`` and the like, which ``site`` adds to the built-in names."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return repr(self._real())

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._real()(*args, **options)

    def _real(self) -> Any:
        _load_site()
        return getattr(builtins, self._name)


def install() -> None:
    """Drop the short ``site``, if that is what this interpreter has. Once, before user code runs."""
    global _absent
    site = sys.modules.get("site")
    if site is None or hasattr(site, "main"):
        return
    del sys.modules["site"]
    _absent = True
    for name in ("copyright", "credits", "exit", "help", "license", "quit"):
        setattr(builtins, name, _Builtin(name))


def enter(prefixes: tuple[str, str], finds_distutils: bool) -> None:
    """Take over what ``site`` has found out in the main interpreter: prefixes, and whether it finds distutils."""
    global _finds_distutils
    sys.prefix, sys.exec_prefix = prefixes
    _finds_distutils = finds_distutils


def find_spec(name: str) -> ModuleSpec | None:
    """Where the module itself must not be the first of those that it imports, and this is the first of them."""
    if name == "genericpath":
        before = None if "os" in sys.modules else _load_os
    elif name == "site" or (name == "distutils" and _finds_distutils):
        before = _load_site if _absent and not _loading and "site" not in sys.modules else None
    else:
        before = None
    if before is None:
        return None
    loader: Any = _After(before)
    return ModuleSpec(name, loader)


class _After:
    """Loads a module by importing it once more, after something else."""

    def __init__(self, before: Callable[[], None]) -> None:
        self._before = before
        self._spec: Any = None

    def create_module(self, spec: ModuleSpec) -> Any:
        self._before()
        __import__(spec.name)
        module = sys.modules[spec.name]
        self._spec = module.__spec__
        return module

    def exec_module(self, module: Any) -> None:
        module.__spec__ = self._spec


def _load_os() -> None:
    __import__("os")


def _load_site() -> None:
    """Import ``site`` as if it had been the first: with no paths but its own to find things on."""
    global _loading
    path = sys.path[:]
    hidden = [name for name in _CUSTOM if name not in sys.modules]
    for name in hidden:  # that of a directory which has come since
        sys.modules[name] = None  # type: ignore[assignment]
    _loading = True
    try:
        __import__("site")
    finally:
        _loading = False
        sys.path[:] = path
        for name in hidden:
            sys.modules.pop(name, None)
    cache = sys.path_importer_cache
    for each in [each for each, finder in list(cache.items()) if finder is None]:
        del cache[each]  # it may have added hooks
