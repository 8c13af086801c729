"""Objects, classes and exceptions as bytes: what arrives is what was sent, and what comes back is what it was."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import random
import sys
import threading
import types
from typing import Any

import pytest
from elsewhere import Elsewhere

from pyferris import _native, _wire

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
    if not isinstance(value, frozenset):  # a set's copy may show its elements in another order
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


# --- garbage


def test_a_sealed_message_is_told_from_a_changed_one() -> None:
    content = bytes(range(256)) * 5
    message = _native.seal(b"M", content[:7], bytearray(content[7:100]), memoryview(content)[100:])
    assert message[5:] == content
    assert message == _native.seal(b"M", content)
    assert _native.is_sealed(message)
    for at in [0, 1, 4, 5, 12, 13, len(message) - 9, len(message) - 1]:
        changed = bytearray(message)
        changed[at] ^= 0x10
        assert not _native.is_sealed(changed)
    for other in (message[:-1], message + b"\0", b"", message[:4]):
        assert not _native.is_sealed(other)
    assert _native.is_sealed(_native.seal(b"M"))
    with pytest.raises(TypeError):
        _native.seal(b"MM", content)
    with pytest.raises(TypeError):
        _native.seal(b"M", "text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        _native.seal()  # type: ignore[call-arg]


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
    command = [sys.executable, "-X", "faulthandler", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "True", (done.stderr[-2000:], program[:200])


def test_modules_travel_as_references(there: Elsewhere) -> None:
    assert there(lambda m: m.__name__, types) == "types"
