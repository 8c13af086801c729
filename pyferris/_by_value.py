"""Pickles functions, classes and modules of the application by value; all else as pickle does.

``_rebuild`` has what the pickles call. Any interpreter, any thread.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false
from __future__ import annotations

import _pickle
import sys
from types import CellType, MappingProxyType, MethodType
from typing import TYPE_CHECKING, Any

from . import _homes, _reach, _rebuild
from ._homes import MISSING
from ._native import seal
from ._reach import Function, Module, is_a
from ._wire import code_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

__all__: list[str] = []

Reduced = Any  # what __reduce_ex__ may return
Update = tuple[Any, dict[str, Any], tuple[str, ...]]
_DUNDERS = frozenset({"__builtins__", "__spec__", "__loader__", "__name__", "__package__", "__cached__"})
_ordinary: set[type] = set()  # types whose instances are pickled as pickle does; built-in ones


def dumps(value: object, what: str, *, result: bool = False) -> bytes:
    return _bytes(Pickler(shipping=False, result=result), value, what)


def ship(function: Callable[..., Any]) -> bytes:
    from . import _blame

    return _bytes(Pickler(shipping=True), function, _blame.name(function))


def _bytes(pickler: Pickler, value: object, what: str) -> bytes:
    try:
        return pickler.bytes(value)
    except Exception as error:  # user code is called here
        from . import _blame

        raise TypeError(_blame.explain(value, what, error)) from error


def make_ordinary(kind: type) -> None:
    """Instances of this built-in type are pickled as pickle does, without a look."""
    _ordinary.add(kind)


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
        self.targets: dict[tuple[int, str], Any] = {}
        self.settled = False


class Writer:
    """The file of a pickler: large bytes are copied once, when all is joined."""

    __slots__ = ("parts", "write")

    def __init__(self) -> None:
        self.parts: list[Any] = []
        self.write = self.parts.append


class Pickler(_pickle.Pickler):
    """One pickle. What is reached twice is one object in the worker as well."""

    def __init__(self, shipping: bool, result: bool = False) -> None:
        self._writer = Writer()
        super().__init__(self._writer, 5)
        self.shipping = shipping
        self.result = result  # goes to where what has been shipped here is from
        self._spaces: dict[int, Space] = {}
        self._used: dict[int, Used] = {}
        self._attributes: set[str] = set()
        self._settled: set[str] = set()  # those that modules have been searched for

    def bytes(self, value: object) -> bytes:
        self.dump((value, Tail()))
        return seal(b"P", *self._writer.parts)

    def reducer_override(self, thing: Any) -> Reduced:
        kind = type(thing)
        handler = HANDLERS.get(kind)
        if handler is not None:
            return handler(self, thing)
        if kind in _ordinary:
            return NotImplemented
        from . import _reducers

        return _reducers.reduce(self, thing)

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

    def referred(self, thing: Any) -> Reduced | None:
        """How workers find it by its name; None if they do not."""
        where = _reach.refer(thing)
        if where is None:
            return None
        by_pickle = where == (thing.__module__, thing.__qualname__) and _reach.find(*where) is thing
        return NotImplemented if by_pickle else (_rebuild.reference, where)

    def shipped_here(self, thing: Any) -> Reduced | None:
        """How a copy goes back to where its original is."""
        token = _homes.tokens.peek(thing) if self.result else None
        if token is None or token >> 40 == _homes.ORIGIN or "<locals>" in thing.__qualname__:
            return None
        return _rebuild.known, (token, f"{thing.__module__}.{thing.__qualname__}")

    def known_there(self, thing: Any) -> Reduced | None:
        """How it is found where the pickle goes, by its name or as the original of a copy; None if it has to travel."""
        known = self.referred(thing)
        return self.shipped_here(thing) if known is None else known

    def _function(self, function: Any) -> Reduced:
        known = self.known_there(function)
        if known is not None:
            return known
        code, namespace = function.__code__, function.__globals__
        names = _reach.names_of(code)
        spaces: list[Update] = []
        where: Any
        hooked = False
        if _reach.own_space(namespace):
            where = self.space(namespace)
            self._attributes |= names.attributes
            self._attributes |= names.texts
            hooked = self._imports(names, namespace)
            spaces.append((where, self._globals(function, names), ()))
        elif hasattr(function, "registry") and hasattr(function, "dispatch"):
            from . import _reducers

            return _reducers.singledispatch(self, function)
        else:
            where = sys.modules[namespace["__name__"]]
        cells = function.__closure__
        contents = [
            self._content(cell, names.cells.get(name) or {()})
            for name, cell in zip(code.co_freevars, cells or (), strict=True)
        ]
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
            _homes.tokens.of(function),
            code_bytes(code),
            where,
            function.__name__,
            function.__qualname__,
            cells,
            hooked,
        )
        return _rebuild.function, arguments, state, None, None, _rebuild.fill_function

    def _imports(self, names: _reach.Names, namespace: dict[str, Any]) -> bool:
        """Take along what functions import by themselves, where the worker's import would give something else."""
        hooked = False
        for name, level, attributes in sorted(names.imports):
            full = _reach.absolute(name, level, namespace)
            module = sys.modules.get(full)
            if module is None:
                continue
            chains: set[_reach.Chain] = {(attribute,) for attribute in attributes}
            chains = chains or {()}
            if not _is_outside(module) or _reach.is_patched(module, names.attributes):
                hooked = True
                parts = full.split(".")
                for end in range(1, len(parts) + 1):
                    path = ".".join(parts[:end])
                    self._use(sys.modules[path], chains if path == full else {()}, None, path)
        return hooked

    def _globals(self, function: Any, names: _reach.Names) -> dict[str, Any]:
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
            elif is_a(value, Module):
                self._use(value, chains, here, name)
            else:
                values[name] = value
        return values

    def _content(self, cell: Any, chains: set[_reach.Chain]) -> Any:
        try:
            value = cell.cell_contents
        except ValueError:
            return MISSING
        if is_a(value, Module):
            self._use(value, chains, cell, "cell")
            return MISSING  # comes later
        return value

    def _use(self, module: Any, chains: set[_reach.Chain], space: Any, name: str) -> None:
        """Code reaches a module: as ``name`` of a space, in a cell, or by importing that name (None)."""
        used = self._used.get(id(module))
        if used is None:
            used = self._used[id(module)] = Used(module)
        if not used.chains >= chains or (id(space), name) not in used.targets:
            used.chains |= chains
            used.targets[id(space), name] = space
            used.settled = False

    def _module(self, module: Any) -> Reduced:
        """A module as a value: code that is not known takes its attributes."""
        if _is_outside(module):
            outside = self._outside_of(module, {()})
            return self._outside(outside)
        if isinstance(module.__dict__.get("__loader__"), _homes.Overlaid):
            return _rebuild.module, (module.__name__,)
        self._use(module, {()}, None, "")
        return self._space(self.space(module.__dict__))

    def _outside(self, outside: Outside) -> Reduced:
        return _rebuild.expected, outside.arguments, outside.patched or None, None, None, _rebuild.patch

    def _tail(self, _: Tail) -> Reduced:
        pending = [used for used in self._used.values() if not used.settled]
        loose = self._attributes - self._settled
        if loose:
            self._settled |= loose
            pending.extend(used for used in self._used.values() if used.settled and () in used.chains)
        if not pending:
            return tuple, ()
        updates: list[Update] = []
        for used in pending:
            used.settled = True
            made: Any = used.module
            if _is_outside(made):
                made = self._outside_of(made, used.chains)
            elif not isinstance(made.__dict__.get("__loader__"), _homes.Overlaid):
                made = self.space(made.__dict__)
                updates.append((made, self._taken(used), tuple(sorted(used.module.__dict__))))
            updates.extend((space, {name: made}, ()) for (_, name), space in used.targets.items() if name)
        return _rebuild.finish, (updates, Tail())

    def _taken(self, used: Used) -> dict[str, Any]:
        """What code takes of a module of the application."""
        namespace = used.module.__dict__
        chains = set(used.chains)
        if () in chains:
            chains |= {(name,) for name in self._attributes}
        values: dict[str, Any] = {}
        for chain in sorted(chains):
            if not chain:
                continue
            value = namespace.get(chain[0], MISSING)
            if value is MISSING:
                if "__getattr__" in namespace:
                    values["__getattr__"] = namespace["__getattr__"]
            elif is_a(value, Module):
                self._use(value, {chain[1:]}, self.space(namespace), chain[0])
            elif chain[0] not in _DUNDERS:
                values[chain[0]] = value
        return values

    def _outside_of(self, module: Any, chains: set[_reach.Chain]) -> Outside:
        if () in chains:
            chains = chains | _reach.loose_chains(module, self._attributes)
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
        return Outside((_reach.name_of(module), constants, references, tuple(patched)), patched)

    def _cell(self, _: Any) -> Reduced:
        return _rebuild.cell, ()

    def _method(self, method: Any) -> Reduced:
        return MethodType, (method.__func__, method.__self__)

    def _builtin(self, function: Any) -> Reduced:
        known = self.referred(function)
        return NotImplemented if known is None else known

    def _code(self, code: Any) -> Reduced:
        return _rebuild.code_of, (code_bytes(code),)

    def _proxy(self, proxy: Any) -> Reduced:
        return MappingProxyType, (dict(proxy),)


def _is_outside(module: Any) -> bool:
    return _reach.name_of(module) is not None


HANDLERS: dict[Any, Callable[[Pickler, Any], Reduced]] = {
    Function: Pickler._function,
    Module: Pickler._module,
    _reach.Builtin: Pickler._builtin,
    CellType: Pickler._cell,
    _reach.Code: Pickler._code,
    MethodType: Pickler._method,
    MappingProxyType: Pickler._proxy,
    Space: Pickler._space,
    Outside: Pickler._outside,
    Tail: Pickler._tail,
    type(MISSING): lambda _, __: "MISSING",
}
