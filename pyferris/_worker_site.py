"""What ``site`` does that a worker does without until it is needed: the worker's side of ``_frozen_start``."""

from __future__ import annotations

import builtins
import sys

TYPE_CHECKING = False  # typing is not imported in a worker
if TYPE_CHECKING:
    from typing import Any

__all__ = ["enter", "install", "note_import"]

_absent = False  # site is not imported, and was replaced by the short one
_by_imports = False


class _Builtin:
    """``exit`` and the like, which ``site`` adds to the built-in names."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return repr(self._real())

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._real()(*args, **options)

    def _real(self) -> Any:
        load()
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


def enter(prefixes: tuple[str, str], by_imports: bool) -> None:
    """Take over the main interpreter's prefixes, which ``site`` finds out. ``by_imports``: a finder may be missing."""
    global _by_imports
    sys.prefix, sys.exec_prefix = prefixes
    _by_imports = _absent and by_imports


def note_import(name: str) -> bool:
    """Whether ``site`` had to be loaded first, as a finder that it adds may be the one for ``name``."""
    global _by_imports
    if not _absent or "site" in sys.modules:
        return False
    top = name.partition(".")[0]
    if top != "distutils" and not (_by_imports and top not in sys.stdlib_module_names):
        return False
    _by_imports = False
    load()
    return True


def load() -> None:
    """Import ``site``."""
    path = sys.path[:]
    __import__("site")
    sys.path[:] = path
