"""What the standard library is like, for the caller and isolated workers of ``isolation="auto"`` to compare."""

from __future__ import annotations

import json
import math
from typing import Any
from unittest import mock

import own_process
import pytest

from pyferris import _pure_names
from pyferris._library import describe
from pyferris.isolation import HAS_INTERPRETERS

NAMES = sorted(_pure_names.MODULES)


def test_it_is_the_same_twice() -> None:
    assert describe(NAMES) == describe(NAMES)


@pytest.mark.parametrize("kind", ["process"] + (["interpreter"] if HAS_INTERPRETERS else []))
@pytest.mark.parametrize("first", ["", "import asyncio, copy, decimal, enum, fractions, re, ssl, typing, xml.dom"])
def test_it_is_the_same_in_a_worker(kind: str, first: str) -> None:
    said = own_process.run(
        f"""
{first}
import json, re, statistics
from pyferris._library import describe
json.dumps([1.5, "x"]), json.loads("[1]"), re.sub("a+(b)", "c", "aab"), statistics.quantiles([1, 2, 3])
re.compile("x", re.I | re.M | re.S)
with SafeThreadPool(1, isolation={kind!r}) as pool:
    here, there = describe({NAMES!r}), pool.submit(describe, {NAMES!r}).result()
print([name for name in here if here[name] != there.get(name)], len(here) == len(there))
"""
    )
    assert said == "[] True"


@pytest.mark.parametrize(
    ("module", "owner", "name", "value"),
    [
        ("math", math, "gcd", mock.Mock()),
        ("math", math, "tau", 6.0),
        ("json", json, "dumps", lambda value: "x"),
        ("json", json.JSONEncoder, "encode", mock.Mock()),
        ("json", json.JSONEncoder, "key_separator", "="),
        ("json", json.JSONEncoder, "default", property(lambda self: 1)),
        ("json", json._default_encoder, "indent", 3),  # type: ignore[attr-defined]
        ("json", json.decoder, "scanstring", len),
        ("json", json.JSONDecoder, "decode", staticmethod(len)),
    ],
)
def test_a_change_is_seen(module: str, owner: Any, name: str, value: object) -> None:
    before = describe([module])
    with mock.patch.object(owner, name, value):
        assert describe([module]) != before
    assert describe([module]) == before


def test_a_new_code_is_seen() -> None:
    before = describe(["json"])
    code = json.dumps.__code__
    try:
        json.dumps.__code__ = code.replace(co_consts=(*code.co_consts, 1))
        assert describe(["json"]) != before
    finally:
        json.dumps.__code__ = code


def test_a_module_that_is_not_there_is_no_error() -> None:
    assert describe(["no_such_module"])["no_such_module"] == 0
