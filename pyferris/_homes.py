"""Where what has been shipped lives: its namespaces, and which original each function and class is a copy of.

Each function or class has a token, given by the interpreter that it is from. Its copies keep the token, so that what
comes back to that interpreter is the original again, and the arguments of a call share the classes of its function.
Imports nothing but built-in modules: workers use it.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false
from __future__ import annotations

import _frozen_importlib_external
import _thread
import builtins
import sys
from _weakref import ref

TYPE_CHECKING = False  # as in typing, which workers shall not have to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__: list[str] = []

BUILTINS: dict[str, Any] = builtins.__dict__
Module: Any = type(sys)
Cell: Any = type((lambda it: lambda: it)(0).__closure__[0])  # type: ignore[index]
MISSING: Any = type("Missing", (), {"__repr__": lambda self: "<missing>", "__slots__": ()})()

SYSTEM: Any = _frozen_importlib_external._os  # type: ignore[attr-defined]  # posix or nt: what there is of os at once

ORIGIN = int.from_bytes(SYSTEM.urandom(7), "little")  # of the tokens that are given here


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

    __slots__ = ("home", "key", "left", "module")

    def __init__(self, key: int, module: Any, home: Home) -> None:
        self.key = key
        self.home = home  # alive as long as one of its namespaces is
        self.module = module  # alive as long as its namespace is
        self.left: frozenset[str] = frozenset()  # names that it has at home

    def __repr__(self) -> str:
        return "<what a call has taken along>"


class Overlaid:
    """Marks a copy of a module with other attributes; kept where a module has its loader."""


class Home:
    """The namespaces, classes and functions of one shipment. What its arguments bring is added, changes nothing."""

    __slots__ = (
        "__weakref__",
        "anonymous",
        "fresh",
        "hooked",
        "imports",
        "known",
        "owned",
        "passing",
        "shipping",
        "spaces",
    )

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

            def importer(name: str, space: Any = None, names: Any = None, fromlist: Any = (), level: int = 0) -> Any:
                full = name
                if level:
                    base = (space.get("__package__") or "").rsplit(".", level - 1)[0]
                    full = f"{base}.{name}" if name else base
                if full in table:
                    if fromlist:
                        return table[full]
                    if not level:
                        return table[name.partition(".")[0]]
                return plain(name, space, names, fromlist, level)

            self.hooked = {**BUILTINS, "__import__": importer}
        return self.hooked


class _Here(_thread._local):
    home: Home | None = None


_here = _Here()
_homes: dict[int, tuple[ref[Any], ref[Home]]] = {}


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


def _forgetter(key: int) -> Callable[[object], None]:
    homes = _homes  # bound here: the last ones go when the interpreter ends, and this module's globals with it

    def forget(_: object) -> None:
        homes.pop(key, None)

    return forget


def keep_home(function: Any, home: Home) -> None:
    """Have the arguments of ``function`` share its home, as long as both live."""
    key = id(function)
    try:
        reference = ref(function, _forgetter(key))
    except TypeError:  # it takes none; then its arguments share nothing
        return
    _homes[key] = (reference, ref(home))


def home_of(function: object) -> Home | None:
    found = _homes.get(id(function))
    return found[1]() if found is not None and found[0]() is function else None


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
