"""Shared data that is pickled: a handle to the same native state, within one process."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import own_process
import pytest

from pyferris import _native, _wire
from pyferris.safe_thread import (
    SafeArray,
    SafeCondition,
    SafeCounter,
    SafeDict,
    SafeLock,
    SafeQueue,
    SafeRLock,
    SafeThread,
)

KINDS: list[Any] = [SafeArray, SafeCondition, SafeCounter, SafeDict, SafeLock, SafeQueue, SafeRLock]


class Thing:
    """Compares by value, and can be watched."""

    def __init__(self, value: object = 0) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thing) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)


class NamedDict(SafeDict[Any, Any]):
    pass


def again(shared: Any) -> Any:
    return pickle.loads(pickle.dumps(shared))


@pytest.fixture(autouse=True)
def _elements_are_pickled() -> Iterator[None]:
    """As before the first pool of interpreters, which another test may have made."""
    _native.set_shared_codec(None, None)
    yield
    _native.set_shared_codec(_wire.dumps, _wire.loads_element)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_container_is_the_same_one(kind: Any, protocol: int) -> None:
    shared = kind()
    other = pickle.loads(pickle.dumps(shared, protocol))
    assert type(other) is kind
    if kind is SafeCounter:
        shared.increment()
        assert other == 1
    elif kind is SafeQueue:
        other.push([1])
        assert shared.pop() == [1]
    elif kind is SafeDict:
        shared["a"] = (1,)
        assert other == {"a": (1,)}
    elif kind is not SafeArray:
        with other:
            assert shared._is_owned()


@pytest.mark.parametrize("kind", KINDS)
def test_none_is_copied(kind: Any) -> None:
    shared = kind()
    for duplicate in (copy.deepcopy,) if kind is SafeDict else (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=f"cannot copy a {kind.__name__}"):
            duplicate(shared)


def test_a_subclass_keeps_its_class_and_attributes() -> None:
    shared = NamedDict({1: 2})
    shared.name = "it"
    other = again(shared)
    assert type(other) is NamedDict
    assert (other.name, other) == ("it", {1: 2})


@pytest.mark.parametrize("kind", KINDS)
def test_another_process_is_told_what_to_do_instead(kind: Any) -> None:
    data = pickle.dumps(kind())
    program = f"import pickle; pickle.loads({data!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert f"TypeError: a {kind.__name__} is shared within one process and cannot be passed to another" in done.stderr
    assert f"pickled in process {os.getpid()}" in done.stderr
    assert 'isolation="interpreter"' in done.stderr


def test_a_forked_child_is_another_process() -> None:
    own_process.run("""
        import pickle, warnings
        from pyferris.safe_thread import SafeCounter
        warnings.simplefilter("ignore")
        counter = SafeCounter(3)
        data = pickle.dumps(counter)
        child = os.fork()
        if child == 0:
            try:
                pickle.loads(data)
            except TypeError:
                assert pickle.loads(pickle.dumps(counter)).increment() == 4 == counter.get()
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert pickle.loads(data) == 3
    """)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), TypeError),
        (("SafeCounter", 1, 2), TypeError),
        (("SafeSet", 1, 2, 3), ValueError),
        (("SafeCounter", 1, 2, 3), TypeError),
        ((b"SafeCounter", "1", None, 3), TypeError),
    ],
)
def test_a_handle_of_nothing_is_an_error(arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        _native._attach(*arguments)


def test_a_handle_of_another_kind_or_number_is_an_error() -> None:
    counter = SafeCounter()
    _, (name, process, token, number) = counter.__reduce__()  # type: ignore[misc]
    assert _native._attach(name, process, token, number) == 0
    for handle in [("SafeQueue", process, token, number), (name, process, token, number + 10**9)]:
        with pytest.raises(ReferenceError, match="is gone"):
            _native._attach(*handle)
    with pytest.raises(TypeError, match="another"):
        _native._attach(name, process, token ^ 1, number)
    with pytest.raises(TypeError, match="no subclass"):
        _native._attach(name, process, token, number, SafeQueue)


def test_a_container_that_nobody_holds_is_gone_at_last() -> None:
    data = pickle.dumps(SafeCounter(5))
    assert pickle.loads(data) == 5, "what was pickled a moment ago is kept"
    for _ in range(2_000):
        pickle.dumps(SafeCounter())
    with pytest.raises(ReferenceError, match="keep it until it is unpickled"):
        pickle.loads(data)


@pytest.mark.parametrize("made", [lambda x: SafeDict({"k": x}), lambda x: SafeQueue(0, [x]), lambda x: SafeArray([x])])
def test_a_shared_container_lets_go_of_its_objects(made: Any) -> None:
    thing = Thing()
    gone = weakref.ref(thing)
    shared = made(thing)
    del thing
    assert gone() is not None
    again(shared)
    gc.collect()
    assert gone() is None
    assert Thing() in (shared.to_list() if not isinstance(shared, SafeDict) else shared.values())


@pytest.mark.parametrize("made", [lambda x: SafeDict({"k": x}), lambda x: SafeQueue(0, [x]), lambda x: SafeArray([x])])
def test_what_cannot_be_pickled_leaves_the_container_as_it_was(made: Any) -> None:
    lock = threading.Lock()
    shared = made(lock)
    with pytest.raises(TypeError, match=r"of a Safe\w+ cannot be shared .* of type _thread.lock") as caught:
        pickle.dumps(shared)
    assert isinstance(caught.value.__cause__, TypeError)
    assert lock in (shared.to_list() if not isinstance(shared, SafeDict) else shared.values())


def test_what_cannot_be_pickled_is_not_put_into_a_shared_container() -> None:
    lock = threading.Lock()
    queue, mapping, array = SafeQueue[Any](), SafeDict[Any, Any](), SafeArray[Any]([None])
    for shared in (queue, mapping, array):
        again(shared)
    for put in (queue.push, lambda x: mapping.put("k", x), lambda x: mapping.put(x, 1), lambda x: array.set(0, x)):
        with pytest.raises(TypeError, match="cannot be shared"):
            put(lock)
    assert (queue.qsize(), len(mapping), array[0]) == (0, 0, None)


def test_containers_that_hold_themselves_and_each_other() -> None:
    mapping, queue, array = SafeDict[str, Any](), SafeQueue[Any](), SafeArray[Any]([None])
    mapping["all"] = [mapping, queue, array]
    queue.push((mapping,))
    array[0] = [array]
    other = again(mapping)
    assert other["all"][1].to_list()[0][0]["all"][2][0][0][0]
    assert repr(array) == "SafeArray([[SafeArray([...])]], dtype='object')"
    assert "{...}" in repr(other)


def test_a_container_that_holds_itself_is_dropped_all_the_same() -> None:
    array = SafeArray[Any]([None])
    array[0] = [array]
    _, handle = array.__reduce__()  # type: ignore[misc]
    assert _native._attach(*handle)[0][0]
    del array
    for _ in range(2_000):
        pickle.dumps(SafeCounter())
    with pytest.raises(ReferenceError):
        _native._attach(*handle)


def test_keys_of_a_shared_dict_compare_as_python_does() -> None:
    keys = ["a", "\xe9", "\u20ac", "\U0001f600", b"a", 1, 2.5, 2**70, None, (1, "a"), frozenset({1})]
    keys += [Thing(3), "", -0.0]
    shared = again(SafeDict({key: number for number, key in enumerate(keys)}))
    for number, key in enumerate(keys):
        assert shared[key] == number
    assert (shared[True], shared[1.0], shared[0], shared[(1.0, "a")], shared[Thing(3.0)]) == (5, 5, 13, 9, 11)
    for key in ["b", b"", b"b", 2, 2.25, 2**71, (1, "b"), Thing(4)]:
        assert key not in shared
    shared[True] = "new"
    assert list(shared)[5] == 1
    assert shared[1] == "new"


def test_values_come_back_equal() -> None:
    values = [None, True, False, 0, -1, 2**63 - 1, -(2**63), 2**63, 0.0, 1e308, "", "a\0b", "\x80", "\u0100", "\ud800"]
    values += ["\U00010000", b"", b"\0\1", [], {}, {1: [2]}, (None,), 1j, Thing(1)]
    array = again(SafeArray(values, dtype="object"))
    assert array.to_list() == values
    assert [type(value) for value in array] == [type(value) for value in values]
    nan = again(SafeArray([float("nan")], dtype="object"))[0]
    assert nan != nan


def test_sharing_goes_on_while_others_use_the_container() -> None:
    for _ in range(30):
        queue, mapping, array = SafeQueue[Any](), SafeDict[Any, Any](), SafeArray[Any](["a"] * 10)
        for i in range(200):
            queue.push([i])
            mapping[i] = [i]
        begin = threading.Barrier(4)

        def use_queue(queue: Any = queue, begin: Any = begin) -> list[Any]:
            begin.wait()
            got = []
            for i in range(200, 600):
                queue.push([i])
                got.append(queue.pop())
            return got

        def use_dict(mapping: Any = mapping, begin: Any = begin) -> None:
            begin.wait()
            for i in range(600):
                mapping.update_value(i, lambda seen: [*seen, -1], [])
                mapping.increment("n")

        def use_array(array: Any = array, begin: Any = begin) -> None:
            begin.wait()
            for i in range(400):
                array.add(i % 10, "b")

        threads: list[SafeThread[Any]] = [SafeThread(target=use) for use in (use_queue, use_dict, use_array)]
        for thread in threads:
            thread.start()
        begin.wait()
        for shared in (queue, mapping, array):
            again(shared)
        results = [thread.get_result(60) for thread in threads]
        assert [item for [item] in results[0] + queue.to_list()] == list(range(600))
        assert [mapping[i] for i in range(600)] == [[i, -1] for i in range(200)] + [[-1]] * 400
        assert mapping["n"] == 600
        assert array.to_list() == ["a" + "b" * 40] * 10


def test_the_codec_can_be_replaced_and_says_what_it_is_given() -> None:
    seen: list[str] = []

    def encode(value: object, what: str) -> bytes:
        seen.append(what)
        return repr(value).encode()

    shared = again(SafeDict())
    _native.set_shared_codec(encode, lambda data: eval(data))
    try:
        shared[range(1)] = range(2)
        assert shared[range(1)] == range(2)
        assert seen == ["a key of a SafeDict", "a value of a SafeDict", "a key of a SafeDict"]
        _native.set_shared_codec(lambda value, what: "text", pickle.loads)  # type: ignore[arg-type,return-value]
        with pytest.raises(TypeError, match="must return bytes, not str"):
            shared["k"] = range(1)
    finally:
        _native.set_shared_codec(None, None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_thread_that_refuses_handles_pickles_none_and_shares_nothing(kind: Any) -> None:
    inner = SafeQueue[Any](0, [value := object()])
    assert not _native.refuse_handles(True)
    try:
        for shared in (kind(), [kind()], inner):
            with pytest.raises(TypeError, match=r"cannot be passed to another: .* or use isolation=\"interpreter\""):
                pickle.dumps(shared)
    finally:
        assert _native.refuse_handles(False)
    assert inner.pop() is value


def test_a_condition_of_another_lock_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="SafeLock or a SafeRLock only"):
        pickle.dumps(SafeCondition(threading.Lock()))
