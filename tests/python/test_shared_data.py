"""create_safe_shared_data, and what the shared classes have in common."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

from pyferris.safe_thread import SafeArray, SafeCounter, SafeDict, SafeQueue, create_safe_shared_data

CLASSES: list[Any] = [SafeCounter, SafeDict, SafeArray]


def contents(shared: Any) -> Any:
    if isinstance(shared, SafeQueue):
        return [shared.pop(block=False) for _ in range(shared.qsize())]
    if isinstance(shared, SafeCounter):
        return shared.get()
    return shared.to_list() if isinstance(shared, SafeArray) else dict(shared)


@pytest.mark.parametrize(
    ("kind", "cls", "initial", "empty"),
    [
        ("counter", SafeCounter, 7, 0),
        ("dict", SafeDict, {"a": 1}, {}),
        ("array", SafeArray, [1, 2], []),
        ("queue", SafeQueue, [1, 2, 3], []),
    ],
)
def test_makes_every_kind_from_either_spelling(kind: Any, cls: type, initial: Any, empty: Any) -> None:
    ways: list[tuple[Any, Any]] = [
        (create_safe_shared_data(kind), empty),
        (create_safe_shared_data(kind, None), empty),
        (create_safe_shared_data(kind, initial), initial),
        (create_safe_shared_data(kind, initial=initial), initial),
        (create_safe_shared_data(kind, initial_value=initial), initial),
        (create_safe_shared_data(kind, None, initial_value=initial), initial),
    ]
    for shared, expected in ways:
        assert type(shared) is cls
        assert contents(shared) == expected


def test_values_that_count_as_false_are_initial_values_too() -> None:
    assert create_safe_shared_data("counter", 0).get() == 0
    with pytest.raises(TypeError, match="not both: 0 and 0"):
        create_safe_shared_data("counter", 0, initial_value=0)  # type: ignore[call-overload]


@pytest.mark.parametrize("kind", ["counter", "dict", "array", "queue", "other"])
def test_both_spellings_at_once_are_a_type_error(kind: Any) -> None:
    with pytest.raises(TypeError, match="initial or initial_value, which mean the same, not both: 1 and 2"):
        create_safe_shared_data(kind, 1, initial_value=2)


@pytest.mark.parametrize("kind", ["set", "Dict", "", None, ["dict"]])
def test_another_kind_is_a_value_error_that_lists_them(kind: Any) -> None:
    with pytest.raises(ValueError, match="kind must be 'dict', 'queue', 'counter' or 'array', not ") as caught:
        create_safe_shared_data(kind)
    assert str(caught.value).endswith(repr(kind))


@pytest.mark.parametrize(
    ("kind", "initial", "message"),
    [
        ("counter", "5", "takes an int, not str: '5'"),
        ("dict", 5, "not from int: 5"),
        ("array", 5, "not of int: 5"),
        ("queue", 5, r"not from int: 5; for a limited one, call SafeQueue\(maxsize\)"),
    ],
)
def test_what_a_kind_cannot_start_from_is_a_type_error(kind: Any, initial: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        create_safe_shared_data(kind, initial)


def test_an_error_of_a_queue_s_items_passes_through() -> None:
    def items() -> Any:
        yield 1
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        create_safe_shared_data("queue", items())


@pytest.mark.parametrize("cls", CLASSES)
def test_the_examples_in_the_docstrings_run(cls: Any) -> None:
    tests = [test for test in doctest.DocTestFinder().find(cls, cls.__name__) if test.examples]
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in tests:
        runner.run(test)
    assert runner.failures == 0
    assert runner.tries > 3


@pytest.mark.parametrize("cls", CLASSES)
def test_every_public_method_is_documented_with_an_example(cls: Any) -> None:
    assert ">>> " in cls.__doc__
    for name in (name for name in vars(cls) if not name.startswith("_") and name != "dtype"):
        text = " ".join(getattr(cls, name).__doc__.split())
        assert ">>> " in text, name
        assert "Any thread" in text, name
