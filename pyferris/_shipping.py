"""Ships functions to workers: their code and what it reaches, by value. Main interpreter; any thread."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false
from __future__ import annotations

import marshal
import sys
from typing import TYPE_CHECKING, Any

from . import _homes, _reach, _rebuild
from ._homes import MISSING
from ._native import encode_plain, seal
from ._reach import Builtin, Function, Module, is_a
from ._rebuild import FUNCTION, MADE, MODULE, NOTHING, PLAIN, REFERENCE
from ._wire import code_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MISSING", "Shipment", "ship", "still_valid"]

Check = tuple[Any, ...]
Coded = tuple[int, Any]


class Shipment:
    """A function as bytes, for ``_wire.load_function``.

    ``checks``: what must be the same as now for the bytes to be current (``still_valid``); None where something that
    can change in itself is reached: then it is shipped anew each time.
    """

    __slots__ = ("blob", "checks")

    def __init__(self, blob: bytes, checks: list[Check] | None) -> None:
        self.blob = blob
        self.checks = checks


def ship(function: Callable[..., Any]) -> Shipment:
    """Return the shipment of ``function``. Raises ``TypeError`` that names what cannot travel."""
    try:
        plain = Plain()
        return plain.shipment(function)
    except NotPlain:
        from . import _by_value

        return Shipment(_by_value.ship(function), None)


def still_valid(checks: list[Check]) -> bool:
    """Whether all that was reached is what it was; native code does the same at each submit."""
    for check in checks:
        kind, owner = check[0], check[1]
        if kind == "dict":
            if owner.get(check[2], MISSING) is not check[3]:
                return False
        elif kind == "cell":
            try:
                found = owner.cell_contents
            except ValueError:
                found = MISSING
            if found is not check[2]:
                return False
        elif getattr(owner, check[2], MISSING) is not check[3]:
            return False
    return True


class NotPlain(Exception):
    """Something is reached that only a pickle carries."""


_CONSTANTS = frozenset({"None", "True", "False", "Ellipsis", "NotImplemented"})


def is_original_builtin(name: str, value: Any) -> bool:
    """Whether a builtin is what Python made it, so that the worker's own is the same."""
    if value is None or value is True or value is False or value is ... or value is NotImplemented:
        return name in _CONSTANTS or name.startswith("__")
    if is_a(value, (Builtin, type)):
        if value.__name__ == name and value.__module__ in ("builtins", "io", "_io"):
            return True
        return value is OSError and name in ("IOError", "EnvironmentError", "WindowsError")
    return type(value).__module__ == "_sitebuiltins" or name in ("__debug__", "__name__", "__doc__")


class Plain:
    """One function and all that it reaches, as tables for marshal: ``_rebuild.load_plain`` reads them."""

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self.changing = False  # something is reached that can change in itself
        self.functions: list[Any] = []
        self.cells: list[Coded] = []
        self.spaces: list[tuple[tuple[Any, ...], dict[str, Coded]]] = []
        self.values: list[Any] = []
        self.attributes: set[str] = set()
        # Modules by namespace and name: what code takes of them is known when all code has been seen.
        self._modules: dict[tuple[int, str], tuple[Any, set[_reach.Chain], dict[str, Coded]]] = {}
        self._functions: dict[int, int] = {}
        self._cells: dict[int, int] = {}
        self._spaces: dict[int, int] = {}
        self._in_cells: dict[int, tuple[Any, set[_reach.Chain]]] = {}  # modules
        self._queue: list[Any] = []

    def shipment(self, function: Any) -> Shipment:
        if type(function) is not Function:
            if not is_a(function, (Builtin, type)):
                raise NotPlain
            where = _reach.refer(function)
            if where is None:
                raise NotPlain
            return Shipment(seal(b"R", marshal.dumps(where, 2)), [])
        if _reach.refer(function) is not None:
            return Shipment(seal(b"R", marshal.dumps(_reach.refer(function), 2)), [])
        entry = self.function(function)
        while self._queue:
            self._fill(self._queue.pop())
        for (_, name), (module, chains, values) in self._modules.items():
            values[name] = self.module(module, chains)
        for number, (module, chains) in self._in_cells.items():
            self.cells[number] = self.module(module, chains)
        data = encode_plain(tuple(self.values))
        if data is None:
            raise NotPlain
        tables = marshal.dumps((self.spaces, self.functions, self.cells, entry, data), 2)
        return Shipment(seal(b"F", tables), None if self.changing else self.checks)

    def function(self, function: Any) -> int:
        """Its number; it is read later."""
        number = self._functions.get(id(function))
        if number is None:
            number = self._functions[id(function)] = len(self.functions)
            self.functions.append(None)
            self._queue.append(function)
        return number

    def _fill(self, function: Any) -> None:
        code, checks = function.__code__, self.checks
        names = _reach.names_of(code)
        defaults, kwdefaults, closure = function.__defaults__, function.__kwdefaults__, function.__closure__
        checks.append(("attr", function, "__code__", code))
        checks.append(("attr", function, "__defaults__", defaults))
        checks.append(("attr", function, "__kwdefaults__", kwdefaults))
        if names.imports:
            self._imports(names)
        where = self._space(function, names)
        coded_defaults = None if defaults is None else tuple([self.value(value) for value in defaults])
        coded_kwdefaults: dict[str, Coded] | None = None
        if kwdefaults is not None:
            keyword_only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
            checks.extend(("dict", kwdefaults, name, kwdefaults.get(name, MISSING)) for name in keyword_only)
            coded_kwdefaults = {name: self.value(value) for name, value in kwdefaults.items()}
        attributes: dict[str, Coded] = {}
        for name, value in function.__dict__.items():
            checks.append(("dict", function.__dict__, name, value))
            attributes[name] = self.value(value)
        about = (function.__module__, coded_defaults, coded_kwdefaults, attributes, self._annotations(function))
        self.functions[self._functions[id(function)]] = (
            _homes.tokens.of(function),
            code_bytes(code),
            where,
            function.__name__,
            function.__qualname__,
            closure
            and tuple(
                [
                    self._cell(cell, names.cells.get(name) or {()})
                    for name, cell in zip(code.co_freevars, closure, strict=True)
                ]
            ),
            about,
        )

    def _imports(self, names: _reach.Names) -> None:
        for name, level, _ in names.imports:
            if level or _reach.is_own(name):
                raise NotPlain
            module = sys.modules.get(name, MISSING)
            self.checks.append(("dict", sys.modules, name, module))
            if module is not MISSING:
                self.module(module, _reach.loose_chains(module, names.attributes))

    def _annotations(self, function: Any) -> dict[str, Coded]:
        return {name: self.value(value) for name, value in _reach.light_annotations(function).items()}

    def _space(self, function: Any, names: _reach.Names) -> int | str:
        namespace = function.__globals__
        if not _reach.own_space(namespace):
            return str(namespace["__name__"])
        number = self._spaces.get(id(namespace))
        if number is None:
            number = self._spaces[id(namespace)] = len(self.spaces)
            about = (
                *_rebuild.label_of(namespace),
                str(namespace.get("__name__", "__main__")),
                namespace.get("__package__"),
            )
            self.spaces.append((about, {}))
        self.attributes |= names.attributes
        self.attributes |= names.texts
        if names.texts and not _reach.OF_GLOBALS.isdisjoint(names.globals):
            self.changing = True
        values = self.spaces[number][1]
        for name, chains in _reach.globals_of(names, namespace).items():
            self._global(function, namespace, name, chains, values)
        for name, chains in names.cells.items():
            if chains and self.changing is False and any(chains):
                self._attributes_of_cell(function, name, chains)
        return number

    def _attributes_of_cell(self, function: Any, name: str, chains: set[_reach.Chain]) -> None:
        try:
            value = function.__closure__[function.__code__.co_freevars.index(name)].cell_contents
        except (ValueError, TypeError):
            return
        if is_a(value, Function):
            self.changing = True

    def _global(
        self, function: Any, namespace: dict[str, Any], name: str, chains: set[_reach.Chain], values: dict[str, Coded]
    ) -> None:
        if name in ("__builtins__", "__spec__", "__loader__"):
            raise NotPlain
        value = namespace.get(name, MISSING)
        self.checks.append(("dict", namespace, name, value))
        if value is MISSING:
            builtin = function.__builtins__.get(name, MISSING)
            self.checks.append(("dict", function.__builtins__, name, builtin))
            if builtin is not MISSING and not is_original_builtin(name, builtin):
                values[name] = self.value(builtin)
        elif is_a(value, Module):
            self._modules.setdefault((id(values), name), (value, set(), values))[1].update(chains)
            values[name] = NOTHING, None
        else:
            if is_a(value, Function) and any(chains):
                self.changing = True  # attributes of functions come and go
            values[name] = self.value(value)

    def module(self, module: Any, chains: set[_reach.Chain]) -> Coded:
        name = _reach.name_of(module)
        if name is None:
            raise NotPlain
        if () in chains:
            chains = chains | _reach.loose_chains(module, self.attributes)
        constants: dict[_reach.Chain, Any] = {}
        references: dict[_reach.Chain, tuple[str, str]] = {}
        for chain, holder, value, verdict, what in _reach.judge_chains(module, chains - {()}):
            self.checks.append(("dict", holder.__dict__, chain[-1], value))
            if verdict == _reach.PATCHED:
                raise NotPlain
            if verdict == _reach.CONSTANT:
                constants[chain] = what
                self.changing = self.changing or not _reach.is_immutable(what)
            elif verdict == _reach.REFERRED:
                references[chain] = what
        if encode_plain(tuple(constants.values())) is None:
            raise NotPlain
        return MODULE, (name, constants, references)

    def _cell(self, cell: Any, chains: set[_reach.Chain]) -> int:
        number = self._cells.get(id(cell))
        if number is None:
            number = self._cells[id(cell)] = len(self.cells)
            self.cells.append((NOTHING, None))
            try:
                value = cell.cell_contents
            except ValueError:
                self.checks.append(("cell", cell, MISSING))
            else:
                self.checks.append(("cell", cell, value))
                if is_a(value, Module):
                    self._in_cells[number] = (value, set())
                else:
                    self.cells[number] = self.value(value)
        if number in self._in_cells:
            self._in_cells[number][1].update(chains)
        return number

    def _made(self, value: Any, kind: Any) -> Coded:
        """What a call gives again, and stays what it is: a compiled pattern, a logger."""
        if kind.__name__ == "Pattern":
            self.values.append((value.pattern, value.flags))
            return MADE, ("re", "compile", len(self.values) - 1)
        if kind.__name__ == "Logger" and value.manager.loggerDict.get(value.name) is value:
            self.values.append((value.name,))
            return MADE, ("logging", "getLogger", len(self.values) - 1)
        raise NotPlain

    def value(self, value: Any) -> Coded:
        kind = type(value)
        if kind is Function:
            where = _reach.refer(value)
            return (FUNCTION, self.function(value)) if where is None else (REFERENCE, where)
        if is_a(value, (type, Builtin)):
            where = _reach.refer(value)
            if where is None:
                raise NotPlain
            return REFERENCE, where
        if kind is Module:
            raise NotPlain
        if kind.__module__ in ("re", "logging"):
            return self._made(value, kind)
        if not _reach.is_immutable(value):
            self.changing = True
            if kind not in (list, dict, set, tuple, frozenset):
                raise NotPlain
        self.values.append(value)
        return PLAIN, len(self.values) - 1
