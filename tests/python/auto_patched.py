"""Functions that see what others have patched, or what only a few of their items show, for ``isolation="auto"``."""

from __future__ import annotations

import base64
import binascii
import builtins
import codecs
import collections
import copy
import fractions
import functools
import html.entities
import json
import math
import operator
import re
import statistics
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

Made = tuple[Any, ...]

EARLY = 30  # items that show nothing: an item that is tried is one of them


def work(n: int) -> int:
    return sum(range(n + 20000))


def late(function: Callable[[int], Any]) -> Callable[[int], Any]:
    """``function`` for the later items, in code that is checked as its own is."""
    return lambda n: function(n) if n >= EARLY else work(n)


def patched(function: Callable[[int], Any], owner: Any, name: str, value: object) -> Made:
    patch = mock.patch.object(owner, name, value)
    patch.start()
    return late(function), range(60), None, patch.stop


def case_method_of_a_class_with_a_metaclass() -> Made:
    return patched(lambda n: str(fractions.Fraction(n, 7)), fractions.Fraction, "__str__", lambda _: "patched")


def case_operator_of_fractions() -> Made:
    def add(_one: object, _other: object) -> int:
        return 5

    return patched(lambda n: str(fractions.Fraction(n, 7) + n), fractions.Fraction, "__add__", add)


def case_property_of_fractions() -> Made:
    return patched(lambda n: fractions.Fraction(n, 7).numerator, fractions.Fraction, "numerator", property(lambda _: 9))


def case_partial_method() -> Made:
    method = functools.partialmethod(lambda _, most=3: most)
    return patched(
        lambda n: fractions.Fraction(n, 7).limit_denominator(5), fractions.Fraction, "limit_denominator", method
    )


def case_builtin_of_a_function_of_statistics() -> Made:
    real = sorted

    def four_are_nothing(data: Any, **options: Any) -> list[Any]:
        return [0] * 4 if type(data) is list and len(data) == 4 else real(data, **options)

    return patched(lambda n: statistics.median([n, 1, 3, 9]), builtins, "sorted", four_are_nothing)


def case_mock_for_a_method() -> Made:
    method = mock.Mock(return_value="patched")
    return patched(lambda n: json.dumps([n]), json.JSONEncoder, "encode", method)


def case_mock_for_a_counters_method() -> Made:
    method = mock.Mock(return_value=[("patched", 1)])
    return patched(lambda n: collections.Counter("ab" * n).most_common(1), collections.Counter, "most_common", method)


def case_another_encoder() -> Made:
    return patched(lambda n: json.dumps({"n": n}), json, "_default_encoder", json.JSONEncoder(indent=1))


def case_attribute_of_the_encoder() -> Made:
    return patched(lambda n: json.dumps("é" * n), json._default_encoder, "ensure_ascii", False)  # type: ignore[attr-defined]


def case_attribute_of_a_class() -> Made:
    return patched(lambda n: json.dumps([n, n]), json.JSONEncoder, "item_separator", " ; ")


def case_pattern_of_a_class() -> Made:
    return patched(lambda n: textwrap.wrap("a-b " * n, 9), textwrap.TextWrapper, "wordsep_re", re.compile("(-)"))


def case_table_of_a_module() -> Made:
    table = html.entities.html5
    table["pyferris;"] = "patched"
    return late(lambda n: html.unescape("&pyferris;")), range(60), None, lambda: table.pop("pyferris;")


def case_dispatch_table() -> Made:
    table: Any = copy._deepcopy_dispatch  # type: ignore[attr-defined]
    before = table[list]
    table[list] = lambda value, memo: ["patched"]

    def restore() -> None:
        table[list] = before

    return late(lambda n: copy.deepcopy([n])), range(60), None, restore


def case_translation_table() -> Made:
    table = bytes(range(255, -1, -1))
    return patched(lambda n: base64.urlsafe_b64encode(bytes([n])), base64, "_urlsafe_encode_translation", table)


def case_one_level_below() -> Made:
    return patched(lambda n: base64.b64encode(bytes([n])), binascii, "b2a_base64", lambda *_, **__: b"patched")


def case_gcd_below_fractions() -> Made:
    return patched(lambda n: str(fractions.Fraction(2 * n, 4)), math, "gcd", lambda *_: 1)


def case_set_of_functions() -> Made:
    def operations(n: int) -> int:
        for operation in {plus, times, abs, hex_length}:
            n = operation(n) % 1_000_003
        return n

    return late(operations), range(60)


def plus(x: int) -> int:
    return x + 3


def times(x: int) -> int:
    return x * 5


def hex_length(x: int) -> int:
    return x * x + len(hex(x))


def case_hash_of_a_function() -> Made:
    return late(lambda n: hash(plus)), range(60)


def case_shadowed_type() -> Made:
    space: dict[str, Any] = {"work": work, "list": 10**30 + 7}
    exec("def function(x):\n    work(1)\n    return x is list", space)
    return space["function"], [5] * EARLY + [space["list"]] * 30


def case_identity_after_a_jump() -> Made:
    key = "k" * 40

    def function(x: str) -> bool:
        work(1)
        return x is (key if x else None)

    return function, [""] * EARLY + [key] * 30


def case_operators_of_dict_views() -> Made:
    words = [chr(97 + n) * 9 for n in range(26)]
    return late(lambda n: "".join(dict.fromkeys(words).keys() & dict.fromkeys(words[n - EARLY :]).keys())), range(56)


def case_operator_module_of_dict_views() -> Made:
    words = tuple(chr(97 + n) * 9 for n in range(26))

    def function(n: int) -> str:
        return "".join(operator.or_(dict.fromkeys(words).keys(), dict.fromkeys(words[n - EARLY :]).keys()))

    return late(function), range(56)


def case_error_handler_of_codecs() -> Made:
    codecs.register_error("pyferris-test", lambda error: ("?", error.end))  # type: ignore[attr-defined]

    def function(n: int) -> str:
        try:
            return ("é" * n).encode("ascii", "pyferris-test").decode()
        except LookupError:
            return "no such handler"

    return late(function), range(60)


def case_set_that_grows_and_shrinks() -> Made:
    def function(item: set[int]) -> int:
        for number in range(1000, 3000):
            item.add(number)
        for number in range(1000, 3000):
            item.discard(number)
        return work(1)

    return function, [set(range(n, n * 9, 7)) for n in range(1, 61)], lambda items, _: [list(each) for each in items]


class Namespace(dict[str, Any]):
    def __getitem__(self, key: str) -> Any:
        return 7 if key == "hidden" else super().__getitem__(key)


def case_globals_of_a_class_of_its_own() -> Made:
    space = Namespace(hidden=1, work=work)
    exec("def function(n):\n    return work(n) + (hidden if n >= 30 else 0)", space)
    return space["function"], range(60)


def case_builtin_that_is_none() -> Made:
    def function(n: int) -> Any:
        try:
            return divmod(n, 7)
        except TypeError:
            return "gone"

    return patched(function, builtins, "divmod", None)


def case_monitored_by_a_tool() -> Made:
    monitoring: Any = getattr(sys, "monitoring", None)
    if monitoring is None:  # before Python 3.12
        return plus, range(60)
    calls: list[int] = []
    tool, event = monitoring.COVERAGE_ID, monitoring.events.PY_START
    monitoring.use_tool_id(tool, "test")
    monitoring.register_callback(tool, event, lambda code, _: calls.append(1) if code is work.__code__ else None)
    monitoring.set_events(tool, event)

    def stop() -> None:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)

    return lambda n: work(n) + 1, range(60), lambda *_: len(calls), stop


def case_codec_handler_of_another() -> Made:
    name = "namereplace"
    before = codecs.lookup_error(name)
    codecs.register_error(name, lambda error: ("?", error.end))  # type: ignore[attr-defined]
    function = late(lambda n: f"\xe9{n}".encode("ascii", name))
    return function, range(60), None, lambda: codecs.register_error(name, before)


def case_address_in_few_results() -> Made:
    return late(lambda n: f"{work} {n}" if n == 41 else ""), range(60)


def case_addresses_in_many_results() -> Made:
    return late(lambda n: [n, repr(work)]), range(60)


def warned(function: Callable[[int], Any]) -> Made:
    """As often as a loop does."""
    re.purge()
    caught = warnings.catch_warnings(record=True)
    log: Any = caught.__enter__()
    warnings.simplefilter("always")
    seen = lambda *_: sorted(str(each.message) for each in log)  # noqa: E731
    return function, range(60), seen, lambda: caught.__exit__(None, None, None)


def case_warns() -> Made:
    return warned(lambda n: work(n) + len(re.sub(f"[[{n}]", "", "1[2]")))


def case_few_items_warn() -> Made:
    return warned(late(lambda n: re.sub(f"[[{n}]", "", "1[2]") if n == 41 else ""))


def case_errors_in_a_generators_end() -> Made:
    def numbers() -> Iterator[int]:
        try:
            yield 1
        finally:
            raise ValueError("at its end")

    said: list[str] = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda error: said.append(str(error.exc_value))
    function = late(lambda n: next(numbers()) if n == 41 else 0)
    return function, range(60), lambda *_: said, lambda: setattr(sys, "unraisablehook", hook)
