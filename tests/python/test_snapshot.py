"""Snapshots of dicts and classes: whether they hold the same objects under the same names."""

from __future__ import annotations

import collections
import sys
from typing import Any
from unittest import mock

import pytest

from pyferris import _native, _untouched


class Loud:
    def __eq__(self, other: object) -> bool:
        raise AssertionError("no code of what is compared may run")

    __hash__ = None  # type: ignore[assignment]


class Base:
    number = 1


def test_a_dict_that_holds_other_objects_has_changed() -> None:
    holder: dict[str, Any] = {"a": Loud(), "b": 2.5}
    snapshot = _native.take_snapshot([holder])
    assert _native.is_unchanged(snapshot)
    equal = float("2.5")
    before = holder["b"]
    holder["b"] = equal
    assert not _native.is_unchanged(snapshot)
    holder["b"] = before
    assert _native.is_unchanged(snapshot)
    holder["c"] = 3
    assert not _native.is_unchanged(snapshot)
    del holder["c"]
    assert _native.is_unchanged(snapshot)
    del holder["a"]
    assert not _native.is_unchanged(snapshot)
    holder.clear()
    assert not _native.is_unchanged(snapshot)


def test_a_name_that_is_bound_to_what_another_one_was() -> None:
    holder: dict[str, Any] = {"a": 1000}
    value = holder["a"]
    snapshot = _native.take_snapshot([holder])
    del holder["a"]
    holder["b"] = value
    assert not _native.is_unchanged(snapshot)


def test_a_class_that_has_got_another_member_has_changed() -> None:
    snapshot = _native.take_snapshot([{}, Base])
    assert _native.is_unchanged(snapshot)
    with mock.patch.object(Base, "number", 2):
        assert not _native.is_unchanged(snapshot)
    assert _native.is_unchanged(snapshot) == (list(vars(Base)) == list(snapshot[1][1][::2]))


def test_what_a_snapshot_is_of() -> None:
    assert _native.is_unchanged(_native.take_snapshot([]))
    assert _native.is_unchanged(_native.take_snapshot([collections.OrderedDict(a=1), int, vars(sys)]))
    with pytest.raises(TypeError, match="dicts and classes"):
        _native.take_snapshot([[]])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="no snapshot"):
        _native.is_unchanged(())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["json", "re", "collections", "statistics", "math", "fractions", "textwrap"])
def test_what_was_found_untouched_is_seen_when_it_is_patched(name: str) -> None:
    """And each member of its classes, and of what it holds objects of."""
    __import__(name)
    for _ in range(2):
        assert _untouched.find_patched(name) is None
    targets = ["json.encoder.JSONEncoder.iterencode", "json.dumps"] if name == "json" else []
    targets += ["re._parser.SubPattern.append", "re.compile"] if name == "re" else []
    targets += [f"{name}.extra"]
    for target in targets:
        with mock.patch(target, return_value=None, create=True):
            found = _untouched.find_patched(name)
            assert str(found).split(".")[-1] in target, (target, found)
        assert _untouched.find_patched(name) is None
    module = sys.modules[name]
    with mock.patch.dict(sys.modules, {name: mock.Mock(__file__="x", wraps=module)}):
        _untouched.find_patched(name)
    assert _untouched.find_patched(name) is None
