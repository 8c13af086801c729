"""What a call can ask about itself, and its sleep."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from pyferris.safe_thread import SafeThreadPool, sleep

LIMIT = 30  # seconds; only a failure takes that long


def outside(seconds: Any) -> None:
    sleep(seconds)


def inside(seconds: Any) -> None:
    with SafeThreadPool(1) as pool:
        pool.submit(sleep, seconds).result(LIMIT)


@pytest.mark.parametrize("call", [outside, inside])
@pytest.mark.parametrize("seconds", [math.inf, 1e300, 1e10])
def test_a_sleep_that_no_clock_can_hold_is_an_overflow_error(call: Callable[[Any], None], seconds: float) -> None:
    with pytest.raises(OverflowError, match=r"at most 9e9 seconds, not "):
        call(seconds)


@pytest.mark.parametrize("call", [outside, inside])
@pytest.mark.parametrize("seconds", ["x", None, [1]])
def test_a_sleep_takes_a_number(call: Callable[[Any], None], seconds: Any) -> None:
    with pytest.raises(TypeError, match="takes a number of seconds, not ") as caught:
        call(seconds)
    assert repr(seconds) in str(caught.value)
    assert "or None" not in str(caught.value)


def test_a_sleep_is_not_negative_or_nan() -> None:
    for seconds in (-1, -math.inf, math.nan):
        with pytest.raises(ValueError, match="seconds"):
            sleep(seconds)
