"""Objects and classes of one's own, under `isolation="auto"`: the caller runs what keeps to plain ones, as a loop."""

from __future__ import annotations

import collections
import copy
import dataclasses
import enum
import fractions
import functools
import json
import random
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest import mock

import pytest

from pyferris import _purity
from pyferris.safe_thread import safe_parallel_map

TABLE = {n: n * n for n in range(8)}
TEXT, NAME = "{0.__class__.__subclasses__}", "add"


class Counter:
    step = 2

    def __init__(self) -> None:
        self.count = 0
        self.seen: list[int] = []

    def add(self, x: int) -> int:
        self.count += self.step
        return x + self.count

    @property
    def double(self) -> int:
        return 2 * self.count

    @classmethod
    def stepped(cls, x: int) -> int:
        return x + cls.step

    @staticmethod
    def same(x: int) -> int:
        return x


class Loud(Counter):
    def add(self, x: int) -> int:
        self.seen.append(x)
        return super().add(x)


class Slotted:
    __slots__ = ("empty", "value")

    def __init__(self) -> None:
        self.value = 3


class Node:
    def __init__(self, value: int, below: Node | None = None) -> None:
        self.value = value
        self.below = below
        self.own = self

    def total(self) -> int:
        return self.value + (self.below.total() if self.below is not None else 0)


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class TooLarge(ValueError):
    pass


class Guarded:
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def get(self, x: int) -> int:
        with self.lock:
            return x


class Asks:
    """Any attribute is which thread it is."""

    def __getattr__(self, name: str) -> int:
        return threading.get_ident()


class Compares:
    def __eq__(self, other: object) -> bool:
        return threading.current_thread() is threading.main_thread()

    __hash__ = None  # type: ignore[assignment]


class Inherits(Guarded):
    def __init__(self) -> None:
        self.value = 1

    def same(self, x: int) -> int:
        return x


class Made(type):
    def __call__(cls, *args: Any) -> Any:
        return threading.get_ident()


class OfMeta(metaclass=Made):
    pass


class Holds(list[Any]):
    pass


class Waits:
    def __init__(self) -> None:
        self.thing = [threading.Event()]

    def same(self, x: int) -> int:
        return x


class Cached:
    @functools.cached_property
    def value(self) -> int:
        return threading.get_ident()


Pair = collections.namedtuple("Pair", "one two")  # noqa: PYI024


class Named(NamedTuple):
    one: int
    two: Any = None

    def both(self) -> Any:
        return self.one, self.two


class BelowNamed(Named):
    pass


class Replaced(Named):
    pass


Replaced.__new__ = lambda cls, *_: threading.get_ident()  # type: ignore[method-assign, assignment]


def matches(x: int) -> Any:
    match point:
        case Point(x=found):
            return found + x
    return None


def matches_function(x: int) -> Any:
    kind = type(matches)
    match matches:
        case kind(__globals__=found):  # type: ignore[misc]
            return found
    return None


class Documented:
    @property
    def __doc__(self) -> Any:  # type: ignore[override]
        return threading.get_ident()


class Hides:
    __dict__ = None  # type: ignore[assignment]


class Recursive:
    def depth(self, n: int) -> int:
        try:
            return self.depth(n + 1)
        except Exception:
            return n


Defaulted = collections.namedtuple("Defaulted", "one")  # noqa: PYI024
Defaulted.__new__.__defaults__ = (threading.Lock(),)


class Color(enum.Enum):
    RED = 1


counter, loud, slotted, node, point = Counter(), Loud(), Slotted(), Node(1, Node(2)), Point(1, 2)
guarded, asks, compares, inherits, holds, waits, cached = (
    Guarded(),
    Asks(),
    Compares(),
    Inherits(),
    Holds([threading.Event()]),
    Waits(),
    Cached(),
)
documented, hides = Documented(), Hides()
object.__setattr__(hides, "lock", threading.Lock())
holding = Named(1, threading.Lock())
hidden = Counter()
vars(hidden)["add"] = threading.get_ident


def shadowed() -> Any:
    time: Any = Counter  # a class in the place of what is a module elsewhere

    def call(x: int) -> Any:
        return time.__getattribute__(x, "real")

    return call


def vars_of(x: int) -> Any:
    return type(raises).__dict__["__globals__"].__get__(raises)


def raises(x: int) -> int:
    if x > 1_000_000:
        raise TooLarge(x)
    return x


def of_frame(x: int) -> Any:
    return (number for number in [x]).gi_frame.f_globals  # type: ignore[attr-defined]


def generator(x: int) -> Iterator[int]:
    yield x


KEEPING = [
    counter.add,
    loud.add,
    Counter.stepped,
    Point,
    Counter,
    raises,
    lambda x: counter.double + x,
    lambda x: slotted.value + x,
    lambda x: node.total() + x,
    lambda x: point.x + Point(x, 1).y,
    lambda x: point == Point(x),
    lambda x: repr(Point(x)),
    lambda x: TABLE[x & 7] if node is not None and node.own is node else 0,
    lambda x: isinstance(x, Counter) or hash(x),
    lambda x: setattr_of(point, x),
    lambda x: Pair(x, 1)._replace(two=2).one,
    lambda x: Named(x).both(),
    lambda x: BelowNamed(x, 2).two,
    matches,
]
DOING_MORE = [
    guarded.get,
    inherits.same,
    waits.same,
    lambda x: guarded.get(x),
    lambda x: asks.anything,
    lambda x: compares == x,
    lambda x: OfMeta(),
    lambda x: holds[0],
    lambda x: cached.value,
    lambda x: hidden.add(),
    lambda x: Color.RED.value,
    lambda x: counter.add.__globals__,  # type: ignore[attr-defined]
    lambda x: type(counter).__subclasses__(),
    lambda x: TEXT.format(counter),
    lambda x: getattr(counter, NAME)(x),
    lambda x: holding.one,
    lambda x: Replaced(x),
    lambda x: vars_of(x),
    matches_function,
    lambda x: documented.__doc__,
    lambda x: hides.lock,
    lambda x: Defaulted(),
    lambda x: copy.copy(point),
    lambda x: (TEXT or "abc").format(x),
    shadowed(),
    Recursive().depth,
    of_frame,
    generator,
    threading.get_ident,
]


def setattr_of(target: Point, x: int) -> int:
    target.y = x
    return target.y


@pytest.mark.parametrize("function", KEEPING)
def test_functions_that_keep_to_plain_objects(function: Any) -> None:
    verdict = _purity.judge(function)
    assert verdict.reason is not None
    assert verdict.keeps_to_data, verdict.reason


@pytest.mark.parametrize("function", DOING_MORE)
def test_functions_that_may_do_more(function: Any) -> None:
    assert not _purity.judge(function).keeps_to_data


def test_what_is_patched_later_is_seen() -> None:
    assert _purity.judge(counter.add).keeps_to_data
    with mock.patch.object(Counter, "add", threading.get_ident):
        assert not _purity.judge(lambda x: counter.add(x)).keeps_to_data
    with mock.patch.object(Counter, "step", mock.MagicMock()):
        assert not _purity.judge(counter.add).keeps_to_data
    with mock.patch.object(time, "time", threading.get_ident):
        assert not _purity.judge(lambda x: time.time()).keeps_to_data
    assert _purity.judge(lambda x: time.time()).keeps_to_data


class Lazy:
    """Says that it is anything, and works for it."""

    def __getattr__(self, name: str) -> Any:
        raise SystemExit(name)


def test_looking_runs_no_code_of_what_is_looked_at() -> None:
    lazy = Lazy()
    assert _purity.judge(lazy).reason is not None
    assert _purity.judge(lambda x: lazy).reason is not None
    assert _purity.judge(functools.partial(abs, lazy)).reason is not None


def test_looking_does_not_take_long() -> None:
    tree: Any = ()
    for _ in range(40):
        tree = (tree, tree)
    assert not _purity.judge(lambda x: tree).keeps_to_data
    box = Counter()
    vars(box).update({f"a{n}": n for n in range(100_000)})
    assert not _purity.judge(lambda x: box.count).keeps_to_data


@pytest.mark.parametrize(
    ("module", "name", "attribute"),
    [
        ("json", "JSONEncoder", "default"),
        ("fractions", "Fraction", "limit_denominator"),
        ("random", "Random", "choice"),
    ],
)
def test_patched_classes_of_the_library_are_seen(module: str, name: str, attribute: str) -> None:
    functions = {
        "json": lambda x: json.dumps(x),
        "fractions": lambda x: fractions.Fraction(x).limit_denominator(),
        "random": lambda x: random.choice([x]),
    }
    assert _purity.judge(functions[module]).keeps_to_data
    with mock.patch.object(getattr(sys.modules[module], name), attribute):
        assert not _purity.judge(functions[module]).keeps_to_data


def test_patched_objects_of_the_library_are_seen() -> None:
    with mock.patch.object(random._inst, "random", threading.get_ident):  # type: ignore[attr-defined]
        assert not _purity.judge(lambda x: random.choice([x])).keeps_to_data


def test_large_classes_are_not_looked_at_for_long() -> None:
    lines = "\n".join(
        f"    def m{n}(self, x): return [x + {n}, x * 2, x - 3, x // 4, x % 5, -x, ~x]" for n in range(400)
    )
    namespace: dict[str, Any] = {"__name__": "large"}
    exec(f"class Large:\n{lines}\nlarge = Large()", namespace)
    verdict = _purity.judge(namespace["large"].m0)
    assert not verdict.keeps_to_data
    assert "too much code" in str(verdict.reason)


def test_the_caller_runs_them_in_order() -> None:
    ours, loop = Loud(), Loud()
    items = list(range(20_000))
    found = safe_parallel_map(ours.add, items, 2, explain=True)
    assert found.report.mode == "inline"
    assert found == list(map(loop.add, items))
    assert (ours.count, ours.seen) == (loop.count, loop.seen)


def test_an_error_is_that_of_the_first_item() -> None:
    with pytest.raises(TooLarge, match="1000001") as caught:
        safe_parallel_map(raises, [*range(1000), 1_000_001, 1_000_002], 2)
    assert caught.value.__notes__ == ["raised for item 1000 of the map"]


def test_items_that_are_objects_are_for_threads() -> None:
    items = [Point(n) for n in range(200)]
    found = safe_parallel_map(lambda each: each.x, items, 2, explain=True)
    assert found == list(range(200))
    assert found.report.mode == "threads"
