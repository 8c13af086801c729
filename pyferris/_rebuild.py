"""What a worker makes of shipped code: modules, functions and their namespaces. Imports nothing but built-in modules.

Pickles of ``_by_value`` call these functions; ``load_plain`` reads what ``_shipping.Plain`` writes.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false
from __future__ import annotations

import marshal
import sys

from ._homes import (
    BUILTINS,
    MISSING,
    ORIGIN,
    Cell,
    Home,
    Label,
    Loading,
    Module,
    Overlaid,
    Travelled,
    admit,
    here,
    keep_home,
    known,
    present,
)

TYPE_CHECKING = False  # as in typing, which workers shall not have to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

__all__ = ["known"]

Chain = tuple[str, ...]
Function: Any = type(lambda: None)


def module(name: str) -> Any:
    """Import it; an installed module or one of the standard library."""
    found = sys.modules.get(name)
    if found is not None:
        return found
    try:
        __import__(name)
    except ImportError as error:
        if "isolation=" in str(error):
            raise
        raise ImportError(
            f"an isolated call needs the module {name!r}, which cannot be imported in this worker: {error}; "
            'if it only refuses to load in an interpreter of its own, use isolation="process"',
            name=name,
        ) from error
    return sys.modules[name]


def reference(name: str, path: str) -> Any:
    """``path`` (dotted) of the module ``name``."""
    found = module(name)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def same(one: Any, other: Any) -> bool:
    """Whether both are the same plain data: of one type and equal, or both nan; dicts in the same order."""
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is dict:
        one, other, kind = list(one.items()), list(other.items()), list
    if kind is list or kind is tuple:
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other or (one != one and other != other))


def expected(
    name: str, constants: dict[Chain, Any], references: dict[Chain, tuple[str, str]], patched: Iterable[Chain] = ()
) -> Any:
    """A module whose attributes must be these: itself if they are, else a copy of it in which they are.

    ``patched``: attributes that the copy has in any case; they are set later, by ``patch``.
    """
    real = module(name)
    other: dict[Chain, Any] = dict.fromkeys(patched)
    other.update({chain: value for chain, value in constants.items() if not same(walk(real, chain), value)})
    for chain, (where, path) in references.items():
        try:
            value = reference(where, path)
        except (ImportError, AttributeError):  # an accelerator that this worker does without
            continue
        if walk(real, chain) is not value:
            other[chain] = value
    return overlay(real, other) if other else real


def walk(found: Any, chain: Chain) -> Any:
    for name in chain:
        found = getattr(found, name, MISSING)
    return found


def overlay(real: Any, changes: dict[Chain, Any]) -> Any:
    """A copy of a module, and of those below it, with other attributes."""
    made = Module(real.__name__)
    made.__dict__.update(real.__dict__)
    made.__dict__["__loader__"] = Overlaid()
    below: dict[str, dict[Chain, Any]] = {}
    for (name, *rest), value in changes.items():
        if rest:
            below.setdefault(name, {})[tuple(rest)] = value
        else:
            made.__dict__[name] = value
    for name, deeper in below.items():
        made.__dict__[name] = overlay(getattr(real, name), deeper)
    return made


def patch(made: Any, values: dict[Chain, Any]) -> None:
    for chain, value in values.items():
        walk(made, chain[:-1]).__dict__[chain[-1]] = value


def space(origin: int, key: int, name: str, package: str | None) -> Any:
    """The module whose namespace stands for the one with ``key`` at its origin."""
    home = here()
    key = origin << 64 | key
    found = home.spaces.get(key)
    if found is not None:
        return found
    if origin == ORIGIN:
        original = sys.modules.get(name)
        if original is not None and id(original.__dict__) == key & (1 << 64) - 1:
            home.spaces[key] = original
            return original
    made = Travelled(name)
    made.__dict__.update(__package__=package, __builtins__=BUILTINS, __loader__=Label(key, made))
    home.spaces[key] = made
    home.owned[key] = set()
    return made


def label_of(namespace: dict[str, Any]) -> tuple[int, int]:
    """``origin`` and ``key`` for ``space``."""
    label = namespace.get("__loader__")
    if isinstance(label, Label):
        return label.key >> 64, label.key & (1 << 64) - 1
    return ORIGIN, id(namespace)


def fill_space(made: Any, values: dict[str, Any], left: Iterable[str] = ()) -> None:
    """Set names of a namespace. Arguments do not set again what its function has brought, or changed since."""
    label = made.__dict__.get("__loader__")
    if not isinstance(label, Label):
        return  # the original itself
    home = here()
    owned = home.owned.setdefault(label.key, set())
    if home.shipping:
        made.__dict__.update(values)
        owned.update(values)
    else:
        made.__dict__.update({name: value for name, value in values.items() if name not in owned})
    if left:
        label.left |= frozenset(left)


def cell() -> Any:
    return Cell()


def function(
    token: int | None,
    code: bytes,
    where: Any,
    name: str,
    qualname: str,
    cells: tuple[Any, ...] | None,
    hooked: bool = False,
) -> Any:
    """``hooked``: it imports modules that have come along."""
    found = present(token)
    if found is not None:
        return found
    if hooked and isinstance(where, Travelled):
        where.__dict__["__builtins__"] = here().builtins()
    made = Function(code_of(code), where.__dict__, name, None, cells)
    made.__qualname__ = qualname
    return admit(token, made)


_codes: dict[bytes, Any] = {}


def code_of(data: bytes) -> Any:
    """The code object of these bytes; the same one for the same bytes."""
    found = _codes.get(data)
    if found is None:
        found = marshal.loads(data)
        if len(_codes) >= 1024:
            _codes.clear()
        _codes[data] = found
    return found


def fill_function(made: Any, state: tuple[Any, ...]) -> None:
    """``state``: module, defaults, kwdefaults, attributes, annotations, contents of the cells, names to set."""
    spaces: Iterable[tuple[Any, dict[str, Any], Iterable[str]]]
    where, defaults, kwdefaults, attributes, annotations, contents, spaces = state
    for target, values, left in spaces:
        fill_space(target, values, left)
    if id(made) not in here().fresh:
        return
    if where != made.__module__:
        made.__module__ = where
    made.__defaults__ = defaults
    made.__kwdefaults__ = kwdefaults
    if attributes:
        made.__dict__.update(attributes)
    if annotations:
        made.__annotations__ = annotations
    for target, content in zip(made.__closure__ or (), contents, strict=True):
        if content is not MISSING:
            target.cell_contents = content


# --- shipments without a pickle

PLAIN, FUNCTION, MODULE, REFERENCE, NOTHING = range(5)


def load_plain(data: Any) -> Any:
    """The function of a shipment by marshal; ``_shipping.Plain`` writes them."""
    spaces, functions, cells, entry, values = marshal.loads(data)
    plain = marshal.loads(values)
    with Loading(Home()) as home:
        made: list[Any] = []
        modules = [space(*about) for about, _ in spaces]
        made_cells = [Cell() for _ in cells]

        def value(kind: int, content: Any) -> Any:
            if kind == PLAIN:
                return plain[content]
            if kind == FUNCTION:
                return made[content]
            if kind == MODULE:
                return expected(*content)
            return reference(*content) if kind == REFERENCE else MISSING

        build: Callable[..., Any] = function
        for token, code, where, name, qualname, closure, _ in functions:
            target = modules[where] if type(where) is int else module(where)
            made.append(build(token, code, target, name, qualname, closure and tuple([made_cells[i] for i in closure])))
        for target, (_, names) in zip(modules, spaces, strict=True):
            fill_space(target, {name: value(*what) for name, what in names.items()})
        for target, (_, _, _, _, _, closure, (where, defaults, kwdefaults, attributes, annotations)) in zip(
            made, functions, strict=True
        ):
            fill_function(
                target,
                (
                    where,
                    defaults and tuple([value(*what) for what in defaults]),
                    kwdefaults and {name: value(*what) for name, what in kwdefaults.items()},
                    attributes and {name: value(*what) for name, what in attributes.items()},
                    annotations and {name: value(*what) for name, what in annotations.items()},
                    [value(*cells[i]) for i in closure or ()],
                    (),
                ),
            )
        keep_home(made[entry], home)
    return made[entry]


def finish(updates: list[tuple[Any, dict[str, Any], Iterable[str]]], _: object) -> None:
    for made, values, left in updates:
        if made is None:
            here().imports.update(values)
        elif type(made) is Cell:
            made.cell_contents = values["cell"]
        else:
            fill_space(made, values, left)
