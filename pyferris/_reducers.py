"""Pickles by value what is neither plain data nor a function: classes, enums, decorated functions, mocks."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false
from __future__ import annotations

import functools
import sys
from types import GetSetDescriptorType, MemberDescriptorType
from typing import TYPE_CHECKING, Any

from . import _by_value, _homes, _reach, _rebuild, _remote, _revive
from ._by_value import Reduced
from ._reach import is_a, is_made_at_run_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._by_value import Pickler

__all__: list[str] = []

# Of a class: made with it, or nothing that code at run time asks for.
_NOT_STATE = frozenset(
    {
        "__annotate__",
        "__annotate_func__",
        "__annotations_cache__",
        "__dict__",
        "__doc__",
        "__module__",
        "__qualname__",
        "__slots__",
        "__type_params__",
        "__weakref__",
        "_abc_impl",
    }
)
_METACLASSES = frozenset({"builtins", "abc", "enum", "typing", "typing_extensions"})


def reduce(pickler: Pickler, thing: Any) -> Reduced:
    if is_a(thing, type):
        return _class(pickler, thing)
    kind = type(thing)
    handler = HANDLERS.get(kind)
    if handler is not None:
        return handler(pickler, thing)
    if is_a(thing, BaseException):
        return _remote.reduce(thing)
    if kind.__name__ == "ThreadedFunction" and kind.__module__ == "pyferris.decorator":
        return _threaded(pickler, thing)
    if kind.__name__ == "TypeVar" and kind.__module__ == "typing":
        return _type_variable(pickler, thing)
    enum = sys.modules.get("enum")
    if enum is not None and is_a(thing, enum.Enum):
        return _enum_member(thing)
    mock = sys.modules.get("unittest.mock")
    if mock is not None and is_a(thing, mock.NonCallableMock):
        return object.__new__, (kind,), thing.__dict__, None, None, _revive.fill_instance
    if is_a(thing, property) and _reduces_as(kind, object):
        return kind, (thing.fget, thing.fset, thing.fdel, thing.__doc__)
    if _reduces_as(kind, object):
        return _default(thing)
    if kind.__module__ == "builtins":
        _by_value.make_ordinary(kind)
    return NotImplemented


def _reduces_as(kind: Any, other: Any) -> bool:
    return kind.__reduce_ex__ is other.__reduce_ex__ and kind.__reduce__ is other.__reduce__


def _default(thing: Any) -> Reduced:
    """An object of no special kind: a constant of its module is the same one in the worker."""
    kind = type(thing)
    module = sys.modules.get(kind.__module__)
    if module is None or _reach.is_own(kind.__module__) or module.__name__ == "builtins":
        return NotImplemented
    for name, value in list(module.__dict__.items()):
        if value is thing:
            return _rebuild.reference, (module.__name__, name)
    return NotImplemented


def _class(pickler: Pickler, cls: Any) -> Reduced:
    known = pickler.referred(cls)
    if known is not None:
        return known
    if cls in _OF_SINGLETONS:
        return type, (_OF_SINGLETONS[cls],)
    if not is_made_at_run_time(cls):
        raise TypeError(f"cannot refer to the class {cls.__module__}.{cls.__qualname__}")
    back = pickler.shipped_here(cls)
    if back is not None:
        return back
    meta = type(cls)
    outer = next((each for each in meta.__mro__ if _reach.refer(each) is not None), type)
    if outer.__module__ not in _METACLASSES:
        return _foreign(cls)
    state = {name: value for name, value in cls.__dict__.items() if name not in _NOT_STATE and not _is_slot(cls, value)}
    annotations = state.pop("__annotations__", None)
    if isinstance(annotations, dict):
        state["__annotations__"] = {name: value for name, value in annotations.items() if _is_light(value)}
    made_with = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__dict__.get("__doc__")}
    if "__slots__" in cls.__dict__:
        slots = cls.__dict__["__slots__"]
        made_with["__slots__"] = slots if isinstance(slots, (str, tuple)) else tuple(slots)
    if "__orig_bases__" in state:
        made_with["__orig_bases__"] = state.pop("__orig_bases__")  # typing.Generic asks for them
    token = _homes.tokens.of(cls)
    enum = sys.modules.get("enum")
    if enum is not None and issubclass(meta, enum.EnumMeta):
        return _enum_class(token, cls, made_with, state)
    registered: list[Any] = []
    if "_abc_impl" in cls.__dict__:
        import _abc  # type: ignore[import-not-found]

        registered = [each for each in (reference() for reference in _abc._get_dump(cls)[0]) if each is not None]
    arguments = (token, meta, cls.__name__, cls.__bases__, made_with)
    return _revive.make_class, arguments, (state, registered), None, None, _revive.fill_class


def _is_slot(cls: Any, value: Any) -> bool:
    return isinstance(value, (MemberDescriptorType, GetSetDescriptorType)) and value.__objclass__ is cls


def _is_light(value: Any) -> bool:
    return value is None or type(value) is str or (type(value) is type and _reach.refer(value) is not None)


def _foreign(cls: Any) -> Reduced:
    """A class that a library's metaclass must make: imported by the worker if that can be, else cloudpickle's."""
    if cls.__module__ != "__main__" and _reach.find(cls.__module__, cls.__qualname__) is cls:
        return _rebuild.reference, (cls.__module__, cls.__qualname__)
    from cloudpickle import cloudpickle  # type: ignore[import-untyped]

    return cloudpickle._dynamic_class_reduce(cls)


def _enum_class(token: int, cls: Any, made_with: dict[str, Any], state: dict[str, Any]) -> Reduced:
    members = {id(member): name for name, member in reversed(cls._member_map_.items())}
    data = cls._member_type_
    bare = [(cls._member_map_[name], name) for name in dict.fromkeys(reversed(members.values()))]
    for name in ("_value2member_map_", "_hashable_values_"):
        if isinstance(state.get(name), dict):
            state[name] = {value: member for value, member in state[name].items() if id(member) in members}
    made = [(name, None if data is object else _data(data, member)) for member, name in bare]
    attributes = [(name, {**member.__dict__, **_FORGOTTEN}) for member, name in bare]
    arguments = (token, type(cls), cls.__name__, cls.__bases__, made_with, data, made)
    return _revive.make_enum, arguments, (state, attributes), None, None, _revive.fill_enum


_FORGOTTEN = {"_inverted_": None}  # what a flag has found out: it does so again


def _copied_bytes(member: Any) -> bytes:
    return b"".join((member,))


def _copied_tuple(member: Any) -> tuple[Any, ...]:
    return tuple(member)


def _data(kind: Any, member: Any) -> Any:
    """The plain value that a member of a mixed-in type holds."""
    convert: Callable[[Any], Any] | None = {
        int: int.__int__,
        str: str.__str__,
        float: float.__float__,
        bytes: _copied_bytes,
        tuple: _copied_tuple,
    }.get(kind)
    if convert is None:
        raise TypeError(f"an enum of {kind.__name__} values cannot be sent by value")
    return convert(member)


def _enum_member(member: Any) -> Reduced:
    cls = type(member)
    if _reach.refer(cls) is None:
        name = next((name for name, each in cls._member_map_.items() if each is member), None)
        if name is not None:
            return _revive.enum_member, (cls, name)
    return NotImplemented


# --- decorated functions


def _lru(pickler: Pickler, cached: Any) -> Reduced:
    if _reach.refer(cached) is not None:
        return NotImplemented
    back = pickler.shipped_here(cached)
    if back is not None:
        return back
    parameters = cached.cache_parameters()
    arguments = (_homes.tokens.of(cached), cached.__wrapped__, parameters["maxsize"], parameters["typed"])
    return _revive.lru, arguments, cached.__dict__, None, None, _revive.fill_attributes


def _partial(_: Pickler, partial: Any) -> Reduced:
    arguments = (_homes.tokens.of(partial), type(partial), partial.func)
    state = (partial.args, partial.keywords, partial.__dict__)
    return _revive.partial, arguments, state, None, None, _revive.fill_partial


def _threaded(pickler: Pickler, decorated: Any) -> Reduced:
    known = pickler.known_there(decorated)
    if known is not None:
        return known
    return _revive.threaded, (_homes.tokens.of(decorated),), decorated._function, None, None, _revive.fill_threaded


def singledispatch(_: Pickler, function: Any) -> Reduced:
    attributes = {
        name: value
        for name, value in function.__dict__.items()
        if name not in ("register", "dispatch", "registry", "_clear_cache")
    }
    about = (function.__module__, function.__name__, function.__qualname__, function.__doc__)
    state = (dict(function.registry), attributes, about)
    return _revive.singledispatch, (_homes.tokens.of(function),), state, None, None, _revive.fill_singledispatch


def _cached_property(_: Pickler, descriptor: Any) -> Reduced:
    return _revive.cached_property, (descriptor.func, descriptor.attrname)


def _dispatched_method(_: Pickler, descriptor: Any) -> Reduced:
    return _revive.dispatched_method, (descriptor.dispatcher, descriptor.func)


def _wrapper(_: Pickler, descriptor: Any) -> Reduced:
    return type(descriptor), (descriptor.__func__,)


def _property(_: Pickler, descriptor: Any) -> Reduced:
    return property, (descriptor.fget, descriptor.fset, descriptor.fdel, descriptor.__doc__)


def _memoryview(_: Pickler, view: memoryview) -> Reduced:
    import _pickle

    if not view.c_contiguous:
        return _revive.view, (view.tobytes(), view.format, view.shape, view.readonly)
    return _revive.view, (_pickle.PickleBuffer(view), view.format, view.shape, view.readonly)


def _type_variable(_: Pickler, variable: Any) -> Reduced:
    if _reach.find(variable.__module__, variable.__name__) is variable and not _reach.is_own(variable.__module__):
        return NotImplemented
    arguments = (
        _homes.tokens.of(variable),
        variable.__name__,
        variable.__constraints__,
        variable.__bound__,
        variable.__covariant__,
        variable.__contravariant__,
    )
    return _revive.type_variable, arguments


_OF_SINGLETONS: dict[Any, Any] = {type(None): None, type(...): ..., type(NotImplemented): NotImplemented}

HANDLERS: dict[Any, Callable[[Pickler, Any], Reduced]] = {
    type(functools.lru_cache(lambda: None)): _lru,
    functools.partial: _partial,
    functools.cached_property: _cached_property,
    functools.singledispatchmethod: _dispatched_method,
    staticmethod: _wrapper,
    classmethod: _wrapper,
    property: _property,
    memoryview: _memoryview,
}
