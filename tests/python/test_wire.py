"""Objects, classes and exceptions as bytes: what arrives is what was sent, and what comes back is what it was."""

from __future__ import annotations

import abc
import array
import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import functools
import inspect
import random
import sys
import threading
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elsewhere import KINDS, App, Elsewhere, make

from pyferris import _wire


@pytest.fixture(scope="module", params=KINDS)
def there(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    elsewhere = make(request.param, tmp_path_factory.mktemp("elsewhere"))
    yield elsewhere
    elsewhere.close()


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.syspath_prepend(str(tmp_path))
    made = App(tmp_path)
    yield made
    made.forget()


FACTOR = 3
NOTHING = object()


def echo(x: Any) -> Any:
    return x


# --- plain data

PLAIN = [
    None,
    True,
    ...,
    0,
    -(10**50),
    1.5,
    float("inf"),
    -0.0,
    2j,
    "",
    "\ud800 é",
    b"",
    b"x" * 100_000,
    (),
    (1, (2, [3, {"a": {4}}])),
    frozenset({1, "a"}),
    {"b": 1, "a": 2},
    [[[]]],
]


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: repr(value)[:20])
def test_plain_data(value: Any) -> None:
    data = _wire.dumps(value)
    assert data[:1] == b"M"
    assert _wire.loads(data) == value
    assert repr(_wire.loads(data)) == repr(value)
    assert _wire.loads(_wire.dumps_result(value)) == value


def test_what_looks_plain_keeps_its_type() -> None:
    numbers = array.array("d", [1, 2, 3])
    values: list[Any] = [
        bytearray(b"abc"),
        numbers,
        collections.OrderedDict(b=1, a=2),
        collections.defaultdict(list, a=[1]),
        collections.Counter("abca"),
        collections.deque([1, 2], 5),
        enum.IntFlag("Flags", "A B", module=__name__)(3),
        range(5),
        slice(1, 2),
        datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
        decimal.Decimal("1.50"),
        type("Text", (str,), {"__module__": __name__})("x"),
        {"a": bytearray(b"x")},
    ]
    for value in values:
        data = _wire.dumps(value)
        assert data[:1] == b"P"
        again = _wire.loads(data)
        assert type(again) is type(value)
        assert again == value


def test_views_and_arrays(there: Elsewhere) -> None:
    numbers = array.array("d", [1, 2, 3, 4])
    for view in (
        memoryview(numbers),
        memoryview(b"abc"),
        memoryview(bytearray(b"abcd")).cast("B", (2, 2)),
        memoryview(b"abcdef")[::2],
    ):
        again = there(echo, view)
        assert again.tolist() == view.tolist()
        assert (again.format, again.shape, again.readonly) == (view.format, view.shape, view.readonly)
    assert there(echo, numbers) == numbers


def test_objects_that_are_one_stay_one(there: Elsewhere) -> None:
    shared: list[Any] = [1]
    a, b = there(echo, [shared, shared])
    assert a is b
    shared.append(shared)
    again = there(echo, shared)
    assert again[1] is again
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    assert there(echo, deep) == deep


def test_what_cannot_travel_is_named() -> None:
    class Holder:
        def __init__(self) -> None:
            self.inside = {"key": [1, threading.Lock()]}

    with pytest.raises(TypeError, match=r"argument 2 of f\(\).*lock.*\.inside\['key'\]\[1\]") as caught:
        _wire.dumps((1, Holder()), "argument 2 of f()")
    assert isinstance(caught.value.__cause__, TypeError)
    for value in ((x for x in ()), open, sys.stdout, threading.Thread(), sys._getframe()):
        if value is not open:
            with pytest.raises(TypeError, match="an argument"):
                _wire.dumps([value])

    class Nasty:
        def __repr__(self) -> str:
            raise RuntimeError

        def __reduce__(self) -> Any:
            raise ZeroDivisionError("no")

    with pytest.raises(TypeError, match="Nasty") as caught:
        _wire.dumps({"a": Nasty()}, "the result of g()")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(TypeError):
        _wire.dumps(deep)


# --- classes


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
    CRIMSON = 1

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
    def __new__(cls, code: int, text: str) -> Coded:
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
        return self if instance is None else (self.name, instance.__dict__.get(self.name))


class WithSlot:
    field = Slot()

    def __init__(self) -> None:
        self.__dict__["field"] = 3


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
    assert there(lambda n: (n + 1, Number.TWO == 2, Number(1), str(n), isinstance(n, int)), Number.ONE) == (
        2,
        True,
        Number.ONE,
        "1",
        True,
    )
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
            return super().name() + __class__.__name__  # type: ignore[name-defined]  # noqa: F821

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
        "class C:\n    scale = 1\n    def f(self, x):\n        return x * self.scale\ndef g(x):\n    return C().f(x)",
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


# --- exceptions


class Odd(Exception):
    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(f"code {code}")
        self.code = code
        self.detail = detail


class OddOS(OSError):
    def __init__(self, name: str) -> None:
        super().__init__(2, "not there", name)


class NoText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Immovable(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class Reduces(ValueError):
    def __init__(self, a: int, b: int) -> None:
        super().__init__("both")
        self.a, self.b = a, b

    def __reduce__(self) -> Any:
        return Reduces, (self.a, self.b)


class CannotRebuild(KeyError):
    def __reduce__(self) -> Any:
        return CannotRebuild, (1, 2, 3, 4), {"x": threading.Lock()}


def throw(make_error: Any) -> None:
    raise make_error()


def over_there(there: Elsewhere, make_error: Any) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        there(throw, make_error)
    assert "in throw" in str(caught.value.__cause__)
    return caught.value


ERRORS: list[BaseException] = [
    ValueError("x", 1),
    KeyError("k"),
    OSError(2, "none", "file"),
    FileNotFoundError(2, "none", "file"),
    UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
    UnicodeEncodeError("utf-8", "x", 0, 1, "bad"),
    SyntaxError("bad", ("f.py", 1, 2, "text")),
    ImportError("no", name="n", path="p"),
    StopIteration(5),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    RecursionError("deep"),
    MemoryError(),
    decimal.InvalidOperation("x"),
    NameError("name", name="n"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_exceptions(there: Elsewhere, error: BaseException) -> None:
    if not hasattr(error, "__notes__"):  # it is the same one for each kind of worker
        error.add_note("a note")
    error.extra = [1]  # type: ignore[attr-defined]
    got = over_there(there, lambda: error)
    assert type(got) is type(error)
    assert got.args == error.args
    assert str(got) == str(error)
    assert got.__notes__ == ["a note"]
    assert got.extra == [1]  # type: ignore[attr-defined]
    for name in ("errno", "filename", "name", "path", "value", "code", "reason", "object", "lineno", "text"):
        assert getattr(got, name, None) == getattr(error, name, None), name


def test_exceptions_with_odd_constructors(there: Elsewhere) -> None:
    got: Any = over_there(there, lambda: Odd(5, detail="d"))
    assert (type(got), got.args, got.code, got.detail) == (Odd, ("code 5",), 5, "d")
    got = over_there(there, lambda: OddOS("file"))
    assert (type(got), got.errno, got.filename, got.args) == (OddOS, 2, "file", (2, "not there"))
    got = over_there(there, lambda: Reduces(1, 2))
    assert (type(got), got.a, got.b) == (Reduces, 1, 2)
    assert type(over_there(there, NoText)) is NoText
    assert type(over_there(there, lambda: Immovable("x"))) is Immovable
    assert isinstance(over_there(there, lambda: CannotRebuild("x")), KeyError)


def test_exceptions_that_cannot_travel_arrive_as_their_nearest_kin(there: Elsewhere) -> None:
    def with_lock() -> Any:
        import threading

        error = Odd(1, detail="d")
        error.args = ("text", threading.Lock())
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        return error

    got: Any = over_there(there, with_lock)
    assert isinstance(got, Odd)
    assert "lock" in str(got)
    assert got.code == 1

    def from_library() -> Any:
        import threading

        class Local(LookupError):
            lock = threading.Lock()

        return Local("text")

    got = over_there(there, from_library)
    assert type(got) is LookupError
    assert str(got) == "text"
    assert "Local: text" in str(got.__cause__)


def test_exception_groups(there: Elsewhere) -> None:
    got: Any = over_there(there, lambda: ExceptionGroup("both", [Odd(1, detail="d"), ValueError(2)]))
    assert type(got) is ExceptionGroup
    assert [type(each) for each in got.exceptions] == [Odd, ValueError]
    assert "code 1" in str(got.__cause__)


def test_the_traceback_shows_what_led_to_it(there: Elsewhere) -> None:
    def inner() -> None:
        {}["missing"]  # noqa: B018

    def outer() -> None:
        try:
            inner()
        except KeyError as error:
            raise ValueError("outer") from error

    with pytest.raises(ValueError, match="outer") as caught:
        there(outer)
    text = str(caught.value.__cause__)
    assert "direct cause" in text
    assert "KeyError: 'missing'" in text
    assert "in inner" in text
    assert '{}["missing"]' in text
    assert f"line {inner.__code__.co_firstlineno + 1}" in text
    again = copy.copy(caught.value.__cause__)
    assert str(again) == text


def test_a_cycle_of_causes_and_endless_recursion(there: Elsewhere) -> None:
    def cycle() -> Any:
        one, other = ValueError("one"), ValueError("other")
        one.__cause__, other.__cause__ = other, one
        return one

    assert str(over_there(there, cycle)) == "one"

    def endless() -> None:
        endless()

    with pytest.raises(RecursionError) as caught:
        there(endless)
    assert "in endless" in str(caught.value.__cause__)


def test_errors_never_fail_to_be_read() -> None:
    good = _wire.dumps_error(ValueError("x"))
    assert type(_wire.loads_error(good)) is ValueError
    shuffle = random.Random(1)
    for _ in range(300):
        data = bytearray(good)
        for _ in range(3):
            data[shuffle.randrange(len(data))] = shuffle.randrange(256)
        assert isinstance(_wire.loads_error(bytes(data[: shuffle.randrange(len(data) + 1)])), BaseException)


# --- garbage


def test_garbage_raises() -> None:
    for data in (b"", b"X", b"M", b"P", b"Z123", b"M\xff", b"P\x80\x05"):
        with pytest.raises(Exception):  # noqa: B017, PT011
            _wire.loads(data)
    for data in (b"", b"F", b"F\xff", b"P", b"R", b"M"):
        with pytest.raises(Exception):  # noqa: B017, PT011
            _wire.load_function(data)


FUZZ = """
import random, sys
sys.path[:] = {path!r}
from pyferris import _wire
shuffle = random.Random({seed})
samples = {samples!r}
raised = 0
for _ in range(20_000):
    data = bytearray(shuffle.choice(samples))
    for _ in range(shuffle.randrange(1, 6)):
        data[shuffle.randrange(1, len(data))] = shuffle.randrange(256)
    data = bytes(data[: shuffle.randrange(1, len(data) + 1)] if shuffle.random() < 0.3 else data)
    try:
        repr(_wire.loads(data))
    except (Exception, SystemExit):
        raised += 1
print(raised > 1000)
"""


def test_mutated_messages_never_crash() -> None:
    import subprocess

    values = [[1, 2.5, "text", b"bytes", None, {"a": (1, 2)}], list(range(50)), {"x": {"y": {1, 2}}}, 10**40, "é" * 9]
    samples = [_wire.dumps(value) for value in values]
    program = FUZZ.format(path=sys.path, seed=random.randrange(1 << 30), samples=samples)
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program], capture_output=True, text=True, timeout=100
    )
    assert done.stdout.strip() == "True", (done.stderr[-2000:], program[:200])


def test_modules_travel_as_references(there: Elsewhere) -> None:
    assert there(lambda m: m.__name__, types) == "types"
