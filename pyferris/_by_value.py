"""Pickles functions, classes and modules of the application by value; all else as pickle does.

``_rebuild`` has what the pickles call. Any interpreter, any thread.
"""

from __future__ import annotations

import _pickle
import sys
from types import CellType, MappingProxyType, MethodType
from typing import TYPE_CHECKING, Any

from . import _reach, _rebuild
from ._reach import Function, Module
from ._rebuild import MISSING
from ._wire import code_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

__all__: list[str] = []

Reduced = Any  # what __reduce_ex__ may return


def dumps(value: object, what: str) -> bytes:
    try:
        return Pickler(shipping=False).bytes(value)
    except Exception as error:
        from . import _blame

        raise TypeError(_blame.explain(value, what, error)) from error


def ship(function: Callable[..., Any]) -> bytes:
    try:
        return Pickler(shipping=True).bytes(function)
    except Exception as error:
        from . import _blame

        raise TypeError(_blame.explain(function, _blame.name(function), error)) from error


class Space:
    """Stands for a namespace of the application in a pickle."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace


class Outside:
    """Stands for a module that workers import, with what its attributes must be there."""

    def __init__(self, arguments: tuple[Any, ...], patched: dict[_reach.Chain, Any]) -> None:
        self.arguments = arguments
        self.patched = patched


class Tail:
    """The end of a pickle: modules as all code before it has been found to use them."""


class Used:
    """A module that code reaches: the attributes it takes, the namespaces in which it is to be set."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.chains: set[_reach.Chain] = set()
        self.targets: dict[tuple[int, str], Space] = {}
        self.settled = False


class Pickler(_pickle.Pickler):
    """One pickle. What is reached twice is one object in the worker as well."""

    def __init__(self, shipping: bool) -> None:
        self._parts: list[Any] = [b"P"]
        super().__init__(self, 5)
        self._shipping = shipping
        self._spaces: dict[int, Space] = {}
        self._used: dict[int, Used] = {}
        self._attributes: set[str] = set()

    def write(self, part: Any) -> int:
        self._parts.append(part)
        return len(part)

    def bytes(self, value: object) -> bytes:
        self.dump((value, Tail()))
        return b"".join(self._parts)

    def reducer_override(self, thing: Any) -> Reduced:
        kind = type(thing)
        handler = HANDLERS.get(kind)
        if handler is not None:
            return handler(self, thing)
        return NotImplemented

    def space(self, namespace: dict[str, Any]) -> Space:
        found = self._spaces.get(id(namespace))
        if found is None:
            found = self._spaces[id(namespace)] = Space(namespace)
        return found

    def _space(self, space: Space) -> Reduced:
        namespace = space.namespace
        name, package = namespace.get("__name__"), namespace.get("__package__")
        origin, key = _rebuild.label_of(namespace)
        return _rebuild.space, (origin, key, str(name or "__main__"), package)

    def _function(self, function: Any) -> Reduced:
        if _reach.refer(function) is not None:
            return NotImplemented
        code, namespace = function.__code__, function.__globals__
        names = _reach.names_of(code)
        cells = function.__closure__
        spaces: list[tuple[Any, dict[str, Any], frozenset[str]]] = []
        where: Any
        if _reach.own_space(namespace):
            where = self.space(namespace)
            self._attributes |= names.attributes
            self._attributes |= names.texts
            spaces.append((where, self._globals(function, names, spaces), frozenset()))
        else:
            where = sys.modules[namespace["__name__"]]
        contents = [_content(cell) for cell in cells or ()]
        state = (
            function.__module__,
            function.__defaults__,
            function.__kwdefaults__,
            function.__dict__,
            _reach.light_annotations(function),
            contents,
            spaces,
        )
        arguments = (
            _rebuild.tokens.of(function),
            code_bytes(code),
            where,
            function.__name__,
            function.__qualname__,
            cells,
        )
        return _rebuild.function, arguments, state, None, None, _rebuild.fill_function

    def _globals(
        self, function: Any, names: _reach.Names, spaces: list[tuple[Any, dict[str, Any], frozenset[str]]]
    ) -> dict[str, Any]:
        from ._shipping import is_original_builtin

        namespace = function.__globals__
        here = self.space(namespace)
        values: dict[str, Any] = {}
        for name, chains in _reach.globals_of(names, namespace).items():
            if name in ("__builtins__", "__spec__", "__loader__"):
                continue
            value = namespace.get(name, MISSING)
            if value is MISSING:
                builtin = function.__builtins__.get(name, MISSING)
                if builtin is not MISSING and not is_original_builtin(name, builtin):
                    values[name] = builtin
            elif isinstance(value, Module):
                self._use(value, chains, here, name)
            else:
                values[name] = value
        return values

    def _use(self, module: Any, chains: set[_reach.Chain], space: Space, name: str) -> None:
        used = self._used.get(id(module))
        if used is None:
            used = self._used[id(module)] = Used(module)
        if not used.chains >= chains or (id(space), name) not in used.targets:
            used.chains |= chains
            used.targets[id(space), name] = space
            used.settled = False

    def _module(self, module: Any) -> Reduced:
        """A module that is reached as a value: its attributes are taken by code that is not known."""
        if _is_outside(module):
            return _rebuild.module, (module.__name__,)
        raise TypeError(f"module {module.__name__!r} cannot be sent as a value")

    def _outside(self, outside: Outside) -> Reduced:
        return _rebuild.expected, outside.arguments, outside.patched or None, None, None, _rebuild.patch

    def _tail(self, tail: Tail) -> Reduced:
        pending = [used for used in self._used.values() if not used.settled]
        if not pending:
            return tuple, ()
        updates: list[tuple[Any, dict[str, Any], frozenset[str]]] = []
        for used in pending:
            used.settled = True
            made = self._as_used(used)
            updates.extend((space, {name: made}, frozenset()) for (_, name), space in used.targets.items())
        return _rebuild.finish, (updates, Tail())

    def _as_used(self, used: Used) -> Any:
        module, chains = used.module, set(used.chains)
        if () in chains:
            chains |= {(name,) for name in self._attributes}
        if not _is_outside(module):
            raise TypeError("own module")
        constants: dict[_reach.Chain, Any] = {}
        references: dict[_reach.Chain, tuple[str, str]] = {}
        patched: dict[_reach.Chain, Any] = {}
        for chain, _, value, verdict, what in _reach.judge_chains(module, chains - {()}):
            if verdict == _reach.CONSTANT:
                constants[chain] = what
            elif verdict == _reach.REFERRED:
                references[chain] = what
            elif verdict == _reach.PATCHED:
                patched[chain] = value
        return Outside((module.__name__, constants, references, tuple(patched)), patched)

    def _cell(self, _: Any) -> Reduced:
        return _rebuild.cell, ()

    def _method(self, method: Any) -> Reduced:
        return MethodType, (method.__func__, method.__self__)

    def _proxy(self, proxy: Any) -> Reduced:
        return MappingProxyType, (dict(proxy),)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def _is_outside(module: Any) -> bool:
    return sys.modules.get(module.__name__) is module and not _reach.is_own(module.__name__)


HANDLERS: dict[Any, Callable[[Pickler, Any], Reduced]] = {
    Function: Pickler._function,
    Module: Pickler._module,
    CellType: Pickler._cell,
    MethodType: Pickler._method,
    MappingProxyType: Pickler._proxy,
    Space: Pickler._space,
    Outside: Pickler._outside,
    Tail: Pickler._tail,
    type(MISSING): lambda _, __: "MISSING",
}
