"""What help() and inspect say of the public names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyferris import safe_thread
from pyferris.safe_thread import MapResult, SafeFuture, SafeThread, SafeThreadPool

REFERENCE = Path(__file__).parents[2] / "docs" / "reference.md"


@pytest.mark.parametrize(
    ("method", "signature"),
    [
        (SafeThreadPool.submit, "(self, fn, /, *args, **kwargs)"),
        (SafeFuture.result, "(self, /, timeout=None)"),
        (SafeFuture.exception, "(self, /, timeout=None)"),
        (SafeFuture.add_done_callback, "(self, /, fn)"),
        (SafeFuture.set_result, "(self, /, result)"),
        (SafeFuture.set_exception, "(self, /, exception)"),
        (SafeFuture.cancel, "(self, /)"),
        (SafeFuture.detach, "(self, /)"),
        (MapResult.close, "(self, /)"),
    ],
)
def test_native_methods_have_signatures(method: Callable[..., Any], signature: str) -> None:
    assert str(inspect.signature(method)) == signature


@pytest.mark.parametrize("kind", [SafeFuture, SafeThreadPool, MapResult, SafeThread])
def test_every_public_method_has_a_docstring(kind: type) -> None:
    names = [name for name in dir(kind) if not name.startswith("_")]
    assert names
    for name in names:
        assert inspect.getdoc(getattr(kind, name)), name


def plain_signature(thing: Callable[..., Any]) -> str:
    """The signature without `self` and annotations, as the reference writes it."""
    parameters = [
        each.replace(annotation=inspect.Parameter.empty)
        for each in inspect.signature(thing).parameters.values()
        if each.name != "self"
    ]
    return str(inspect.Signature(parameters)).replace("(/)", "()").replace("'", '"')


def test_the_signatures_in_the_reference_are_the_real_ones() -> None:
    owner: Any = None
    seen = 0
    for line in REFERENCE.read_text().splitlines():
        if not line.startswith("| `"):
            continue
        for name, signature in re.findall(r"`(\.?\w+)(\(.*?\))?`", line.split(" | ")[0]):
            if not name.startswith("."):
                thing = getattr(safe_thread, name, None)
                owner = thing if isinstance(thing, type) else owner
            else:
                thing = getattr(owner, name[1:], None)
            if not signature or signature == "(...)" or thing is None:
                continue
            try:
                real = plain_signature(thing)
            except ValueError:  # a native type that has none
                continue
            seen += 1
            assert signature == real.replace("(/, ", "("), name
    assert seen > 25


def test_a_bound_submit_has_a_signature() -> None:
    with SafeThreadPool(1) as pool:
        assert str(inspect.signature(pool.submit)) == "(fn, /, *args, **kwargs)"
