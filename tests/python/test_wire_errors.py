"""Exceptions come back as they were, with a traceback that names the lines of there."""

from __future__ import annotations

import copy
import decimal
import random
import threading
from typing import Any

import pytest
from elsewhere import Elsewhere

from pyferris import _wire


class Odd(Exception):
    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(f"code {code}")
        self.code = code
        self.detail = detail


class OddOS(OSError):
    def __init__(self, name: str) -> None:
        super().__init__(2, "not there", name)


class NoText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Immovable(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class Reduces(ValueError):
    def __init__(self, a: int, b: int) -> None:
        super().__init__("both")
        self.a, self.b = a, b

    def __reduce__(self) -> Any:
        return Reduces, (self.a, self.b)


class CannotRebuild(KeyError):
    def __reduce__(self) -> Any:
        return CannotRebuild, (1, 2, 3, 4), {"x": threading.Lock()}


def throw(make_error: Any) -> None:
    raise make_error()


def over_there(there: Elsewhere, make_error: Any) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        there(throw, make_error)
    assert "in throw" in str(caught.value.__cause__)
    return caught.value


ERRORS: list[BaseException] = [
    ValueError("x", 1),
    KeyError("k"),
    OSError(2, "none", "file"),
    FileNotFoundError(2, "none", "file"),
    UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
    UnicodeEncodeError("utf-8", "x", 0, 1, "bad"),
    SyntaxError("bad", ("f.py", 1, 2, "text")),
    ImportError("no", name="n", path="p"),
    StopIteration(5),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    RecursionError("deep"),
    MemoryError(),
    decimal.InvalidOperation("x"),
    NameError("name", name="n"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_exceptions(there: Elsewhere, error: BaseException) -> None:
    error.__notes__ = ["a note"]
    error.extra = [1]  # type: ignore[attr-defined]
    got = over_there(there, lambda: error)
    assert type(got) is type(error)
    assert got.args == error.args
    assert str(got) == str(error)
    assert got.__notes__ == ["a note"]
    assert got.extra == [1]  # type: ignore[attr-defined]
    for name in ("errno", "filename", "name", "path", "value", "code", "reason", "object", "lineno", "text"):
        assert getattr(got, name, None) == getattr(error, name, None), name


def test_exceptions_with_odd_constructors(there: Elsewhere) -> None:
    got: Any = over_there(there, lambda: Odd(5, detail="d"))
    assert (type(got), got.args, got.code, got.detail) == (Odd, ("code 5",), 5, "d")
    got = over_there(there, lambda: OddOS("file"))
    assert (type(got), got.errno, got.filename, got.args) == (OddOS, 2, "file", (2, "not there"))
    got = over_there(there, lambda: Reduces(1, 2))
    assert (type(got), got.a, got.b) == (Reduces, 1, 2)
    assert type(over_there(there, NoText)) is NoText
    assert type(over_there(there, lambda: Immovable("x"))) is Immovable
    assert isinstance(over_there(there, lambda: CannotRebuild("x")), KeyError)


def test_exceptions_that_cannot_travel_arrive_as_their_nearest_kin(there: Elsewhere) -> None:
    def with_lock() -> Any:
        import threading

        error = Odd(1, detail="d")
        error.args = ("text", threading.Lock())
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        return error

    got: Any = over_there(there, with_lock)
    assert isinstance(got, Odd)
    assert "lock" in str(got)
    assert got.code == 1

    def from_library() -> Any:
        import threading

        class Local(LookupError):
            lock = threading.Lock()

        return Local("text")

    got = over_there(there, from_library)
    assert type(got) is LookupError
    assert str(got) == "text"
    assert "Local: text" in str(got.__cause__)


def test_exception_groups(there: Elsewhere) -> None:
    got: Any = over_there(there, lambda: ExceptionGroup("both", [Odd(1, detail="d"), ValueError(2)]))
    assert type(got) is ExceptionGroup
    assert [type(each) for each in got.exceptions] == [Odd, ValueError]
    assert "code 1" in str(got.__cause__)


def test_the_traceback_shows_what_led_to_it(there: Elsewhere) -> None:
    def inner() -> None:
        {}["missing"]

    def outer() -> None:
        try:
            inner()
        except KeyError as error:
            raise ValueError("outer") from error

    with pytest.raises(ValueError, match="outer") as caught:
        there(outer)
    text = str(caught.value.__cause__)
    assert "direct cause" in text
    assert "KeyError: 'missing'" in text
    assert "in inner" in text
    assert '{}["missing"]' in text
    assert f"line {inner.__code__.co_firstlineno + 1}" in text
    again = copy.copy(caught.value.__cause__)
    assert str(again) == text


def test_a_cycle_of_causes_and_endless_recursion(there: Elsewhere) -> None:
    def cycle() -> Any:
        one, other = ValueError("one"), ValueError("other")
        one.__cause__, other.__cause__ = other, one
        return one

    assert str(over_there(there, cycle)) == "one"

    def endless() -> None:
        endless()

    with pytest.raises(RecursionError) as caught:
        there(endless)
    assert "in endless" in str(caught.value.__cause__)


def test_errors_never_fail_to_be_read() -> None:
    good = _wire.dumps_error(ValueError("x"))
    assert type(_wire.loads_error(good)) is ValueError
    shuffle = random.Random(1)
    for _ in range(300):
        data = bytearray(good)
        for _ in range(3):
            data[shuffle.randrange(len(data))] = shuffle.randrange(256)
        assert isinstance(_wire.loads_error(bytes(data[: shuffle.randrange(len(data) + 1)])), BaseException)
