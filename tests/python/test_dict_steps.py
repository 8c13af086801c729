"""SafeDict's steps that read, compute and write at once: increment, update_value, compare_exchange."""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from pyferris.safe_thread import SafeDict


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    """End the process if a test blocks inside native code, where it keeps the GIL and no Python timer can run."""
    faulthandler.dump_traceback_later(60, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


def test_increment_adds_numbers_of_every_kind() -> None:
    shared: SafeDict[str, Any] = SafeDict({"f": Fraction(1, 2), "d": Decimal(1), "big": 2**63 - 1, "t": True})
    assert shared.increment("new") == 1
    assert shared.increment("new", 4) == 5
    assert shared.increment("new", n=-6) == -1
    assert shared.increment("new", 0.5) == -0.5
    assert shared.increment("f", Fraction(1, 2)) == 1
    assert shared.increment("d", 2) == Decimal(3)
    assert shared.increment("big") == 2**63
    assert shared.increment("t") == 2
    assert shared.increment("real", 1.5) == 1.5
    result = shared.increment("bool", True)
    assert (result, type(result)) == (1, int), "0 + True"
    assert shared["big"] == 2**63


def test_increment_refuses_what_is_no_number_and_says_where_it_is() -> None:
    shared: SafeDict[Any, Any] = SafeDict({"a": "text", ("b", 1): None})
    with pytest.raises(TypeError, match=r"key 'a' by 1: it is 'text', of type str, not a number") as caught:
        shared.increment("a")
    assert isinstance(caught.value.__cause__, TypeError)
    with pytest.raises(TypeError, match=r"key \('b', 1\) by 2: it is None, of type NoneType"):
        shared.increment(("b", 1), 2)
    with pytest.raises(TypeError, match=r"takes a number as n, not str: 'x'"):
        shared.increment("a", "x")
    with pytest.raises(TypeError, match="takes a number as n, not NoneType: None"):
        shared.increment("new", None)
    assert shared == {"a": "text", ("b", 1): None}


def test_update_value_stores_what_fn_returns() -> None:
    shared: SafeDict[str, Any] = SafeDict({"a": 1})
    assert shared.update_value("a", lambda value: value * 10, 7) == 10
    assert shared.update_value("b", lambda value: value * 10, 7) == 70
    assert shared.update_value(key="b", fn=str, default=None) == "70"
    assert shared == {"a": 10, "b": "70"}
    with pytest.raises(TypeError, match="takes a callable as fn, not int: 5"):
        shared.update_value("a", 5, 0)  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        shared.update_value("a", lambda value: value / 0, 0)
    with pytest.raises(ZeroDivisionError):
        shared.update_value("new", lambda value: value / 0, 0)
    assert shared == {"a": 10, "b": "70"}


def test_compare_exchange_compares_by_identity_or_equality() -> None:
    nan = float("nan")
    shared: SafeDict[str, Any] = SafeDict({"one": 1, "nan": nan, "none": None})
    assert shared.compare_exchange("one", 2, "x") is False
    assert shared.compare_exchange("one", 1.0, "x") is True
    assert shared.compare_exchange("nan", float("nan"), 0) is False
    assert shared.compare_exchange("nan", nan, 0) is True
    assert shared.compare_exchange("none", None, 1) is True
    assert shared.compare_exchange("missing", None, 1) is False, "a missing key equals nothing"
    assert shared == {"one": "x", "nan": 0, "none": 1}

    class Raises:
        def __eq__(self, other: object) -> bool:
            raise ArithmeticError("mine")

    with pytest.raises(ArithmeticError, match="mine"):
        shared.compare_exchange("one", Raises(), 1)
    assert shared["one"] == "x"


def test_update_value_starts_again_when_the_value_was_changed_meanwhile() -> None:
    shared: SafeDict[str, Any] = SafeDict({"a": "old"})
    seen = []

    def fn(value: str) -> str:
        seen.append(value)
        if len(seen) == 1:
            shared["a"] = "other"
        return value + "!"

    assert shared.update_value("a", fn, "") == "other!"
    assert seen == ["old", "other"]
    assert shared["a"] == "other!"


def test_update_value_starts_again_when_the_key_came_or_went() -> None:
    shared: SafeDict[str, Any] = SafeDict({"goes": 1})
    seen: list[Any] = []

    def remove(value: Any) -> Any:
        seen.append(value)
        shared.pop("goes", None)
        return value

    def insert(value: Any) -> Any:
        seen.append(value)
        shared.setdefault("comes", "theirs")
        return value

    assert shared.update_value("goes", remove, "default") == "default"
    assert shared.update_value("comes", insert, "default") == "theirs"
    assert seen == [1, "default", "default", "theirs"]
    assert shared == {"goes": "default", "comes": "theirs"}


def test_increment_starts_again_when_adding_changed_the_value() -> None:
    shared: SafeDict[str, Any] = SafeDict()

    class Number:
        def __add__(self, other: int) -> int:
            shared["a"] = 100
            return 1

    shared["a"] = Number()
    assert shared.increment("a") == 101
    assert shared["a"] == 101


def test_compare_exchange_starts_again_when_comparing_changed_the_value() -> None:
    shared: SafeDict[str, Any] = SafeDict()

    class Changes:
        def __eq__(self, other: object) -> bool:
            shared["a"] = "other"
            return True

    shared["a"] = Changes()
    assert shared.compare_exchange("a", "expected", "new") is False
    assert shared["a"] == "other"
