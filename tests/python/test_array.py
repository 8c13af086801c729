"""SafeArray: a fixed number of elements, numbers in plain memory or objects, each changed in one atomic step."""

from __future__ import annotations

import array
import copy
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyferris.safe_thread import SafeArray

MAX = 2**63 - 1
MIN = -(2**63)


# --- What it holds ---


@pytest.mark.parametrize(
    ("initial", "dtype"),
    [
        ([], "int64"),
        ([1, 2, 3], "int64"),
        ([MIN, MAX], "int64"),
        ([1, 2.5], "float64"),
        ([1.0], "float64"),
        ([math.inf, -0.0], "float64"),
        ([2**53, 0.5], "float64"),
        ([2**53 + 1, 0.5], "object"),
        ([MAX, 0.5], "object"),
        ([MAX + 1], "object"),
        ([MIN - 1, 1.0], "object"),
        ([True, 1], "object"),
        ([1, None], "object"),
        (["a", "b"], "object"),
        ([1j], "object"),
    ],
)
def test_the_type_is_the_one_that_holds_the_values_as_they_are(initial: list[Any], dtype: str) -> None:
    shared = SafeArray(initial)
    assert shared.dtype == dtype
    assert shared.to_list() == initial
    assert [type(value) for value in shared] == [float if dtype == "float64" else type(value) for value in initial]


@pytest.mark.parametrize(
    "initial",
    [(1, 2), iter([1, 2]), {1: "a", 2: "b"}, range(1, 3), array.array("i", [1, 2]), b"\x01\x02", SafeArray([1, 2])],
    ids=lambda initial: type(initial).__name__,
)
def test_is_filled_from_any_iterable(initial: Any) -> None:
    assert SafeArray(initial).to_list() == [1, 2]
    assert SafeArray(SafeArray("ab")).to_list() == ["a", "b"]


def test_is_filled_from_numpy_as_from_its_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    assert SafeArray(numpy.arange(3)).dtype == "int64"
    assert SafeArray(numpy.arange(3, dtype="uint8")).to_list() == [0, 1, 2]
    assert SafeArray(numpy.linspace(0, 1, 3)).to_list() == [0.0, 0.5, 1.0]
    assert SafeArray(numpy.arange(6)[::2]).to_list() == [0, 2, 4]
    assert SafeArray(numpy.eye(2)).dtype == "object"
    assert SafeArray(numpy.array(["a"], dtype=object)).to_list() == ["a"]


def test_without_values_it_is_empty() -> None:
    assert len(SafeArray()) == SafeArray(None).len() == 0
    assert SafeArray([], dtype="object").dtype == "object"


def test_the_type_may_be_chosen() -> None:
    assert SafeArray([1, 2], dtype="float64").to_list() == [1.0, 2.0]
    assert SafeArray([True, 2], dtype="int64").to_list() == [1, 2]
    assert type(SafeArray([True], dtype="int64")[0]) is int
    assert SafeArray([1, 2], dtype="object").dtype == "object"
    assert SafeArray([Fraction(1, 2)], dtype="float64").to_list() == [0.5]


@pytest.mark.parametrize(
    ("initial", "dtype", "error", "message"),
    [
        (5, None, TypeError, r"not of int: 5; for a length of n, give it \[0\] \* n"),
        ([1], "int32", ValueError, "dtype is 'int64', 'float64', 'object' or None, not 'int32'"),
        ([1], int, ValueError, "not <class 'int'>"),
        ([1, 2.5], "int64", TypeError, "holds ints, not float: 2.5"),
        ([2**63], "int64", OverflowError, r"9223372036854775808 does not fit .*dtype='object'"),
        (["a"], "float64", TypeError, "holds numbers, not str: 'a'"),
        ([1j], "float64", TypeError, "holds numbers, not complex: 1j"),
        ([10**400], "float64", OverflowError, "0... is too large for a float64 SafeArray"),
    ],
)
def test_what_it_cannot_hold_is_refused_by_name(initial: Any, dtype: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SafeArray(initial, dtype=dtype)


def test_an_error_of_the_values_passes_through() -> None:
    def values() -> Iterator[int]:
        yield 1
        raise LookupError("mine")

    class Raises:
        def __index__(self) -> int:
            raise LookupError("mine")

        def __float__(self) -> float:
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        SafeArray(values())
    for dtype in ("int64", "float64"):
        with pytest.raises(LookupError, match="mine"):
            SafeArray([Raises()], dtype=dtype)  # type: ignore[call-overload]
        shared: SafeArray[Any] = SafeArray([1], dtype=dtype)  # type: ignore[call-overload]
        with pytest.raises(LookupError, match="mine"):
            shared.set(0, Raises())
        assert shared[0] == 1


# --- Elements ---

KINDS = [[1, 2, 3], [1.0, 2.0, 3.0], ["a", "b", "c"]]


@pytest.mark.parametrize("initial", KINDS, ids=["int64", "float64", "object"])
def test_reads_and_writes_elements_from_both_ends(initial: list[Any]) -> None:
    shared = SafeArray(initial)
    assert (shared[0], shared.get(2), shared[-1], shared.get(i=-3)) == (initial[0], initial[2], initial[2], initial[0])
    shared[0] = initial[2]
    assert shared.set(-1, initial[0]) is None
    assert shared.to_list() == [initial[2], initial[1], initial[0]]
    assert (len(shared), shared.len()) == (3, 3)
    assert initial[1] in shared
    assert list(reversed(shared)) == initial
    assert shared[True] == initial[1], "as a list"


@pytest.mark.parametrize("index", [3, -4, 10**30, -(10**30)])
def test_an_index_past_the_ends_is_named_with_the_length(index: int) -> None:
    shared = SafeArray([1, 2, 3])
    calls: list[Callable[[], Any]] = [
        lambda: shared[index],
        lambda: shared.get(index),
        lambda: shared.set(index, 1),
        lambda: shared.__setitem__(index, 1),
        lambda: shared.add(index, 1),
        lambda: shared.compare_exchange(index, 1, 2),
    ]
    for call in calls:
        with pytest.raises(IndexError, match=f"index {index} is out of range for a SafeArray of length 3"):
            call()
    with pytest.raises(TypeError, match="ints, or slices in brackets, not str: 'a'"):
        shared["a"]  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="not slice"):
        shared.get(slice(1))  # type: ignore[arg-type]
    assert shared.to_list() == [1, 2, 3]


def test_values_that_do_not_fit_are_refused_and_change_nothing() -> None:
    ints, reals = SafeArray([1]), SafeArray([1.0])
    with pytest.raises(TypeError, match=r"an int64 SafeArray holds ints, not float: 1\.5"):
        ints[0] = 1.5  # type: ignore[call-overload]
    with pytest.raises(OverflowError, match="9223372036854775808 does not fit"):
        ints.set(0, 2**63)
    with pytest.raises(TypeError, match="a float64 SafeArray holds numbers, not NoneType: None"):
        reals[0] = None  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="cannot be deleted"):
        del ints[0]
    assert (ints[0], reals[0]) == (1, 1.0)
    reals[0] = 3
    assert type(reals[0]) is float


def test_add_returns_the_new_value() -> None:
    assert SafeArray([1, 2]).add(1, 5) == 7
    assert SafeArray([1, 2]).add(i=-1, n=-5) == -3
    result = SafeArray([1.5]).add(0, 1)
    assert (result, type(result)) == (2.5, float)
    texts = SafeArray(["a", Fraction(1, 2)])
    assert texts.add(0, "b") == "ab"
    assert texts.add(1, 1) == Fraction(3, 2)
    assert texts.to_list() == ["ab", Fraction(3, 2)]


def test_add_refuses_what_does_not_fit_and_changes_nothing() -> None:
    ints = SafeArray([MAX, MIN, 0])
    with pytest.raises(OverflowError, match=f"{MAX} \\+ 1 does not fit .* element 0 keeps its value"):
        ints.add(0, 1)
    with pytest.raises(OverflowError, match=f"{MIN} \\+ -1"):
        ints.add(-2, -1)
    with pytest.raises(OverflowError, match="does not fit"):
        ints.add(2, 2**63)
    with pytest.raises(TypeError, match=r"holds ints, not float: 0\.5"):
        ints.add(2, 0.5)  # type: ignore[arg-type]
    assert ints.to_list() == [MAX, MIN, 0]
    assert SafeArray([1.7e308]).add(0, 1.7e308) == math.inf
    objects = SafeArray(["a"])
    with pytest.raises(TypeError, match="cannot add 1 to element 0 of a SafeArray: it is 'a', of type str") as caught:
        objects.add(0, 1)  # type: ignore[arg-type]
    assert isinstance(caught.value.__cause__, TypeError)
    assert objects[0] == "a"


def test_compare_exchange_stores_only_over_what_is_equal() -> None:
    for initial in ([1, 2], [1.0, 2.0], ["x", 1]):
        shared: SafeArray[Any] = SafeArray(initial)
        last = shared[-1]
        assert shared.compare_exchange(-1, 5, 7) is False
        assert shared[-1] == last
        assert shared.compare_exchange(i=-1, expected=float(last), new=7) is True
        assert shared[-1] == 7
    ints = SafeArray([1])
    assert ints.compare_exchange(0, "1", 2) is False
    assert ints.compare_exchange(0, None, 2) is False
    assert ints.compare_exchange(0, 2**80, 2) is False
    with pytest.raises(OverflowError):
        ints.compare_exchange(0, 1, 2**63)
    assert ints[0] == 1


def test_a_loop_that_retries_over_nan_ends() -> None:
    shared = SafeArray([math.nan])
    assert shared.compare_exchange(0, shared[0], 1.0) is True
    assert shared.compare_exchange(0, -0.0, 2.0) is False
    shared[0] = -0.0
    assert shared.compare_exchange(0, 0.0, 2.0) is True


@given(st.lists(st.integers(-5, 5), max_size=8), st.slices(8), st.lists(st.integers(), max_size=8))
def test_slices_are_read_and_stored_as_of_a_list(initial: list[int], part: slice, values: list[int]) -> None:
    for dtype in ("int64", "object"):
        shared: SafeArray[Any] = SafeArray(initial, dtype=dtype)  # type: ignore[call-overload]
        model = list(initial)
        assert shared[part] == model[part]
        if len(model[part]) == len(values) and all(MIN <= value <= MAX for value in values):
            shared[part] = iter(values)
            model[part] = values
        elif len(model[part]) != len(values):
            with pytest.raises(ValueError, match=f"{len(values)} values in a slice of {len(model[part])} elements"):
                shared[part] = values
        assert shared.to_list() == model


def test_a_slice_is_stored_only_if_all_of_it_fits() -> None:
    shared: SafeArray[Any] = SafeArray([1, 2, 3])
    with pytest.raises(TypeError, match="not str: 'x'"):
        shared[:] = [7, 8, "x"]
    with pytest.raises(TypeError, match="not iterable"):
        shared[:] = 5  # type: ignore[call-overload]
    assert shared.to_list() == [1, 2, 3]
    shared[:] = reversed(shared)
    assert shared.to_list() == [3, 2, 1]
    shared[::-1] = shared
    assert shared.to_list() == [1, 2, 3]


def test_iteration_is_over_what_was_there_when_it_began() -> None:
    for initial in KINDS:
        shared: SafeArray[Any] = SafeArray(initial)
        iterator = iter(shared)
        shared[1] = initial[0]
        assert list(iterator) == initial


def test_matches_sequence_patterns_and_shows_itself() -> None:
    match SafeArray([1, 2]):
        case [one, two]:
            assert (one, two) == (1, 2)
        case _:
            pytest.fail("a sequence pattern did not match")
    assert repr(SafeArray([1, 2])) == "SafeArray([1, 2], dtype='int64')"
    objects: SafeArray[Any] = SafeArray([None])
    objects[0] = objects
    assert repr(objects) == "SafeArray([SafeArray([...])], dtype='object')"
    assert objects == objects
    assert SafeArray([1]) != SafeArray([1]), "by identity"
    assert len({objects, objects}) == 1


def test_can_be_subclassed_and_annotated() -> None:
    class Row(SafeArray[int]):
        name = "row"

    row = Row([1, 2])
    row.note = "mine"  # type: ignore[attr-defined]
    assert row.add(0, 1) == 2
    assert repr(row) == "Row([2, 2], dtype='int64')"
    assert repr(SafeArray[int]).endswith("SafeArray[int]")


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_is_not_copied_by_accident(duplicate: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"cannot copy a SafeArray.*to_list\(\)"):
        duplicate(SafeArray([1]))


# --- Memory ---


def test_numbers_are_a_writable_buffer() -> None:
    for initial, letter in (([1, 2, 3], "q"), ([1.5, 2.5, 3.5], "d")):
        shared = SafeArray(initial)
        view = memoryview(shared)
        assert (view.format, view.itemsize, view.shape, view.readonly) == (letter, 8, (3,), False)
        assert view.tolist() == initial
        view[1] = 9
        assert shared[1] == 9
        shared[2] = 7
        assert view[2] == 7
        del shared
        assert view[0] == initial[0], "the view keeps the memory"
        assert bytes(view) == array.array(letter, view.tolist()).tobytes()
    assert memoryview(SafeArray([])).tolist() == []


def test_numpy_sees_the_same_memory() -> None:
    numpy = pytest.importorskip("numpy")
    shared = SafeArray([1, 2, 3])
    view = numpy.asarray(shared)
    assert view.dtype == numpy.int64
    view += 10
    assert shared.to_list() == [11, 12, 13]
    shared.add(0, 1)
    assert view[0] == 12
    assert numpy.asarray(SafeArray([0.5])).dtype == numpy.float64


def test_objects_have_no_buffer() -> None:
    with pytest.raises(BufferError, match=r"of objects has no buffer .* to_list\(\)"):
        memoryview(SafeArray(["a"]))  # type: ignore[arg-type]
