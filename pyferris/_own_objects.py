"""Objects and classes of the application that a function reaches, for ``_purity``: plain ones are like data."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import collections
import sys
import types
from typing import TYPE_CHECKING, Any

from . import _reach
from ._pure_names import words

if TYPE_CHECKING:
    from collections.abc import Callable

__all__: list[str] = []

_MOST = 50  # objects and classes that are looked at; a quarter of a millisecond
_MOST_ATTRIBUTES = 1_000
_LONGEST_PATH = 120  # letters that say where an object was found

# What an object of one's own may derive from: nothing that holds other objects.
_BASES = (object, int, float, complex, str, bytes)
_FIELD: Any = vars(collections)["_tuplegetter"]
_BOOKKEEPING = words(
    """
    __annotations__ __annotate__ __annotate_func__ __annotations_cache__ __dataclass_fields__ __dataclass_params__
    __orig_bases__ __parameters__ __replace__ __type_params__
    """
)
# Of names with two underscores, those that say something of an object, or are what operators and builtins call.
_SPECIAL = words(
    """
    __abs__ __add__ __and__ __bool__ __bytes__ __call__ __class__ __complex__ __contains__ __delitem__
    __divmod__ __eq__ __float__ __floordiv__ __ge__ __getitem__ __gt__ __hash__ __iadd__ __iand__ __imul__
    __index__ __init__ __int__ __invert__ __ior__ __isub__ __iter__ __ixor__ __le__ __len__ __lshift__ __lt__
    __matmul__ __mod__ __mul__ __name__ __ne__ __neg__ __new__ __next__ __or__ __pos__ __post_init__
    __pow__ __qualname__ __radd__ __repr__ __reversed__ __rmul__ __round__ __rshift__ __rsub__ __rtruediv__
    __setitem__ __str__ __sub__ __truediv__ __xor__
    """
)
_OF_FRAMES = ("ag_", "co_", "cr_", "f_", "gi_", "tb_")
_BY_TEXT = frozenset({"format", "format_map"})  # take attributes by their text


def may_be_used(attribute: str) -> bool:
    """Whether the attribute of that name, of whatever is data or an object of one's own, is another such, or a method
    of it.
    """
    if attribute.startswith("__"):
        return attribute in _SPECIAL
    return attribute not in _BY_TEXT and not attribute.startswith(_OF_FRAMES)


class OwnObjects:
    """Those seen in one look at a function."""

    def __init__(self, value: Callable[[Any, str], None], function: Callable[[Any], None]) -> None:
        """``value`` and ``function`` look at what else is found, and raise if it is no data, or does more."""
        self._value = value
        self._function = function
        self._seen: dict[int, Any] = {}

    def add(self, thing: Any, what: str) -> bool:
        """Whether it is a plain class, object or method of the application's. Raises if it holds what is no data."""
        kind = type(thing)
        if kind is types.MethodType:
            return type(thing.__func__) is _reach.Function and self._method(thing, what)
        if kind is not type and not _is_plain(kind, _BASES):
            return False
        if kind is type and not _is_plain(thing, (*_BASES, BaseException)):
            return False
        if id(thing) in self._seen:
            return True
        if len(self._seen) == _MOST:
            return False
        self._seen[id(thing)] = thing
        if kind is type:
            self._class(thing)
            return True
        state = _state_of(thing)
        if state is None:
            return False
        what = what if len(what) < _LONGEST_PATH else "an object"
        for name, value in state:
            self._value(value, f"attribute {name!r} of {what}")
        return self.add(kind, what)

    @property
    def any(self) -> bool:
        """Whether there are some."""
        return bool(self._seen)

    def _method(self, method: Any, what: str) -> bool:
        self._value(method.__self__, f"the object of {what}")
        self._function(method.__func__)
        return True

    def _class(self, each: type) -> None:
        for base in filter(_is_own, each.__mro__):
            made = _made_of_tuple(base)
            if "__new__" in made:
                for value in defaults_of(vars(base)["__new__"].__func__):
                    self._value(value, f"a default of class {base.__qualname__}")
            for name, member in list(vars(base).items()):
                if name not in _BOOKKEEPING and name not in made:
                    self._member(member, f"attribute {name!r} of class {base.__qualname__}")

    def _member(self, member: Any, what: str) -> None:
        kind = type(member)
        if kind is property:
            for part in (member.fget, member.fset, member.fdel):
                self._value(part, what)
        elif kind is staticmethod or kind is classmethod:
            self._value(member.__func__, what)
        elif kind is _reach.Function and _is_repr_of_dataclass(member):
            self._value(member.__wrapped__, what)
        elif kind is not _FIELD and kind is not types.MemberDescriptorType and kind is not types.GetSetDescriptorType:
            self._value(member, what)


def defaults_of(function: Any) -> tuple[Any, ...]:
    return (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())


def _is_own(kind: type) -> bool:
    return _reach.is_made_at_run_time(kind) and _reach.is_own(kind.__module__)


def _is_plain(kind: type, bases: tuple[type, ...]) -> bool:
    """Whether a class is the application's, made by ``type``, and derives from others such and ``bases``, exceptions of
    these included.
    """
    if type(kind) is not type or not _is_own(kind) or not all(map(_shows_state, kind.__mro__)):
        return False
    return all(
        (type(base) is type and _is_own(base))
        or base in bases
        or (base is tuple and _is_named(kind))
        or (BaseException in bases and base.__module__ == "builtins" and issubclass(base, BaseException))
        for base in kind.__mro__
    )


def _is_named(kind: type) -> bool:
    """Whether a class is or derives from one that ``collections.namedtuple`` has made."""
    return any(type(vars(base).get("_make")) is classmethod and bool(_made_of_tuple(base)) for base in kind.__mro__)


def _made_of_tuple(kind: type) -> frozenset[str]:
    """The members of a named tuple's class that ``collections`` has put there."""
    found = vars(kind).get("_make")
    namespace = vars(collections)
    if type(found) is not classmethod or getattr(found.__func__, "__globals__", None) is not namespace:
        return frozenset()
    made = {name for name, member in vars(kind).items() if getattr(member, "__globals__", None) is namespace}
    new = getattr(vars(kind).get("__new__"), "__func__", None)
    if str(getattr(new, "__globals__", {}).get("__name__")).startswith("namedtuple_"):
        made.add("__new__")
    return frozenset(made | {"_make"})


def _is_repr_of_dataclass(function: Any) -> bool:
    """Whether it is the guard against recursion around one, which goes by threads' numbers but shows none."""
    modules = filter(None, map(sys.modules.get, ("dataclasses", "reprlib")))
    if not any(function.__globals__ is module.__dict__ for module in modules):
        return False
    return "recursive_repr.<locals>." in function.__code__.co_qualname and "__wrapped__" in function.__dict__


def _shows_state(kind: type) -> bool:
    """Whether the class has not put something else in the place of its objects' ``__dict__``."""
    return "__dict__" not in vars(kind) or type(vars(kind)["__dict__"]) is types.GetSetDescriptorType


def _state_of(thing: Any) -> list[tuple[str, Any]] | None:
    """What the object holds; None if that is too much. No code of its class runs."""
    found: list[tuple[str, Any]] = []
    if issubclass(type(thing), tuple):
        found += zip(map(str, range(tuple.__len__(thing))), tuple.__iter__(thing), strict=True)
    for base in filter(_is_own, type(thing).__mro__):
        for name, member in list(vars(base).items()):
            if type(member) is types.MemberDescriptorType:
                try:
                    found.append((name, member.__get__(thing)))
                except AttributeError:
                    continue  # a slot that is empty
            elif name == "__dict__" and type(member) is types.GetSetDescriptorType:
                values = member.__get__(thing)
                if len(values) > _MOST_ATTRIBUTES:
                    return None
                found += list(values.items())
    return found
