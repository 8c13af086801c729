"""Exceptions as bytes: type, arguments, attributes and notes, and what the traceback of there says."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false
from __future__ import annotations

import builtins
import itertools
import marshal
import os
from typing import Any

from . import _native, _revive, _wire

__all__ = ["RemoteTraceback"]

Frame = tuple[str, int, str, int | None, int | None, int | None]
# A label, notes, frames, the exception before (with what joins them), those of a group.
Report = tuple[str, tuple[str, ...], tuple[Frame, ...], "tuple[str, Report] | None", "tuple[Report, ...]"]

LONGEST = 200  # frames of a traceback that are kept, half of them at each end
DEEPEST = 20  # exceptions that led to each other

CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"

_STATIC = 1 << 9  # of a type's flags: not set for those that are compiled in
_OURS = os.path.dirname(__file__) + os.sep
_REDUCES = ("__reduce_ex__", "__reduce__", "__setstate__", "__getstate__", "__getnewargs__", "__getnewargs_ex__")


class RemoteTraceback(Exception):
    """The cause of an exception that a worker raised; its text is the traceback of there."""

    def __init__(self, report: Report | str) -> None:
        super().__init__()
        self._report = report

    def __str__(self) -> str:
        if not isinstance(self._report, str):
            self._report = "\n" + _format(self._report)
        return self._report

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteTraceback, (str(self),)


def base_of(cls: type[BaseException]) -> Any:
    """The compiled-in class whose constructor an exception's class is built upon."""
    return next(each for each in cls.__mro__ if not each.__flags__ & _STATIC)


def reduce(error: BaseException) -> Any:
    """For pickle: rebuilt without calling the class's own constructor, which may want other arguments."""
    cls = type(error)
    base = base_of(cls)
    if any(getattr(cls, name, None) is not getattr(base, name, None) for name in _REDUCES):
        return NotImplemented  # it has its own way
    reduced: Any = error.__reduce__()
    attributes: dict[str, Any] = dict(reduced[2]) if len(reduced) > 2 and reduced[2] else {}
    if isinstance(error, (ImportError, NameError, AttributeError)) and error.name is not None:
        attributes.setdefault("name", error.name)
    attributes.pop("args", None)
    return _revive.exception, (cls, base, reduced[1], error.args), attributes, None, None, _revive.fill_exception


def dumps_error(error: BaseException) -> bytes:
    try:
        report = _report(error, set(), 0)
    except BaseException:
        report = (type(error).__name__, (), (), None, ())
    names = [cls.__name__ for cls in type(error).__mro__ if cls.__module__ == "builtins"]
    text = _text(error)
    try:
        data = _pickled(error, text)
    except BaseException:
        data = b""
    return _native.seal(b"E", marshal.dumps((data, names, text, report)))


def _dumps(value: Any) -> bytes:
    from . import _by_value

    return _by_value.dumps(value, "an exception", result=True)


def _pickled(error: BaseException, text: str) -> bytes:
    try:
        return _dumps(error)
    except Exception:
        pass
    # Without what cannot travel; as the nearest class that can.
    args = tuple([argument if _travels(argument) else _shown(argument) for argument in error.args])
    attributes = {name: value for name, value in error.__dict__.items() if _travels(value)}
    for cls in type(error).__mro__:
        try:
            made = _revive.exception(cls, base_of(cls), args, args)
            if _text(made) != text:
                made = _revive.exception(cls, base_of(cls), (text,), (text,))
            _revive.fill_exception(made, attributes)
            return _dumps(made)
        except Exception:
            continue
    return b""


def _travels(value: Any) -> bool:
    try:
        _dumps(value)
    except Exception:
        return False
    return True


def _shown(value: Any) -> str:
    from . import _blame

    return _blame.short(value)


def loads_error(data: bytes) -> BaseException:
    try:
        pickled, names, text, report = marshal.loads(_wire.unseal(data, b"E")[1])
        cause = RemoteTraceback(report)
    except Exception as problem:
        return RuntimeError(f"an exception of a worker cannot be read: {problem!r}")
    error = _unpickled(pickled)
    if error is None:
        error = _nearest(names, text)
    set_cause: Any = vars(BaseException)["__cause__"]
    set_cause.__set__(error, cause)  # past what the class may forbid
    return error


def _unpickled(pickled: bytes) -> BaseException | None:
    try:
        error: Any = _wire.loads(pickled) if pickled else None
    except BaseException:  # user code is called here
        return None
    return error if isinstance(error, BaseException) else None


def _nearest(names: list[str], text: str) -> BaseException:
    for name in names:
        try:
            return getattr(builtins, name)(text)  # type: ignore[no-any-return]
        except Exception:
            continue
    return RuntimeError(text)


# --- what a traceback says


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return f"<{type(error).__name__} whose str() fails>"


def _label(error: BaseException) -> str:
    cls = type(error)
    name = cls.__qualname__ if cls.__module__ in ("builtins", "__main__") else f"{cls.__module__}.{cls.__qualname__}"
    text = _text(error)
    return f"{name}: {text}" if text else name


def _report(error: BaseException, seen: set[int], depth: int) -> Report:
    seen.add(id(error))
    notes = getattr(error, "__notes__", None)
    cause, context = error.__cause__, error.__context__
    before = None
    if depth < DEEPEST:
        if cause is not None:
            if id(cause) not in seen:
                before = (CAUSE, _report(cause, seen, depth + 1))
        elif context is not None and not error.__suppress_context__ and id(context) not in seen:
            before = (CONTEXT, _report(context, seen, depth + 1))
    members: tuple[BaseException, ...] = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return (
        _label(error),
        tuple([str(note) for note in notes]) if isinstance(notes, (list, tuple)) else (),
        _frames(error),
        before,
        tuple([_report(member, seen, depth + 1) for member in members[:15]]) if depth < DEEPEST else (),
    )


def _frames(error: BaseException) -> tuple[Frame, ...]:
    found: list[Any] = []
    entry = error.__traceback__
    while entry is not None:
        code = entry.tb_frame.f_code
        if found or not code.co_filename.startswith(_OURS):  # the worker's own frames come first
            where = next(itertools.islice(code.co_positions(), entry.tb_lasti // 2, None), (None, None, None, None))
            found.append((code.co_filename, entry.tb_lineno or 0, code.co_name, *where[1:]))
        entry = entry.tb_next
    return tuple(found if len(found) <= LONGEST else found[: LONGEST // 2] + found[-LONGEST // 2 :])


def _format(report: Report) -> str:
    import linecache
    import traceback

    label, notes, frames, before, members = report
    parts: list[str] = []
    if before is not None:
        parts += [_format(before[1]), before[0]]
    if frames:
        parts.append("Traceback (most recent call last):\n")
        summaries: list[traceback.FrameSummary] = []
        for name, line, function, end, start_column, end_column in frames:
            linecache.checkcache(name)
            summaries.append(
                traceback.FrameSummary(name, line, function, end_lineno=end, colno=start_column, end_colno=end_column)
            )
        parts += traceback.StackSummary.from_list(summaries).format()
    parts.append(label + "\n")
    parts += [note + "\n" for note in notes]
    for number, member in enumerate(members, 1):
        lines = _format(member).splitlines(keepends=True)
        parts += [f"  +---------------- {number} ----------------\n", *("  | " + line for line in lines)]
    return "".join(parts)
