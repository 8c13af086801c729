"""Says which object of a message cannot travel. Used when pickling has failed; never fails itself."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false
from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from . import _by_value, _reach

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__: list[str] = []

LONGEST = 80  # characters of an object's repr
DEEPEST = 20  # objects in each other that are looked into
MOST = 300  # objects that are tried

# What a message may be of, besides a result; native code says the same.
ARGUMENTS, BOTH, ITEM = "the arguments of ", "the arguments and keywords of ", "an item for "
_SHARED = ("a value of a SafeDict", "a key of a SafeDict", "an item of a SafeQueue", "an element of a SafeArray")
_OF_SHARED = "keep plain data in it"  # the remedy for these


def short(value: object) -> str:
    """The repr of anything, on one line and short."""
    try:
        text = repr(value)
    except BaseException:
        text = f"<{type(value).__name__} whose repr fails>"
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def name(function: Any) -> str:
    found = getattr(function, "__qualname__", None)
    return f"{found}()" if isinstance(found, str) else short(function)


def explain(value: object, what: str, error: BaseException) -> str:
    """The message: ``what`` cannot travel, which object of it is to blame, and what to do about it."""
    try:
        steps, guilty = _search(value)
    except BaseException:  # user code is called
        steps, guilty = [], value
    what, steps = _place(what, steps)
    path = "".join(steps)
    where = f" at {path}" if path.startswith(("[", ".")) else path
    way, remedy = "be sent to an isolated worker", "make it in the worker, send plain data"
    if what.startswith("the result"):
        way, remedy = "come back from an isolated worker", "return plain data"
    elif what in _SHARED:
        way, remedy = "be shared with isolated workers, as its container is", _OF_SHARED
    why = error_text(error)
    text = f"{what} cannot {way}: {short(guilty)} ({type(guilty).__qualname__}){where} cannot be pickled"
    if "isolation=" in why or _OF_SHARED in why:  # the object's own text has said what to do
        return f"{text}: {why}"
    instead = "" if what in _SHARED else ' instead, or use isolation="none"'
    return f"{text} ({why}); {remedy}{instead}"


def _place(what: str, steps: list[str]) -> tuple[str, list[str]]:
    """Of what the user has given, which it is; and the steps from there.

    ``BOTH`` is said of a pair, of arguments and keywords; ``ITEM`` of (items, single, fail_fast).
    """
    if what.startswith(ITEM):
        return what, steps[2:]
    if what.startswith(BOTH):
        function = what.removeprefix(BOTH)
        if len(steps) < 2 or not steps[1].startswith("["):
            return ARGUMENTS + function, steps[2:]
        kind = "argument" if steps[0] == "[0]" else "keyword"
        return f"{kind} {steps[1][1:-1]} of {function}", steps[2:]
    if what.startswith(ARGUMENTS) and steps:
        return f"argument {steps[0][1:-1]} of {what.removeprefix(ARGUMENTS)}", steps[1:]
    return what, steps


def error_text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return type(error).__name__


def _search(value: Any) -> tuple[list[str], Any]:
    """The way to the innermost object that fails, and that."""
    path: list[str] = []
    seen: set[int] = set()
    tries = itertools.count()
    for _ in range(DEEPEST):
        for step, part in _parts(value):
            if next(tries) > MOST:
                return path, value
            if id(part) not in seen and _fails(part):
                seen.add(id(part))
                path.append(step)
                value = part
                break
        else:
            break
    return path, value


def _fails(value: Any) -> bool:
    try:
        _by_value.Pickler(shipping=False).bytes(value)
    except Exception:
        return True
    return False


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (list, tuple)):
        yield from ((f"[{index}]", part) for index, part in enumerate(value))
    elif isinstance(value, dict):
        for key, part in list(value.items()):
            yield f"[{short(key)}]", part
            yield f".key({short(key)})", key
    elif isinstance(value, (set, frozenset)):
        yield from ((".item", part) for part in value)
    elif _reach.is_a(value, _reach.Function):
        names = value.__code__.co_freevars
        for cell_name, cell in zip(names, value.__closure__ or (), strict=False):
            try:
                yield f", its variable {cell_name}", cell.cell_contents
            except ValueError:
                continue
        namespace = value.__globals__
        for global_name in _reach.names_of(value.__code__).globals:
            if global_name in namespace:
                yield f", its global {global_name}", namespace[global_name]
    elif hasattr(value, "__func__"):
        yield ", its object", value.__self__
    elif hasattr(value, "__dict__") and not str(type(value).__module__).startswith("pyferris."):
        yield from ((f".{key}", part) for key, part in list(vars(value).items()))
