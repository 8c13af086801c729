"""What a worker makes of classes, enums, decorated functions and the like; called by pickles of ``_reducers``."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false
from __future__ import annotations

import functools
from typing import Any

from . import _homes
from ._homes import admit, here, present

__all__: list[str] = []

_METHODS_OF_TYPED_DICTS = "_TypedDictMeta"


def _new(meta: Any, name: str, bases: tuple[Any, ...], made_with: dict[str, Any]) -> Any:
    """A bare class: neither its metaclass's nor its bases' own code that greets new classes is run again."""
    if meta.__name__ == _METHODS_OF_TYPED_DICTS:
        return type.__new__(meta, name, bases, made_with)
    outer = next(each for each in meta.__mro__ if _homes.tokens.peek(each) is None)
    greeters: dict[Any, Any] = {}
    for base in bases:
        for each in base.__mro__:
            token = _homes.tokens.peek(each)
            if token is not None and token >> 40 != _homes.ORIGIN and "__init_subclass__" in each.__dict__:
                greeters[each] = each.__dict__["__init_subclass__"]
    for each in greeters:
        type.__delattr__(each, "__init_subclass__")
    try:
        return outer.__new__(meta, name, bases, made_with)
    finally:
        for each, greeter in greeters.items():
            type.__setattr__(each, "__init_subclass__", greeter)


def make_class(token: int, meta: Any, name: str, bases: tuple[Any, ...], made_with: dict[str, Any]) -> Any:
    found = present(token)
    return admit(token, _new(meta, name, bases, made_with)) if found is None else found


def fill_class(cls: Any, state: tuple[dict[str, Any], list[Any]]) -> None:
    if id(cls) not in here().fresh:
        return
    attributes, registered = state
    for name, value in attributes.items():
        type.__setattr__(cls, name, value)
    for each in registered:
        cls.register(each)


def make_enum(
    token: int,
    meta: Any,
    name: str,
    bases: tuple[Any, ...],
    made_with: dict[str, Any],
    data: Any,
    members: list[tuple[str, Any]],
) -> Any:
    found = present(token)
    if found is not None:
        return found
    cls = type.__new__(meta, name, bases, made_with)
    made = {each: object.__new__(cls) if data is object else data.__new__(cls, value) for each, value in members}
    type.__setattr__(cls, "_member_map_", made)
    return admit(token, cls)


def fill_enum(cls: Any, state: tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]) -> None:
    if id(cls) not in here().fresh:
        return
    attributes, members = state
    for name, values in members:
        cls._member_map_[name].__dict__.update(values)
    for name, value in attributes.items():
        type.__setattr__(cls, name, value)


def enum_member(cls: Any, name: str) -> Any:
    return cls._member_map_[name]


def fill_instance(made: Any, state: dict[str, Any]) -> None:
    made.__dict__.update(state)


def lru(token: int, function: Any, maxsize: int | None, typed: bool) -> Any:
    found = present(token)
    return admit(token, functools.lru_cache(maxsize, typed)(function)) if found is None else found


def fill_attributes(made: Any, attributes: dict[str, Any]) -> None:
    if id(made) in here().fresh:
        made.__dict__.update(attributes)


def partial(token: int, kind: Any, function: Any) -> Any:
    found = present(token)
    return admit(token, kind(function)) if found is None else found


def fill_partial(made: Any, state: tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]) -> None:
    if id(made) in here().fresh:
        args, keywords, attributes = state
        made.__setstate__((made.func, args, keywords, attributes or None))


def threaded(token: int) -> Any:
    """A function of ``safe_thread_decorator``, whose calls run at once: the worker is the thread that they get."""
    found = present(token)
    if found is not None:
        return found
    from .decorator import ThreadedFunction

    return admit(token, ThreadedFunction(_unfilled, 1, "inline", None))


def _unfilled() -> None:
    """Stands for the function until that is there."""


def fill_threaded(made: Any, function: Any) -> None:
    if id(made) in here().fresh:
        functools.update_wrapper(made, function)
        made._function = function


def singledispatch(token: int) -> Any:
    found = present(token)
    return admit(token, functools.singledispatch(lambda _: None)) if found is None else found


def fill_singledispatch(made: Any, state: tuple[dict[Any, Any], dict[str, Any], tuple[str, ...]]) -> None:
    if id(made) in here().fresh:
        registry, attributes, about = state
        for cls, function in registry.items():
            made.register(cls, function)
        made.__dict__.update(attributes)
        made.__module__, made.__name__, made.__qualname__, made.__doc__ = about


def cached_property(function: Any, name: str | None) -> Any:
    made: Any = functools.cached_property(function)
    made.attrname = name
    return made


def dispatched_method(dispatcher: Any, function: Any) -> Any:
    made: Any = functools.singledispatchmethod(function)
    made.dispatcher = dispatcher
    return made


def view(data: Any, code: str, shape: tuple[int, ...], readonly: bool) -> memoryview:
    made = memoryview(data)
    if readonly and not made.readonly:
        made = made.toreadonly()
    return made if code == "B" and len(shape) == 1 else made.cast("B").cast(code, shape)  # type: ignore[call-overload]


def type_variable(
    token: int, name: str, constraints: tuple[Any, ...], bound: Any, covariant: bool, contravariant: bool
) -> Any:
    found = present(token)
    if found is not None:
        return found
    from typing import TypeVar

    made: Any = TypeVar(name, *constraints, bound=bound, covariant=covariant, contravariant=contravariant)  # type: ignore[misc]
    return admit(token, made)


def exception(cls: Any, base: Any, arguments: tuple[Any, ...], args: tuple[Any, ...]) -> Any:
    """An exception, made without its own constructor, by that of its built-in base."""
    made = base.__new__(cls, *arguments)
    base.__init__(made, *arguments)
    BaseException.args.__set__(made, args)  # type: ignore[attr-defined]
    return made


def fill_exception(made: Any, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        object.__setattr__(made, name, value)
