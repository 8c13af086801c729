"""SafeDict: a dict whose every operation is one atomic step, and which never runs user code under its lock."""

from __future__ import annotations

import copy
import operator
import re
import weakref
from collections import OrderedDict, UserDict
from collections.abc import Callable, Mapping, MutableMapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import pytest

from pyferris.safe_thread import SafeDict


class Same:
    """A key whose hash all of its kind share, so that each look-up compares."""

    def __init__(self, name: object) -> None:
        self.name = name

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.name == other.name

    def __repr__(self) -> str:
        return f"Same({self.name!r})"


@pytest.mark.parametrize(
    "initial",
    [
        {"a": 1, "b": 2},
        [("a", 1), ("b", 2)],
        [["a", 1], "b2"],
        iter([("a", 1), ("b", 2)]),
        OrderedDict(a=1, b=2),
        UserDict(a=1, b=2),
        MappingProxyType({"a": 1, "b": 2}),
        SafeDict({"a": 1, "b": 2}),
    ],
    ids=lambda initial: type(initial).__name__,
)
def test_is_filled_from_what_fills_a_dict(initial: Any) -> None:
    shared: SafeDict[Any, Any] = SafeDict(initial)
    assert next(iter(shared.items())) == ("a", 1)
    assert list(shared) == ["a", "b"]


def test_is_empty_without_an_initial_value() -> None:
    assert len(SafeDict()) == SafeDict(None).size() == len(SafeDict(initial={})) == 0


@pytest.mark.parametrize(
    ("initial", "error", "message"),
    [
        (5, TypeError, "a mapping or an iterable of pairs of key and value, not from int: 5"),
        ([1], TypeError, "element 0 .* is no pair of key and value: 1"),
        ([("a", 1), ("b", 2, 3)], ValueError, r"element 1 .* has length 3, .*: \('b', 2, 3\)"),
        ([([], 1)], TypeError, "unhashable type: 'list'"),
    ],
)
def test_what_is_no_mapping_is_refused_by_name(initial: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SafeDict(initial)
    with pytest.raises(error, match=message):
        SafeDict().update(initial)


def test_an_error_of_the_source_passes_through() -> None:
    def pairs() -> Any:
        yield "a", 1
        raise LookupError("mine")

    class Broken:
        @property
        def keys(self) -> Any:
            raise LookupError("mine")

    shared: SafeDict[str, int] = SafeDict()
    with pytest.raises(LookupError, match="mine"):
        shared.update(pairs())
    assert shared == {"a": 1}, "what came before the error is there"
    with pytest.raises(LookupError, match="mine"):
        shared.update(Broken())  # type: ignore[call-overload]


def test_reads_and_writes_as_a_dict() -> None:
    shared: SafeDict[Any, Any] = SafeDict()
    shared["a"] = 1
    assert shared.put("b", 2) is None
    shared.put(key="c", value=3)
    assert (shared["a"], shared.get("b"), shared.get("x"), shared.get("x", 5), shared.get(key="c", default=0)) == (
        1,
        2,
        None,
        5,
        3,
    )
    assert "a" in shared
    assert "x" not in shared
    shared["a"] = "new"
    assert list(shared.items()) == [("a", "new"), ("b", 2), ("c", 3)], "a key keeps its place"
    del shared["a"]
    shared["a"] = 4
    assert list(shared) == ["b", "c", "a"], "a new one goes to the end"
    assert (len(shared), shared.size()) == (3, 3)


def test_removes_as_a_dict() -> None:
    shared: SafeDict[str, int] = SafeDict({"a": 1, "b": 2, "c": 3})
    assert shared.pop("b") == 2
    assert shared.pop("b", None) is None
    assert shared.pop("b", default=5) == 5
    assert shared.popitem() == ("c", 3)
    assert shared.popitem() == ("a", 1)
    with pytest.raises(KeyError, match="the SafeDict is empty"):
        shared.popitem()
    shared.update({"x": 1}, y=2)
    shared.clear()
    assert shared == {}
    shared["z"] = 1
    assert list(shared) == ["z"]


def test_inserts_only_what_is_missing() -> None:
    shared: SafeDict[str, Any] = SafeDict({"a": 1})
    assert shared.setdefault("a", 2) == 1
    assert shared.setdefault("b", 2) == 2
    assert shared.setdefault("c") is None
    assert shared.get_or_insert("a", 9) == 1
    assert shared.get_or_insert("d", 9) == 9
    assert shared == {"a": 1, "b": 2, "c": None, "d": 9}


def test_update_takes_any_name_as_a_keyword() -> None:
    shared: SafeDict[str, int] = SafeDict()
    shared.update([("a", 1)], self=2, other=3)
    assert shared == {"a": 1, "self": 2, "other": 3}
    with pytest.raises(TypeError, match=r"at most 1 positional argument \(2 given\)"):
        shared.update({}, {})  # type: ignore[call-overload]


@pytest.mark.parametrize("key", ["x", 1, None, ("a", "b"), (), Same("x")], ids=repr)
def test_a_missing_key_is_a_key_error_with_the_key(key: Any) -> None:
    shared: SafeDict[Any, int] = SafeDict({"a": 1})
    with pytest.raises(KeyError) as caught:
        shared[key]
    assert caught.value.args == (key,)
    with pytest.raises(KeyError) as caught:
        del shared[key]
    assert caught.value.args == (key,)
    with pytest.raises(KeyError) as caught:
        shared.pop(key)
    assert caught.value.args == (key,)


ON_A_KEY: list[Callable[[SafeDict[Any, Any], Any], Any]] = [
    lambda d, k: d[k],
    lambda d, k: d.get(k),
    lambda d, k: d.put(k, 1),
    lambda d, k: d.__setitem__(k, 1),
    lambda d, k: d.__delitem__(k),
    lambda d, k: k in d,
    lambda d, k: d.pop(k, None),
    lambda d, k: d.setdefault(k, 1),
    lambda d, k: d.get_or_insert(k, 1),
    lambda d, k: d.increment(k),
    lambda d, k: d.update_value(k, lambda value: value, 1),
    lambda d, k: d.compare_exchange(k, 1, 2),
    lambda d, k: d.update([(k, 1)]),
]


@pytest.mark.parametrize("operation", ON_A_KEY)
def test_an_unhashable_key_is_a_type_error(operation: Callable[[SafeDict[Any, Any], Any], Any]) -> None:
    shared: SafeDict[Any, Any] = SafeDict({"a": 1})
    with pytest.raises(TypeError, match=r"unhashable type: 'list'|cannot use 'list'"):
        operation(shared, [])
    assert shared == {"a": 1}


@pytest.mark.parametrize("operation", ON_A_KEY)
def test_an_eq_that_raises_leaves_the_dict_as_it_was(operation: Callable[[SafeDict[Any, Any], Any], Any]) -> None:
    error = ArithmeticError("mine")

    class Raises(Same):
        __hash__ = Same.__hash__

        def __eq__(self, other: object) -> bool:
            raise error

    key = Same("a")
    shared: SafeDict[Any, Any] = SafeDict({"first": 0, key: 1})
    with pytest.raises(ArithmeticError) as caught:
        operation(shared, Raises("a"))
    assert caught.value is error
    assert list(shared.items()) == [("first", 0), (key, 1)]
    shared[key] = 2
    assert shared[key] == 2


def test_a_hash_that_raises_passes_through() -> None:
    class Raises:
        def __hash__(self) -> int:
            raise ArithmeticError("mine")

    with pytest.raises(ArithmeticError, match="mine"):
        SafeDict()[Raises()]


def test_equal_keys_of_different_types_are_one_key() -> None:
    shared: SafeDict[Any, str] = SafeDict()
    for key, value in [(1, "int"), (1.0, "float"), (True, "bool"), (Fraction(1), "fraction"), (1 + 0j, "complex")]:
        shared[key] = value
    assert list(shared.items()) == [(1, "complex")]
    assert shared.get(2**70) is None
    shared[2**70] = "big"
    assert shared[float(2**70)] == "big"
    assert ("1" in shared, b"1" in shared) == (False, False)


def test_strings_of_every_width_are_told_apart() -> None:
    texts = ["", "a", "b", "ab", "\xe9", "\u20ac", "\U0001f600", "a\U0001f600", "\x00", "a\x00", "\udc80"]
    shared = SafeDict({text: index for index, text in enumerate(texts)})
    assert [shared["".join(list(text))] for text in texts] == list(range(len(texts)))
    assert [shared.get(text.encode(errors="replace")) for text in texts] == [None] * len(texts)

    class Text(str):
        pass

    assert shared[Text("ab")] == 3
    assert shared.pop(Text("\u20ac")) == 5


def test_keys_with_one_hash_are_told_apart() -> None:
    shared: SafeDict[Any, int] = SafeDict()
    for number in range(50):
        shared[Same(number)] = number
    for number in range(0, 50, 2):
        assert shared.pop(Same(number)) == number
    assert [shared.get(Same(number)) for number in range(50)] == [n if n % 2 else None for n in range(50)]
    # -1 and -2 have one hash as well, but are compared without running any code.
    numbers: SafeDict[int, str] = SafeDict({-1: "one", -2: "two"})
    assert (numbers[-1], numbers[-2]) == ("one", "two")


def test_a_nan_is_found_by_identity() -> None:
    nan = float("nan")
    shared = SafeDict({nan: 1})
    assert shared[nan] == 1
    assert float("nan") not in shared


def test_views_are_snapshots_with_all_that_views_have() -> None:
    shared: SafeDict[str, int] = SafeDict({"a": 1, "b": 2})
    keys, values, items = shared.keys(), shared.values(), shared.items()
    shared["c"] = 3
    del shared["a"]
    assert list(keys) == ["a", "b"]
    assert list(values) == [1, 2]
    assert list(items) == [("a", 1), ("b", 2)]
    assert keys & {"b", "z"} == {"b"}
    assert ("a", 1) in items
    assert list(reversed(keys)) == ["b", "a"]
    assert list(shared.keys()) == ["b", "c"]


def test_iteration_goes_on_whatever_happens_to_the_dict() -> None:
    shared = SafeDict({number: number for number in range(100)})
    seen = []
    for key in shared:
        seen.append(key)
        shared.pop(key)
        shared[key + 1000] = key
    assert seen == list(range(100))
    assert len(shared) == 100
    for key, _ in shared.items():
        del shared[key]
    assert len(shared) == 0


def test_is_a_mutable_mapping_for_those_who_ask() -> None:
    shared: Any = SafeDict({"a": 1, "b": 2})
    assert isinstance(shared, MutableMapping)
    assert issubclass(SafeDict, Mapping)
    names = "clear get items keys pop popitem setdefault update values __contains__ __delitem__ __eq__ __iter__ __len__"
    for name in names.split():
        assert callable(getattr(shared, name)), name
    match shared:
        case {"a": one, **rest}:
            assert (one, rest) == (1, {"b": 2})
        case _:
            pytest.fail("a mapping pattern did not match")
    assert {**shared} == {"a": 1, "b": 2}
    assert dict(shared) == {"a": 1, "b": 2}
    with pytest.raises(TypeError, match="unhashable"):
        hash(shared)


def test_equals_dicts_and_safe_dicts_by_what_they_hold() -> None:
    shared = SafeDict({"a": 1, "b": [2]})
    assert shared == {"b": [2], "a": 1}
    assert operator.eq({"b": [2], "a": 1}, shared) is True
    assert shared == SafeDict({"b": [2], "a": 1})
    assert shared == MappingProxyType({"a": 1, "b": [2]})
    assert shared != {"a": 1}
    assert shared != {"a": 1, "b": [3]}
    assert operator.ne(shared, {"a": 1, "b": [2]}) is False
    assert shared != [("a", 1), ("b", [2])]
    with pytest.raises(TypeError, match="not supported"):
        shared < {}  # type: ignore[operator]  # noqa: B015


def test_copies_share_keys_and_values_but_no_changes() -> None:
    value = ["x"]
    shared: SafeDict[Any, Any] = SafeDict({Same(number): number for number in range(20)})
    del shared[Same(3)]
    shared["list"] = value
    for duplicate in (shared.copy(), copy.copy(shared)):
        assert type(duplicate) is SafeDict
        assert duplicate == shared
        assert list(duplicate) == list(shared)
        assert duplicate["list"] is value
        duplicate["more"] = 1
        for number in range(50):
            duplicate[Same(number)] = -number
        assert "more" not in shared
        assert shared[Same(4)] == 4


def test_what_it_holds_is_not_copied_by_accident() -> None:
    with pytest.raises(TypeError, match=r"cannot copy a SafeDict.*dict\(it\)"):
        copy.deepcopy(SafeDict())


def test_shows_what_it_holds_also_when_it_holds_itself() -> None:
    shared: SafeDict[str, Any] = SafeDict({"a": 1})
    assert repr(shared) == "SafeDict({'a': 1})"
    assert repr(SafeDict()) == "SafeDict()"
    shared["self"] = shared
    assert repr(shared) == "SafeDict({'a': 1, 'self': SafeDict({...})})"

    class Mine(SafeDict[str, int]):
        pass

    assert repr(Mine({"a": 1})) == "Mine({'a': 1})"


def test_can_be_subclassed_and_annotated() -> None:
    class Mine(SafeDict[str, int]):
        def __init__(self, name: str) -> None:
            super().__init__({"a": 1})
            self.name = name

    mine = Mine("n")
    assert mine.increment("a") == 2
    assert mine == {"a": 2}
    assert type(mine.copy()) is SafeDict, "as a dict's copy"
    assert weakref.ref(mine)() is mine
    assert re.fullmatch(r".*SafeDict\[str, int\]", repr(SafeDict[str, int]))


def test_a_long_life_of_insertions_and_removals_keeps_everything_right() -> None:
    shared: SafeDict[int, int] = SafeDict()
    for number in range(20_000):
        shared[number] = number
        if number >= 10:
            assert shared.pop(number - 10) == number - 10
    assert list(shared) == list(range(19_990, 20_000))
    for number in range(30_000, 50_000):
        shared[number] = -number
    assert len(shared) == 20_010
    assert shared[41_234] == -41_234
