"""What a verdict on a function was found from, and whether all of that is as it was; for ``_purity``.

To look at a function takes twenty microseconds, several times as long when nothing of it is in a cache, and each map
of it begins so. Of a verdict's grounds nothing is kept alive but what is small, or a module's.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import re
import sys
import weakref
from typing import Any

from . import _reach, _untouched
from ._homes import MISSING
from ._native import is_small_data
from ._pure_code import LOCKS

__all__: list[str] = []

MOST_DATA = 10_000  # elements in what a function keeps; to look at them takes a fiftieth of a millisecond
_DATA = frozenset({list, dict, set, bytearray})

_SMALL = frozenset({bool, type(None), type(...)})
_LONGEST = 1_000  # letters, bytes or bits that are kept


class Grounds:
    """The names that are bound to what a verdict was found from: in functions, and in modules that they use."""

    def __init__(self) -> None:
        self.sound = True
        """Whether it is all here."""
        self._functions: list[tuple[Any, Any, Any, dict[str, Any], dict[str, Any], dict[str, type]]] = []
        self._modules: list[tuple[str, Any, dict[str, Any]]] = []

    def add_function(self, function: Any, code: Any, defaults: tuple[Any, ...] | None, names: dict[str, Any]) -> None:
        """``code`` and ``defaults`` were looked at; ``names``: the globals and builtins in it, and what each is."""
        values, others, kinds = dict[str, Any](), dict[str, Any](), dict[str, type]()
        for name, value in names.items():
            if type(value) is _reach.Function or type(value) is type:
                others[name] = weakref.ref(value)
            elif _is_small(value) or type(value) in (_reach.Module, _reach.Builtin, *LOCKS):
                values[name] = value
            elif type(value) in _DATA:
                kinds[name] = type(value)
            else:
                self.sound = False
        bare = not (function.__closure__ or function.__kwdefaults__ or function.__dict__)
        if bare and all(map(_is_small, defaults or ())):
            self._functions.append((weakref.ref(function), code, defaults, values, others, kinds))
        else:
            self.sound = False

    def add_module(self, name: str, module: Any, attributes: dict[str, Any]) -> None:
        """``attributes``: those that are used."""
        self._modules.append((name, module, attributes))

    def hold(self, function: Any) -> bool:
        """Whether everything is as it was found, beginning with ``function``."""
        if self._functions[-1][0]() is not function:
            return False
        for reference, code, defaults, values, others, kinds in self._functions:
            each = reference()
            if each is None or each.__code__ is not code or each.__defaults__ is not defaults:
                return False
            if each.__kwdefaults__ or type(each.__dict__) is not dict or each.__dict__:
                return False
            if not _reach.makes_its_like(each):
                return False
            for name, value in values.items():
                now = _bound(each, name)
                if now is not value and not (_is_small(now) and _is_small(value)):  # counters and the like
                    return False
            for name, kind in kinds.items():
                now = _bound(each, name)
                if type(now) is not kind or not is_small_data(now, MOST_DATA):
                    return False
            for name, other in others.items():
                value = other()
                if value is None or _bound(each, name) is not value:
                    return False
        for name, module, attributes in self._modules:
            if type(module) is not _reach.Module or sys.modules.get(name) is not module:
                return False
            if _untouched.find_patched(name) is not None:
                return False
            for attribute, value in attributes.items():
                if module.__dict__.get(attribute, MISSING) is not value:
                    return False
        return True


def _bound(function: Any, name: str) -> Any:
    """The global or builtin that a function's code finds."""
    value = function.__globals__.get(name, MISSING)
    return function.__builtins__.get(name, MISSING) if value is MISSING else value


def _is_small(value: Any) -> bool:
    kind = type(value)
    if kind is float or kind is complex:
        return bool(value == value)  # a nan can be told from another
    if kind is int:
        size: int = value.bit_length()
        return size <= _LONGEST
    text = value.pattern if kind is re.Pattern else value
    return kind in _SMALL or (type(text) in (str, bytes) and len(text) <= _LONGEST)
