"""Sets of functions: their order, by addresses, is another one elsewhere; for ``isolation="auto"``."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pyferris import _purity


def set_of_variables(x: int) -> list[Any]:
    one, other = min, max
    return [each([x, 7]) for each in {one, other}]


def set_of_a_tuple(x: int) -> Any:
    return {*(min, max)}


def set_of_a_list(x: int) -> Any:
    return set([min, max])  # noqa: C405


@pytest.mark.parametrize(
    "function",
    [
        set_of_variables,
        set_of_a_tuple,
        set_of_a_list,
        lambda x: {min if x else max, x * 2},
        lambda x: {min, x * 2},
        lambda x: {len(str(x)), x, max},
        lambda x: [each for each in {math.floor, x + 1}],  # noqa: C416
        lambda x: {math.floor, math.ceil},
        lambda x: {x.upper, x.lower},
        lambda x: sorted({str.upper, str.lower}, key=repr),
    ],
)
def test_sets_of_functions(function: Any) -> None:
    found = _purity.why_impure(function)
    assert found is not None
    assert "set of functions" in found, found


@pytest.mark.parametrize(
    "function",
    [
        lambda x: sorted(set(map(str, range(x))), key=len),
        lambda x: {int(y) for y in str(x)} if isinstance(x, (int, str)) else {*()},
        lambda x: {y: len(y) for y in {str(x), str(x + 1)}},
        lambda x: (math.pi, {x, math.floor(x / 2)}),
        lambda x: {x.real, x.imag},
        lambda x: {len(str(x)), max(x, 1, key=abs), *map(int, str(x))},
        lambda x: {sorted([x], key=lambda y: {y}.pop())[0] for _ in range(x)},
    ],
)
def test_sets_beside_functions_that_are_called(function: Any) -> None:
    assert _purity.why_impure(function) is None
    function(3)
