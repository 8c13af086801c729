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
    try:
        path, guilty = _search(value)
    except BaseException:  # user code is called
        path, guilty = "", value
    where = f" at {path}" if path.startswith(("[", ".")) else path
    back = what.startswith("the result")
    way = "come back from an isolated worker" if back else "be sent to an isolated worker"
    why = error_text(error)
    remedy = "return plain data" if back else "make it in the worker, send plain data"
    if "isolation=" not in why:  # or the object's own text has said it
        remedy += ' instead, or use isolation="none"'
    return (
        f"{what} cannot {way}: {short(guilty)} ({type(guilty).__qualname__}){where} cannot be pickled ({why}); {remedy}"
    )


def error_text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return type(error).__name__


def _search(value: Any) -> tuple[str, Any]:
    path = ""
    seen: set[int] = set()
    tries = itertools.count()
    for _ in range(DEEPEST):
        for step, part in _parts(value):
            if next(tries) > MOST:
                return path, value
            if id(part) not in seen and _fails(part):
                seen.add(id(part))
                path, value = path + step, part
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
