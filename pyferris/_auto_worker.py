"""What isolated workers do for ``isolation="auto"``: answers that differ from the caller's own do not leave them."""

from __future__ import annotations

import marshal
import time

from ._library import describe
from ._native import CallCancelled, encode_plain, seal
from ._plain import has_sets, keeps, keeps_all
from ._wire import load_function
from ._worker_output import Overhearing

TYPE_CHECKING = False  # typing is not imported in a worker
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Trial = tuple[bytes, dict[str, int], Any, bytes, int, int]

__all__ = ["UNTRIED", "Unlike", "call_checked", "fingerprint", "pace", "prepare", "verdict"]

UNTRIED: tuple[bytes, dict[int, None] | None, int] = (b"", None, 0)

_trial: Trial | None = None  # until it is done
_verdict: str | None = None
_slowness: str | None = None

_ATOMS = frozenset({int, float, complex, str, bytes, bool, type(None)})
_MUTABLE = frozenset({list, dict, set})
_TRIES = 5
_ENOUGH_NS = 10_000_000  # of tries, of which a moment in which the machine is busy does not take all; two at least
_ADDRESS = b" at 0x"  # as in the repr of a function, and of most objects


class Unlike(Exception):
    """A worker does not do what the caller does; its text says how."""


def fingerprint(value: Any) -> bytes:
    """Bytes that are equal for equal trees of plain values, whoever else holds parts of them."""
    return marshal.dumps(value, 2)


def pace() -> int:
    """Nanoseconds that a short loop takes here and now: a core of a machine that is shared by many may take 1.8 times
    as long from one moment to the next.
    """
    least = 0
    for _ in range(4):
        began = time.thread_time_ns()
        total = 0
        for number in range(1000):
            total += number & 3
        took = time.thread_time_ns() - began
        least = min(least or took, took)
    return least


def prepare(blob: bytes, library: dict[str, int], item: Any, expected: bytes, most_ns: int, fastest_pace: int) -> None:
    """In each worker before its first call: what it is to try.

    ``item``, ``expected``, ``most_ns``: what the caller has done, for the worker to repeat; see ``Probe``. ``library``:
    the caller's ``describe`` of the modules that the function uses. ``fastest_pace``: the least that ``pace`` was.
    """
    global _trial, _verdict, _slowness
    _trial, _verdict, _slowness = (blob, library, item, expected, most_ns, fastest_pace), None, None


def verdict() -> str | None:
    """Why this worker is of no use; None if it is. A call, which can be stopped: the item may be a dear one.

    That it was slow is no reason to refuse what it gets all the same, as another worker was found to be of use: the
    machine may have been busy for a moment.
    """
    global _trial, _verdict, _slowness
    if _trial is not None:  # one worker may make all these calls
        try:
            _slowness = _try(*_trial)
        except Unlike as error:
            _verdict = str(error)
        except Exception as error:
            _verdict = f"an isolated worker failed: {error!r}"
        _trial = None
    return _verdict or _slowness


def _try(
    blob: bytes, library: dict[str, int], item: Any, expected: bytes, most_ns: int, fastest_pace: int
) -> str | None:
    """As ``_repeat``."""
    function = load_function(blob)
    for name, number in describe(library).items():
        if library.get(name) != number:
            raise Unlike(f"module {name!r} has been changed in this program, or is another one for a worker")
    with Overhearing() as overhearing:
        slowness = _repeat(function, item, expected, most_ns, fastest_pace)
    if overhearing.heard:
        raise Unlike("the function prints or warns")
    return slowness


def _repeat(function: Callable[[Any], Any], item: Any, expected: bytes, most_ns: int, fastest_pace: int) -> str | None:
    """Raises ``Unlike``; returns whether the worker is too slow, in words."""
    before = fingerprint(item)
    fastest = total = 0
    for number in range(_TRIES):
        if number > 1 and total > _ENOUGH_NS:
            break
        began = time.thread_time_ns()  # other programs do not count
        result = function(item)
        took = time.thread_time_ns() - began
        if encode_plain(result) is None or fingerprint(result) != expected:
            raise Unlike("an isolated worker gave another result than the caller for the same item")
        if fingerprint(item) != before:
            raise Unlike("the function changes its item")
        total += took
        fastest = took if fastest == 0 else min(fastest, took)
        if most_ns == 0 or took <= most_ns or took <= most_ns * pace() / max(1, fastest_pace):
            return None
    return f"an isolated worker took {fastest / 1e6:.3f} ms for an item, where {most_ns / 1e6:.3f} ms are allowed"


def call_checked(
    function: Callable[[Any], Any], items: list[Any], fail_fast: bool, apart: bool
) -> tuple[bytes, dict[int, None] | None, int]:
    """As ``call_each``; but a failure is None: that item is to be called by the caller.

    So is one that fails, or whose call changes it, or gives back a part of it, or something that no copy equals, or
    what may be an address. In another process, ``apart``, that is any set as well. So are all of a run in which
    something is said: a warning, an error in a destructor. ``UNTRIED`` where this worker has no ``verdict`` yet.
    """
    if _trial is not None:
        return UNTRIED
    if _verdict is not None:
        raise Unlike(_verdict)
    with Overhearing() as overhearing:
        answer = _call_each(function, items, fail_fast, apart)
    if not overhearing.heard:
        return answer
    nothing = [None] * len(items)
    return seal(b"M", fingerprint(nothing)), dict.fromkeys(range(len(items))), answer[2]


def _call_each(
    function: Callable[[Any], Any], items: list[Any], fail_fast: bool, apart: bool
) -> tuple[bytes, dict[int, None] | None, int]:
    results: list[Any] = []
    failures: dict[int, None] = {}
    clock, aside = time.thread_time_ns, 0  # what is none of the function's; of no use where it has failed
    began = clock()
    for item in items:
        try:
            if type(item) in _ATOMS:
                results.append(function(item))
                continue
            aside -= clock()
            before, parts = fingerprint(item), set(_mutable_parts(item))
            aside += clock()
            result = function(item)
            aside -= clock()
            unlike = result is item or fingerprint(item) != before
            if unlike or (parts and not parts.isdisjoint(_mutable_parts(result))):
                failures[len(results)] = result = None
            results.append(result)
            aside += clock()
        except CallCancelled:
            raise
        except BaseException:
            failures[len(results)] = None
            results.append(None)
            if fail_fast:
                break
    took = max(0, clock() - began - aside) if not failures else clock() - began
    for place in range(len(results), len(items)):  # in order, after the one that failed
        failures[place] = None
        results.append(None)
    data = encode_plain(results)
    if data is None or not keeps_all(results) or (apart and has_sets(results)) or _ADDRESS in data:
        for place, result in enumerate(results):
            encoded = encode_plain(result)
            if encoded is None or not keeps(result) or (apart and has_sets(result)) or _ADDRESS in encoded:
                failures[place] = results[place] = None
        data = encode_plain(results)
    assert data is not None
    return seal(b"M", data), failures or None, took


def _mutable_parts(value: Any) -> Iterator[int]:
    """The identities of the lists, dicts and sets in a plain tree."""
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind in _ATOMS:
        return
    if kind in _MUTABLE:
        yield id(value)
    below = value.values() if kind is dict else value if kind is list or kind is tuple else ()
    if not _ATOMS.issuperset(map(type, below)):
        for each in below:
            yield from _mutable_parts(each)
