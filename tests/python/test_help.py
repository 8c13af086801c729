"""What help() and inspect say of the public names."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from pyferris.safe_thread import MapResult, SafeFuture, SafeThread, SafeThreadPool


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


def test_a_bound_submit_has_a_signature() -> None:
    with SafeThreadPool(1) as pool:
        assert str(inspect.signature(pool.submit)) == "(fn, /, *args, **kwargs)"
