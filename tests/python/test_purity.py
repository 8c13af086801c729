"""What may run elsewhere without being asked to: only what cannot give another answer there."""

from __future__ import annotations

import builtins
import collections
import decimal
import functools
import hashlib
import itertools
import json
import math
import operator
import os
import random
import re
import statistics
import sys
import threading
import time
import types
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from pyferris import _native, _purity

LIMIT = 10
NAMES = ("a", "b")
CACHE: dict[int, int] = {}
SENTINEL = object()
WORD = re.compile(r"\w+")
HANDLERS = {"a": len}
total = 0


def helper(x: int) -> int:
    return x * LIMIT


def factorial(n: int) -> int:
    return 1 if n < 2 else n * factorial(n - 1)


def even(n: int) -> bool:
    return n == 0 or odd(n - 1)


def odd(n: int) -> bool:
    return n != 0 and even(n - 1)


def primes(n: int) -> list[int]:
    found: list[int] = []
    for candidate in range(2, n):
        if all(candidate % prime for prime in found if prime * prime <= candidate):
            found.append(candidate)
    return found


def closure(x: int) -> int:
    count = 0

    def add(y: int) -> None:
        nonlocal count
        count += y

    for y in range(x):
        add(y)
    return count


def handles(x: str) -> int | None:
    try:
        return int(x)
    except ValueError as error:
        return len(str(error.args))
    finally:
        x = ""


def generators(x: int) -> list[int]:
    def squares() -> Iterator[int]:
        yield from (y * y for y in range(x))

    return [*sorted({y + 1 for y in squares()} | {LIMIT}), *map(helper, filter(None, squares()))]


def matches(x: Any) -> Any:
    match x:
        case None | True:
            return 0
        case int() | str():
            return 1
        case [first, *_]:
            return first
        case {"a": value}:
            return value
    return None


def words(text: str) -> dict[str, int]:
    counts = collections.Counter(word.lower() for word in WORD.findall(text))
    return dict(counts.most_common(3))


def digest(data: bytes) -> str:
    sha = hashlib.sha256(data)
    sha.update(b"x")
    return sha.hexdigest() + json.dumps({"a": [1, None]}, sort_keys=True)


def texts(x: int) -> str:
    return f"{x:>5}" + "{} {}".format(x, 1) + "%d" % x + ",".join(NAMES) + str(x) + repr([x])  # noqa: UP031, UP032


def numbers(x: float) -> float:
    return math.sqrt(x) + math.pi + functools.reduce(operator.add, itertools.accumulate([x, x]))


def defaulted(x: int, y: int = 2, *, z: tuple[int, ...] = (1, 2)) -> int:
    return x + y + sum(z) if x is not None else 0


def doubled(function: Any) -> Any:
    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return 2 * function(*args)

    return call


@doubled
def decorated(x: int) -> int:
    return x + 1


def adder(n: Any) -> Any:
    return lambda x: x + n


def in_variable() -> Any:
    module = math
    return lambda x: module.sqrt(x)


PURE: list[Any] = [
    helper,
    factorial,
    even,
    primes,
    closure,
    handles,
    generators,
    matches,
    words,
    digest,
    texts,
    numbers,
    defaulted,
    decorated,
    adder(3),
    adder("x"),
    in_variable(),
    len,
    math.sqrt,
    str.upper,
    int,
    functools.partial(defaulted, 1),
    operator.itemgetter(0),
    operator.itemgetter("a", -1),
    ", ".join,
    b"ab".startswith,
    (1, 2).index,
    lambda x: [y for y in x if y],
    lambda x: {k: v + 1 for k, v in sorted(x.items())},
    lambda x: x[1:-1][::-1],
    lambda x: max(x, key=lambda y: (y, len(str(y)))),
    lambda x: x is None or type(x) is int or x in NAMES,
    lambda x: isinstance(x, (int, str)) and int.from_bytes(b"a", "big"),
]


@pytest.mark.parametrize("function", PURE, ids=lambda function: getattr(function, "__name__", "partial"))
def test_pure(function: Any) -> None:
    assert _purity.why_impure(function) is None


def store_global(x: int) -> int:
    global total
    total += x
    return total


def catches_depth(x: int) -> int:
    try:
        return catches_depth(x + 1)
    except RecursionError:
        return x


def catches_all(x: int) -> int:
    try:
        return catches_all(x + 1)
    except:  # noqa: E722
        return x


@functools.lru_cache
def cached(x: int) -> int:
    return x


class Thing:
    scale = 3

    def method(self, x: int) -> int:
        return x


def counted(x: int) -> int:
    return x


counted.calls = 0  # type: ignore[attr-defined]


def calls_counted(x: int) -> int:
    counted.calls += 1  # type: ignore[attr-defined]
    return x


def makes_class(x: int) -> int:
    class Local:
        pass

    return len(str(Local))


def imports(x: int) -> float:
    import time as clock

    return clock.time()


def uses_with(x: str) -> str:
    with open(x) as file:
        return file.read()


async def coroutine(x: int) -> int:
    return x


def generator(x: int) -> Iterator[int]:
    yield x


def outer_write() -> Any:
    count = 0

    def add(x: int) -> int:
        nonlocal count
        count += x
        return count

    return add


def deep_write() -> Any:
    count = 0

    def add(x: int) -> int:
        def inner() -> None:
            nonlocal count
            count += x

        inner()
        return count

    return add


def mutable_default(x: int, seen: list[int] = []) -> int:  # noqa: B006
    seen.append(x)
    return len(seen)


def keyword_default(x: int, *, seen: dict[int, int] = {}) -> int:  # noqa: B006
    return len(seen)


def frame_of_error(x: int) -> Any:
    try:
        raise ValueError
    except ValueError as error:
        return error.__traceback__.tb_frame.f_globals["total"]  # type: ignore[union-attr]


def frame_of_generator(x: int) -> Any:
    return (y for y in ()).gi_frame.f_globals  # type: ignore[attr-defined]


def passes_module(x: int) -> Any:
    module = math
    return module.sqrt(x)


def two_handlers(x: str) -> int:
    try:
        return two_handlers(x[1:])
    except:  # noqa: E722
        pass
    try:
        return int(x)
    except ValueError:
        return 0


def inner_recursion(x: int) -> int:
    def down(y: int) -> int:
        try:
            return down(y + 1)
        except Exception:
            return y

    return down(x)


def frame_in_variable(x: int) -> Any:
    made = (y for y in range(x))
    return (lambda: made.gi_frame)()  # type: ignore[attr-defined]


def conditional_identity(x: tuple[Any, bool]) -> bool:
    return x[0] is (NAMES if x[1] else int)


IMPURE: list[tuple[Any, str]] = [
    (conditional_identity, "identity"),
    (lambda x: (x if x else math).floor, "attribute floor"),
    (two_handlers, "depth of the stack"),
    (inner_recursion, "depth of the stack"),
    (frame_in_variable, "gi_frame"),
    (store_global, "binds a global"),
    (catches_depth, "depth of the stack"),
    (catches_all, "depth of the stack"),
    (cached, "lru_cache"),
    (lambda x: cached(x), "lru_cache"),
    (lambda x: CACHE.setdefault(x, 1), "'CACHE'"),
    (lambda x: HANDLERS["a"](x), "'HANDLERS'"),
    (lambda x: x is SENTINEL, "SENTINEL|identity"),
    (lambda x: x is x, "identity"),
    (lambda x: x is NAMES, "identity"),
    (lambda x: Thing.scale * x, "attribute scale"),
    (Thing().method, "method"),
    (lambda x: Thing().count(x), "'Thing'"),
    (Thing, "type"),
    (counted, "attributes"),
    (calls_counted, "attribute"),
    (makes_class, "makes a class"),
    (imports, "imports"),
    (uses_with, "open|context"),
    (coroutine, "coroutine"),
    (generator, "generator"),
    (outer_write(), "binds 'count'"),
    (deep_write(), "binds 'count'"),
    (mutable_default, "default"),
    (keyword_default, "default"),
    (adder([1]), "variable 'n'"),
    (adder(Thing()), "variable 'n'"),
    (adder(float("nan")), "variable 'n'"),
    (frame_of_error, "__traceback__"),
    (frame_of_generator, "gi_frame"),
    (passes_module, "attribute sqrt|passed on"),
    (print, "print"),
    (lambda x: print(x), "print"),
    (lambda x: open(x), "open"),  # noqa: SIM115
    (lambda x: input(x), "input"),
    (lambda x: id(x), "id"),
    (lambda x: eval(x), "eval"),
    (lambda x: exec(x), "exec"),
    (lambda x: globals(), "globals"),
    (lambda x: vars(), "vars"),
    (lambda x: getattr(x, "a"), "getattr"),  # noqa: B009
    (lambda x: setattr(x, "a", 1), "setattr"),
    (lambda x: breakpoint(), "breakpoint"),  # noqa: T100
    (lambda x: object(), "object"),
    (lambda x: x.__class__, "__class__"),
    (lambda x: helper.__globals__, "attribute"),
    (lambda x: "{0.__class__}".format(x), "format"),  # noqa: UP030, UP032
    (lambda x: x.format(helper), "format"),
    (lambda x: str.format(x, helper), "format"),
    (lambda x: x.anything, "anything"),
    (lambda x: os.environ["HOME"], "'os'"),
    (lambda x: time.time(), "'time'"),
    (lambda x: random.random(), "'random'"),
    (lambda x: decimal.Decimal(x), "'decimal'"),
    (lambda x: sys.getrecursionlimit(), "'sys'"),
    (lambda x: functools.lru_cache(x), "lru_cache"),
    (lambda x: operator.attrgetter("__globals__")(helper), "attrgetter"),
    (lambda x: operator.is_(x, NAMES), "is_"),
    (lambda x: collections.namedtuple("N", x), "namedtuple"),  # noqa: PYI024
    (lambda x: nowhere, "not defined"),  # type: ignore[name-defined]  # noqa: F821
    (random.random, "method|random"),
    (time.sleep, "sleep|time|function"),
    (os.getpid, "function"),
    (functools.partial(defaulted, [1]), "partial"),
    (operator.itemgetter([1]), "itemgetter"),
    (operator.attrgetter("real"), "attrgetter"),
    ([1].append, "method|function"),
    ({1: 2}.get, "method|function"),
    ("{}".format, "format"),
    (([1],).index, "method|function"),
    (lambda x: [y for y in {8, 0}], "set"),  # noqa: C416
    (object(), "object"),
    (3, "int"),
]


@pytest.mark.parametrize(
    ("function", "reason"), IMPURE, ids=lambda value: value if isinstance(value, str) else type(value).__name__
)
def test_impure(function: Any, reason: str) -> None:
    found = _purity.why_impure(function)
    assert found is not None
    assert re.search(reason, found), found


def test_a_builtin_that_a_library_s_function_uses_is_replaced() -> None:
    def middle(x: int) -> float:
        return statistics.median([x, 1])

    for _ in range(2):
        assert _purity.why_impure(middle) is None
        with mock.patch.object(builtins, "sorted", lambda data, _real=sorted: _real(data)):
            assert "builtins.sorted has been patched" in str(_purity.why_impure(middle))
    with mock.patch.object(builtins, "shown", len, create=True):
        assert _purity.why_impure(middle) is None


def test_a_module_s_function_is_another_module_s_method() -> None:
    with mock.patch.object(math, "floor", threading.Event().wait):
        assert "patched" in str(_purity.why_impure(lambda x: math.floor(x)))


TABLE = {n: [n, {"square": (n, n * n)}] for n in range(8)}
LARGE = list(range(100_000))
LOOP: list[Any] = []
LOOP.append(LOOP)
HANDLERS = {"floor": math.floor}
total = 0


def remembers(x: int, kept: dict[int, int] = {}) -> int:  # noqa: B006
    return kept.setdefault(x, len(kept))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: TABLE[x & 7][0],
        store_global,
        outer_write(),
        remembers,
        lambda x: x in {*TABLE},
        lambda x: TABLE[x] is x,
        hash,
        time.perf_counter_ns,
        lambda x: random.random() + x,
    ],
)
def test_functions_that_keep_to_data(function: Any) -> None:
    verdict = _purity.judge(function)
    assert verdict.reason is not None
    assert verdict.keeps_to_data


@pytest.mark.parametrize(
    "function",
    [
        lambda x: LARGE[x],
        lambda x: LOOP[x],
        lambda x: HANDLERS["floor"](x),
        lambda x: print(TABLE[x]),
        lambda x: (TABLE[x], time.sleep(0)),
        lambda x: (TABLE[x], threading.get_ident()),
    ],
)
def test_functions_that_may_do_more(function: Any) -> None:
    verdict = _purity.judge(function)
    assert verdict.reason is not None
    assert not verdict.keeps_to_data


def test_patched_functions_are_impure() -> None:
    def lower(x: float) -> float:
        return math.floor(x)

    def dump(x: Any) -> str:
        return json.dumps(x)

    assert _purity.why_impure(lower) is None
    assert _purity.why_impure(dump) is None
    for target in ("math.floor", "json.dumps", "json.encoder.JSONEncoder.default", "json.encoder.encode_basestring"):
        with mock.patch(target, lambda *_: _):
            assert _purity.why_impure(dump if target.startswith("json") else lower), target
    with mock.patch("math.floor", math.ceil):
        assert _purity.why_impure(lower)
    with mock.patch("builtins.abs", lambda x: x):
        assert "patched" in str(_purity.why_impure(lambda x: abs(x)))
    with mock.patch(f"{__name__}.helper", return_value=3):
        assert _purity.why_impure(lambda x: helper(x))
    assert _purity.why_impure(lower) is None
    assert _purity.why_impure(dump) is None


def test_what_was_refused_for_a_global_is_looked_at_anew_when_that_is_another_one() -> None:
    """Refusals are remembered."""
    space: dict[str, Any] = {"__name__": "somewhere", "module": threading}
    exec("def uses(x):\n    return module.floor(x)\ndef prints(x):\n    return print(x)", space)
    for _ in range(2):
        assert "module 'threading'" in str(_purity.why_impure(space["uses"]))
        assert "uses print" in str(_purity.why_impure(space["prints"]))
    space["module"] = math
    space["print"] = helper
    assert _purity.why_impure(space["uses"]) is None
    assert _purity.why_impure(space["prints"]) is None
    space["module"] = threading
    del space["print"]
    assert "module 'threading'" in str(_purity.why_impure(space["uses"]))
    assert "uses print" in str(_purity.why_impure(space["prints"]))


def test_what_was_refused_for_its_code_is_refused_whatever_it_is_bound_to() -> None:
    def uses(x: float) -> float:
        with x:  # type: ignore[attr-defined]
            return helper(int(x))

    reasons = {_purity.why_impure(uses) for _ in range(2)}
    with mock.patch(f"{__name__}.helper", return_value=3):
        reasons.add(_purity.why_impure(uses))
    other = types.FunctionType(uses.__code__, {"__name__": "other"})
    reasons.add(_purity.why_impure(other))
    assert len(reasons) == 1
    assert "context manager" in str(reasons.pop())


def test_a_module_that_was_another_one_for_a_while_is_looked_at_anew() -> None:
    def uses(x: float) -> float:
        return math.floor(x)

    with mock.patch.dict(sys.modules, {"math": types.ModuleType("math")}):
        assert "module 'math'" in str(_purity.why_impure(uses))
    assert _purity.why_impure(uses) is None


def test_a_refusal_of_one_function_is_none_of_those_that_call_it() -> None:
    space: dict[str, Any] = {"__name__": "somewhere", "module": threading}
    exec("def inner(x):\n    return module.floor(x)\ndef outer(x):\n    return inner(x)", space)
    for _ in range(2):
        assert "module 'threading'" in str(_purity.why_impure(space["outer"]))
    space["module"] = math
    assert _purity.why_impure(space["outer"]) is None


def test_watched_programs_are_impure() -> None:
    before = sys.getprofile()
    sys.setprofile(lambda *_: None)
    try:
        assert "profiler" in str(_purity.why_impure(helper))
    finally:
        sys.setprofile(before)


def test_digits_that_may_be_printed_are_no_constant_of_the_program() -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(before + 1)
    try:
        assert "digits" in str(_purity.why_impure(helper))
    finally:
        sys.set_int_max_str_digits(before)


def test_the_order_of_sets_differs_between_processes() -> None:
    for function in (lambda x: set(x), lambda x: {*x}, lambda x: hash(x), lambda x: x in {"a", "b"}):
        assert _purity.why_impure(function, process=True), function
    assert _purity.why_impure(primes, process=True) is None


def test_plain_data() -> None:
    for value in (1, None, "x", [1, [2.5]], {"a": (1, {2: [b"x"]})}, frozenset({1}), {1, 2, 3}, [1.0, 2.0], 1j, ...):
        assert _purity.is_plain(value), value
    nan = float("nan")

    class Text(str):
        pass

    itself: list[Any] = []
    itself.append(itself)
    unplain: list[Any] = [nan, [nan], {"a": (nan,)}, Text("x"), [Text("x")], bytearray(b"x"), object(), len, itself]
    unplain += [collections.OrderedDict(a=1), {1: decimal.Decimal(1)}, range(3), set([8, 0]), [frozenset([8, 0])]]  # noqa: C405
    for value in unplain:
        assert not _purity.is_plain(value), value


def test_plain_is_no_more_than_what_native_code_takes() -> None:
    encode = getattr(_native, "encode_plain", None)
    if encode is not None:
        assert encode(bytearray(b"x")) is None
