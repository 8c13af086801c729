"""What a worker makes of shipped code: functions, their namespaces, classes. Imports nothing but built-in modules.

Each function or class has a token, given by the interpreter that it is from. Its copies keep the token, so that what
comes back to that interpreter is the original again, and the arguments of a call share the classes of its function.
"""

from __future__ import annotations

import _thread
import marshal
import os
import sys
from _weakref import ref
from builtins import __dict__ as BUILTINS

TYPE_CHECKING = False  # as in typing, which workers shall not have to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

__all__: list[str] = []

Chain = tuple[str, ...]

Function: Any = type(lambda: None)
Module: Any = type(sys)
Cell: Any = type((lambda it: lambda: it)(0).__closure__[0])  # type: ignore[index]
MISSING: Any = type("Missing", (), {"__repr__": lambda self: "<missing>", "__slots__": ()})()

ORIGIN = int.from_bytes(os.urandom(7), "little")  # of the tokens that are given here


class Tokens:
    """Which token each function and class has; none is kept alive by it. Any thread: each step is atomic."""

    def __init__(self) -> None:
        self._by_object: dict[int, tuple[ref[Any], int]] = {}
        self._by_token: dict[int, ref[Any]] = {}
        self._count = 0

    def peek(self, thing: object) -> int | None:
        known = self._by_object.get(id(thing))
        return known[1] if known is not None and known[0]() is thing else None

    def of(self, thing: object) -> int:
        """Its token; a new one if it has none."""
        token = self.peek(thing)
        if token is None:
            self._count += 1
            token = ORIGIN << 40 | self._count
            self.remember(thing, token)
        return token

    def remember(self, thing: object, token: int) -> None:
        key = id(thing)

        def gone(reference: ref[Any]) -> None:
            known = self._by_object.get(key)
            if known is not None and known[0] is reference:
                del self._by_object[key]
            if self._by_token.get(token) is reference:
                del self._by_token[token]

        reference = ref(thing, gone)
        self._by_object[key] = (reference, token)
        self._by_token[token] = reference

    def find(self, token: int) -> Any:
        """The latest object of that token that lives here, or None."""
        reference = self._by_token.get(token)
        return None if reference is None else reference()


tokens = Tokens()


class Travelled(Module):  # type: ignore[misc]
    """A module of the application of which only what the code reaches has come along."""

    def __getattr__(self, name: str) -> Any:
        label = self.__dict__.get("__loader__")
        if isinstance(label, Label) and name in label.left:
            raise RuntimeError(
                f"{name!r} of module {self.__name__!r} has not come along into this worker: isolated code takes with "
                "it only the names that it mentions; mention it as module.name or pass its value as an argument"
            )
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


class Label:
    """Which namespace of its origin this one stands for; kept where a module has its loader."""

    __slots__ = ("key", "left", "module")

    def __init__(self, key: int, module: Any) -> None:
        self.key = key
        self.module = module  # alive as long as its namespace is
        self.left: frozenset[str] = frozenset()  # names that it has at home

    def __repr__(self) -> str:
        return "<what a call has taken along>"


class Overlaid:
    """Marks a copy of a module with other attributes; kept where a module has its loader."""


class Home:
    """The namespaces, classes and functions of one shipment. What its arguments bring is added, changes nothing."""

    __slots__ = ("anonymous", "fresh", "hooked", "imports", "known", "owned", "passing", "shipping", "spaces")

    def __init__(self, anonymous: bool = False) -> None:
        self.anonymous = anonymous  # of a message that belongs to no function
        self.spaces: dict[int, Any] = {}
        self.owned: dict[int, set[str]] = {}
        self.known: dict[int, Any] = {}
        self.fresh: set[int] = set()  # ids of what is being made just now
        self.passing: dict[int, Any] = {}  # what arguments have brought: other ones bring it anew
        self.shipping = not anonymous
        self.imports: dict[str, Any] = {}  # what functions import by themselves
        self.hooked: dict[str, Any] | None = None  # builtins with an __import__ that knows them

    def builtins(self) -> dict[str, Any]:
        if self.hooked is None:
            table, plain = self.imports, BUILTINS["__import__"]

            def importer(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
                full = name
                if level:
                    base = (globals.get("__package__") or "").rsplit(".", level - 1)[0]
                    full = f"{base}.{name}" if name else base
                if full in table:
                    if fromlist:
                        return table[full]
                    if not level:
                        return table[name.partition(".")[0]]
                return plain(name, globals, locals, fromlist, level)

            self.hooked = {**BUILTINS, "__import__": importer}
        return self.hooked


class _Here(_thread._local):
    home: Home | None = None


_here = _Here()
_homes: dict[int, tuple[Any, Home]] = {}


def here() -> Home:
    home = _here.home
    return Home(anonymous=True) if home is None else home


class Loading:
    """``with Loading(home)``: what is rebuilt by this thread belongs to ``home``; to nothing that is kept if None."""

    __slots__ = ("before", "home")

    def __init__(self, home: Home | None) -> None:
        self.home = Home(anonymous=True) if home is None else home

    def __enter__(self) -> Home:
        self.before = _here.home
        _here.home = self.home
        return self.home

    def __exit__(self, *_: object) -> None:
        _here.home = self.before
        self.home.shipping = False
        self.home.fresh.clear()
        self.home.passing.clear()


def keep_home(function: Any, home: Home) -> None:
    """Have the arguments of ``function`` share its home, as long as it lives."""
    key = id(function)
    try:
        # Bound here: the last ones go when the interpreter ends, and this module's globals with it.
        reference: Any = ref(function, lambda _, homes=_homes: [homes.pop(key, None)].clear())
    except TypeError:  # it takes none: kept for good, as few are
        _homes[key] = ((lambda: function), home)
    else:
        _homes[key] = (reference, home)


def home_of(function: object) -> Home | None:
    found = _homes.get(id(function))
    return found[1] if found is not None and found[0]() is function else None


# --- what the pickles and the plain shipments call


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
    for chain, value in constants.items():
        if not same(walk(real, chain), value):
            other[chain] = value
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


def known(token: int, what: str) -> Any:
    """What has that token: an original that comes back, or what the function of a call has brought."""
    found = present(token)
    if found is None:
        found = tokens.find(token)
    if found is None:
        raise LookupError(f"{what} is not there any more")
    return found


def present(token: int | None) -> Any:
    """What stands for the token already, so that no other is made; or None."""
    if token is None:
        return None
    home = here()
    found = home.known.get(token)
    if found is None:
        found = home.passing.get(token)
    if found is None and (token >> 40 == ORIGIN or home.anonymous):
        found = tokens.find(token)
    return found


def admit(token: int | None, made: Any) -> Any:
    """Note what has just been made, and that its state is to be set."""
    home = here()
    home.fresh.add(id(made))
    if token is not None:
        (home.known if home.shipping else home.passing)[token] = made
        tokens.remember(made, token)
    return made


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


def load_plain(data: bytes) -> Any:
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
