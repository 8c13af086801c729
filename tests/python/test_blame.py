"""What messages say of an object that cannot be sent to a worker: which it is of what the user has given."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
from elsewhere import KINDS

from pyferris.safe_thread import SafeDict, SafeQueue, SafeThreadPool, safe_parallel_map

LIMIT = 50  # seconds; only a failure takes that long

LOCK = threading.Lock()
WHY = r": <unlocked _thread\.lock object at \w+> \(lock\)"
END = (
    r" cannot be pickled \(cannot pickle '_thread\.lock' object\); make it in the worker, send plain data instead, or "
)
OF_ITEM = re.escape("an item for take() cannot be sent to an isolated worker") + WHY


class Holder:
    def __init__(self) -> None:
        self.held = LOCK


def take(*_args: Any, **_keywords: Any) -> None: ...


@pytest.fixture(scope="module", params=KINDS)
def pool(request: pytest.FixtureRequest) -> Any:
    with SafeThreadPool(1, isolation=request.param) as pool:
        yield pool


@pytest.mark.parametrize(
    ("args", "keywords", "what", "where"),
    [
        ((LOCK,), {}, "argument 0 of take()", ""),
        ((1, [2, Holder()]), {}, "argument 1 of take()", " at [1].held"),
        ((1, LOCK), {"by": 2}, "argument 1 of take()", ""),
        ((1,), {"by": LOCK}, "keyword 'by' of take()", ""),
        ((), {"by": {"a": (LOCK,)}}, "keyword 'by' of take()", " at ['a'][0]"),
        (((1,), {"by": LOCK}), {}, "argument 1 of take()", " at ['by']"),  # what looks like a call's
    ],
)
def test_arguments(pool: SafeThreadPool, args: Any, keywords: Any, what: str, where: str) -> None:
    with pytest.raises(TypeError) as caught:
        pool.submit(take, *args, **keywords).result(LIMIT)
    pattern = re.escape(f"{what} cannot be sent to an isolated worker") + WHY + re.escape(where) + END
    assert re.match(pattern, str(caught.value)), caught.value


def test_items(pool: SafeThreadPool) -> None:
    with pytest.raises(TypeError) as caught:
        list(pool.map(take, [[1], [2], [LOCK]]))
    assert re.match(
        re.escape("an item for take() cannot be sent to an isolated worker") + WHY + r" at \[0\]" + END,
        str(caught.value),
    )
    assert caught.value.__notes__ == ["raised for item 2 of the map"]
    with pytest.raises(TypeError) as caught:
        list(pool.map(take, [1], [Holder()]))
    assert re.match(
        re.escape("an item for take() cannot be sent to an isolated worker") + WHY + r" at \[1\]\.held" + END,
        str(caught.value),
    )


def test_results(pool: SafeThreadPool) -> None:
    def give() -> Any:
        return {"f": lambda: 1, "s": open("/dev/null")}

    with pytest.raises(TypeError) as caught:
        pool.submit(give).result(LIMIT)
    assert str(caught.value).endswith('; return plain data instead, or use isolation="none"')
    assert "at ['s']" in str(caught.value)


def test_one_remedy_is_enough() -> None:
    with SafeThreadPool(1, isolation="process") as pool, pytest.raises(TypeError) as caught:
        pool.submit(take, SafeDict({1: 2})).result(LIMIT)
    assert re.search(
        r'pass dict\(it\) instead, or use isolation="interpreter"( on Python 3\.12 or later)?$', str(caught.value)
    )


@pytest.mark.skipif("interpreter" not in KINDS, reason="interpreters with a GIL of their own need Python 3.12")
def test_what_a_shared_container_cannot_hold() -> None:
    shared: SafeDict[str, Any] = SafeDict()
    queue: SafeQueue[Any] = SafeQueue()
    with SafeThreadPool(1, isolation="interpreter") as pool:
        with pytest.raises(TypeError) as caught:
            pool.submit(take, SafeDict({"a": LOCK})).result(LIMIT)
        assert str(caught.value).endswith("; keep plain data in it")
        pool.submit(take, shared, queue).result(LIMIT)
    with pytest.raises(TypeError, match="a value of a SafeDict cannot be shared with isolated workers, as its"):
        shared["a"] = LOCK
    with pytest.raises(TypeError, match="an item of a SafeQueue cannot be shared with isolated workers"):
        queue.push(LOCK)


def test_wrong_arguments_of_a_queue_and_a_map() -> None:
    with pytest.raises(TypeError, match="maxsize must be an int, 0 for any number of items, not 'a'"):
        SafeQueue(maxsize="a")  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        SafeQueue(2**80)
    with pytest.raises(TypeError, match=r"takes one iterable, then max_workers, which is not \[3, 4\]"):
        safe_parallel_map(pow, [1, 2], [3, 4])  # type: ignore[call-overload]
