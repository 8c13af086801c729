"""Classes go by value and stay one class: what comes back is of the class that it was sent as."""

from __future__ import annotations

import abc
import collections
import dataclasses
import enum
import functools
import inspect
import sys
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from elsewhere import App, Elsewhere

from pyferris import _wire

FACTOR = 3


@dataclasses.dataclass
class Point:
    x: int
    y: int = 2
    tags: list[str] = dataclasses.field(default_factory=list)
    total: dataclasses.InitVar[int] = 0

    SCALE = 10

    def scaled(self) -> int:
        return self.x * self.SCALE * FACTOR


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Frozen:
    a: int
    b: str = "b"


class Named(typing.NamedTuple):
    a: int
    b: str = "b"

    def both(self) -> str:
        return f"{self.a}{self.b}{FACTOR}"


Pair = collections.namedtuple("Pair", "left right", defaults=[5])  # noqa: PYI024


class Color(enum.Enum):
    RED = 1
    GREEN = [2]  # noqa: RUF012
    CRIMSON = 1  # noqa: PIE796

    @property
    def loud(self) -> str:
        return self.name + "!"


class Planet(enum.Enum):
    EARTH = (5, 6)
    MARS = (3, 4)

    def __init__(self, mass: int, radius: int) -> None:
        self.mass = mass
        self.radius = radius


class Number(enum.IntEnum):
    ONE = 1
    TWO = enum.auto()


class Perm(enum.Flag):
    R = enum.auto()
    W = enum.auto()
    RW = R | W


class Word(enum.StrEnum):
    A = enum.auto()
    B = "bee"


class Coded(int, enum.Enum):
    def __new__(cls, code: int, text: str) -> Coded:  # noqa: PYI034
        made = int.__new__(cls, code)
        made._value_ = code
        made.text = text  # type: ignore[attr-defined]
        return made

    A = (1, "one")
    B = (2, "two")


class Base(abc.ABC):
    registry: typing.ClassVar[list[type]] = []

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__()
        Base.registry.append(cls)

    @abc.abstractmethod
    def area(self) -> int: ...

    @classmethod
    def make(cls, *args: Any) -> Any:
        return cls(*args)

    @staticmethod
    def double(x: int) -> int:
        return 2 * x


class Square(Base, loud=True):
    __slots__ = ("__hidden", "side")

    def __init__(self, side: int) -> None:
        self.side = side
        self.__hidden = side + 1

    def area(self) -> int:
        return self.double(self.side) * FACTOR

    @property
    def hidden(self) -> int:
        return self.__hidden


class Child(Square):
    def __init__(self, side: int) -> None:
        super().__init__(side + 1)

    def area(self) -> int:
        return super().area() + 1

    @functools.cached_property
    def slow(self) -> int:
        return self.side

    @functools.lru_cache  # noqa: B019
    def remembered(self, x: int) -> int:
        return x + self.side


class Meta(type):
    made = 0

    def __new__(mcs, name: str, bases: tuple[type, ...], space: dict[str, Any]) -> Any:
        Meta.made += 1
        space["from_meta"] = Meta.made
        return super().__new__(mcs, name, bases, space)

    def shout(cls) -> str:
        return cls.__name__.upper()


class WithMeta(metaclass=Meta):
    pass


T = typing.TypeVar("T")


class Box(typing.Generic[T]):
    def __init__(self, value: T) -> None:
        self.value = value


class Tree:
    def __init__(self, *children: Tree) -> None:
        self.children = children

    def size(self) -> int:
        return 1 + sum(child.size() for child in self.children if isinstance(child, Tree))


class Wrapper:
    def __getattr__(self, name: str) -> str:
        return name


class Slot:
    """A descriptor that wants to know its name."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else (self.name, instance.__dict__["other"])


class WithSlot:
    field = Slot()

    def __init__(self) -> None:
        self.__dict__["other"] = 3


def test_dataclasses(there: Elsewhere) -> None:
    def f(point: Point) -> Any:
        other = Point(7, tags=["t"])
        return (
            isinstance(point, Point),
            dataclasses.replace(point, x=9, total=1),
            other == Point(7, tags=["t"]),
            [field.name for field in dataclasses.fields(Point)],
            point.scaled(),
            dataclasses.asdict(other),
            repr(other),
        )

    assert there(f, Point(1)) == f(Point(1))
    assert type(there(f, Point(1))[1]) is Point
    assert there(lambda: Frozen(1) < Frozen(2))
    assert there(lambda f: (f, hash(f) == hash(Frozen(1)), Frozen(2)), Frozen(1)) == (Frozen(1), True, Frozen(2))

    def freeze() -> None:
        Frozen(1).a = 2  # type: ignore[misc]

    with pytest.raises(dataclasses.FrozenInstanceError):
        there(freeze)


def test_named_tuples(there: Elsewhere) -> None:
    got = there(
        lambda n, p: (n, n.both(), Named(2), n._replace(a=5), p, Pair(1), p.left, Pair._fields), Named(1), Pair(3)
    )
    assert got == (Named(1), "1b3", Named(2), Named(5), Pair(3), Pair(1, 5), 3, ("left", "right"))
    assert [type(got[i]) for i in (0, 2, 3, 4, 5)] == [Named, Named, Named, Pair, Pair]


def test_enums(there: Elsewhere) -> None:
    def f(color: Color) -> Any:
        return (
            color is Color.RED,
            color,
            Color(1),
            Color["CRIMSON"] is Color.RED,
            Color([2]),
            list(Color),
            color.loud,
            len(Color),
            Color.GREEN in Color,
            repr(color),
        )

    got = there(f, Color.RED)
    assert got == f(Color.RED)
    assert got[1] is Color.RED
    assert there(lambda: [(p.name, p.mass, p.value) for p in Planet]) == [("EARTH", 5, (5, 6)), ("MARS", 3, (3, 4))]
    assert there(lambda: Planet.MARS) is Planet.MARS
    assert there(lambda n: (n + 1, Number.TWO == 2, Number(1), isinstance(n, int)), Number.ONE) == (
        2,
        True,
        Number.ONE,
        True,
    )
    if sys.version_info >= (3, 13):  # 3.12 itself gives "<HTTPStatus.OK: 200>" in interpreters of their own
        assert there(lambda n: str(n), Number.ONE) == "1"
    got = there(lambda p: (p | Perm.W, Perm.RW, Perm.R in Perm.RW, ~p, list(Perm.RW), Perm(0)), Perm.R)
    assert got == (Perm.RW, Perm.RW, True, ~Perm.R, [Perm.R, Perm.W], Perm(0))
    assert got[0] is Perm.RW
    assert there(lambda: (Word.A + "x", Word("bee"), f"{Word.B}")) == ("ax", Word.B, "bee")
    assert there(lambda c: (c.text, Coded(2), c + 1, Coded.B.text), Coded.A) == ("one", Coded.B, 2, "two")  # type: ignore[attr-defined]
    assert there(lambda: inspect.Parameter.KEYWORD_ONLY) is inspect.Parameter.KEYWORD_ONLY


def test_classes_with_bases(there: Elsewhere) -> None:
    before = list(Base.registry)

    def f(square: Base) -> Any:
        return (
            isinstance(square, Square),
            Child(1).area(),
            square.area(),
            square.hidden,  # type: ignore[attr-defined]
            Child.make(4).side,
            [cls.__name__ for cls in Base.registry],
            Child(3).slow,
            Child(3).remembered(4),
            issubclass(Child, Base),
        )

    assert there(f, Square(2)) == f(Square(2))
    assert Base.registry == before
    with pytest.raises(TypeError, match="abstract"):
        there(lambda: Base())  # type: ignore[abstract]
    assert type(there(lambda: Child(2))) is Child
    assert there(lambda: Child) is Child
    assert there(lambda: Child(2)).hidden == 4


def test_metaclasses_generics_and_descriptors(there: Elsewhere) -> None:
    made = Meta.made
    assert there(lambda: (WithMeta.shout(), WithMeta.from_meta, Meta.made)) == ("WITHMETA", 1, made)  # type: ignore[attr-defined]
    assert Meta.made == made
    assert there(lambda: (Box[int](3).value, Box("x").value)) == (3, "x")
    assert there(Tree.size, Tree(Tree(), Tree(Tree()))) == 4
    assert there(Tree(Tree()).size) == 2
    assert there(lambda w: w.anything, Wrapper()) == "anything"
    assert there(lambda w: (w.field, WithSlot().field), WithSlot()) == (("field", 3), ("field", 3))


def test_local_classes_with_super(there: Elsewhere) -> None:
    class Outer:
        def name(self) -> str:
            return "outer"

    class Inner(Outer):
        def name(self) -> str:
            return super().name() + __class__.__name__  # type: ignore[name-defined]

    assert there(lambda: Inner().name()) == "outerInner"
    assert there(lambda i: (i.name(), isinstance(i, Inner)), Inner()) == ("outerInner", True)
    assert type(there(Inner)) is Inner


def test_classes_made_there_come_back(there: Elsewhere) -> None:
    def f() -> Any:
        class Made:
            def value(self) -> int:
                return FACTOR

        return Made()

    assert there(f).value() == 3


def test_a_class_attribute_that_is_set_at_run_time_is_seen(there: Elsewhere, app: App) -> None:
    module = app(
        "app_class",
        """
        class C:
            scale = 1
            def f(self, x):
                return x * self.scale
        def g(x):
            return C().f(x)
        """,
    )
    assert there(module.g, 5) == 5
    module.C.scale = 3
    assert there(module.g, 5) == 15
    assert there(module.C().f, 5) == 15
    module.C.f = lambda self, x: -x
    assert there(module.g, 5) == -5


def test_a_worker_does_not_change_the_classes_here(there: Elsewhere) -> None:
    def f(point: Point) -> Any:
        Point.SCALE = 99
        return point, Point

    try:
        there(f, Point(1))
        assert Point.SCALE == 10
    finally:
        Point.SCALE = 10


def test_arguments_share_the_namespaces_of_their_function(there: Elsewhere, app: App) -> None:
    module = app(
        "app_state",
        """
        STATE = 0
        class Reader:
            def read(self):
                return STATE, other()
        class Unnamed(Reader):
            def read(self):
                return STATE
        def other():
            return STATE
        def set_and_read(reader):
            global STATE
            STATE += 1
            return STATE, reader.read()
        def known(reader):
            return isinstance(reader, Reader)
        """,
    )
    assert there(module.set_and_read, module.Unnamed()) == (1, 1)
    assert there(module.set_and_read, module.Reader()) == (1, (1, 1))
    assert there(module.known, module.Unnamed()) is True


def test_two_functions_each_know_their_arguments(there: Elsewhere) -> None:
    """Loaded functions are kept: the second's class is not the first's."""
    from pyferris import _shipping

    def one(p: Any) -> bool:
        return isinstance(p, Point)

    def two(p: Any) -> bool:
        return type(p) is Point

    blobs = [_shipping.ship(function).blob for function in (one, two)]
    functions = [_wire.load_function(blob) for blob in blobs]
    assert all(function(_wire.loads(_wire.dumps(Point(1)), function)) for function in functions)
    assert [there.send(blob, Point(1)) for blob in blobs] == [True, True]


class Proto(typing.Protocol):
    def run(self) -> int: ...


class Mapped(collections.abc.Mapping[str, int]):
    def __init__(self, held: dict[str, int]) -> None:
        self.held = held

    def __getitem__(self, key: str) -> int:
        return self.held[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.held)

    def __len__(self) -> int:
        return len(self.held)


class Dispatched:
    @functools.singledispatchmethod
    def kind(self, x: object) -> str:
        return "object"

    @kind.register
    def _(self, x: int) -> str:
        return f"int {FACTOR}"


@dataclasses.dataclass
class Linked:
    after: typing.Optional["Linked"] = None  # noqa: UP037, UP045


@dataclasses.dataclass(slots=True)
class Longer(Linked):
    length: int = 5

    def text(self) -> str:
        return f"{self.length}{FACTOR}"


class Single:
    made: typing.ClassVar[Any] = None

    def __new__(cls) -> Any:
        if cls.made is None:
            cls.made = super().__new__(cls)
        return cls.made


SINGLE = Single()


class Bits(enum.IntFlag):
    A = 1
    B = 2
    C = 4


class Lenient(enum.Enum):
    ONLY = 1

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return cls.ONLY


class Missing(dict[str, int]):
    def __missing__(self, key: str) -> int:
        return FACTOR


def test_classes_of_many_kinds(there: Elsewhere) -> None:
    def f(mapped: Any, dispatched: Any, linked: Any, missing: Any) -> Any:
        return (
            Proto.__name__,
            mapped["a"],
            list(mapped),
            isinstance(mapped, collections.abc.Mapping),
            dispatched.kind(1) + dispatched.kind("x"),
            linked,
            Longer(length=3).text(),
            Single() is SINGLE,
            [Bits.A | Bits.B, Bits(5), ~Bits.A, list(Bits(3))],
            Lenient(99),
            missing["z"],
            dict(missing),
        )

    arguments = (Mapped({"a": 1}), Dispatched(), Linked(Linked()), Missing(a=1))
    for _ in range(2):  # the second time with what the first has left in its caches
        assert there(f, *arguments) == f(*arguments)
