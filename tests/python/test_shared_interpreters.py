"""Shared data seen from interpreters that have a GIL of their own."""

from __future__ import annotations

import own_interpreter
import pytest

pytestmark = own_interpreter.needs_interpreters


def test_two_interpreters_count_a_million_steps_exactly() -> None:
    own_interpreter.run("""
        counter = SafeCounter()
        run_both("for _ in range(500_000): counter.increment()", counter=counter)
        assert counter.get() == 1_000_000, counter
    """)


def test_one_memory_of_numbers_for_all_interpreters() -> None:
    own_interpreter.run("""
        ints, reals = SafeArray([0, 0, 7]), SafeArray([0.5, 1.5])
        view = memoryview(ints)
        run_both('''
for _ in range(50_000):
    ints.add(0, 1)
memoryview(ints)[2] = 8
reals[1] = 2.5
assert ints.dtype == "int64" and reals.dtype == "float64" and len(reals) == 2
''', ints=ints, reals=reals)
        assert (view.tolist(), reals.to_list()) == ([100_000, 0, 8], [0.5, 2.5])
    """)


@pytest.mark.parametrize("kind", ["SafeLock", "SafeRLock"])
def test_a_lock_keeps_the_threads_of_other_interpreters_out(kind: str) -> None:
    own_interpreter.run(f"""
        lock, numbers = {kind}(), SafeArray([0])
        run_both('''
view = memoryview(numbers)
for _ in range(50_000):
    with lock:
        before = view[0]
        view[0] = before + 1
''', lock=lock, numbers=numbers)
        assert numbers[0] == 100_000 and not lock.locked()
    """)


def test_a_held_lock_is_seen_as_held_and_owned_by_its_thread_alone() -> None:
    own_interpreter.run("""
        plain, owned = SafeLock(), SafeRLock()
        with plain, owned:
            run_both('''
assert plain.locked() and owned.locked() and not owned._is_owned()
assert not plain.acquire(timeout=0.01) and not owned.acquire(False)
try:
    owned.release()
except RuntimeError:
    pass
else:
    raise AssertionError
''', plain=plain, owned=owned)
    """)


def test_a_queue_carries_items_from_one_interpreter_to_another_in_order() -> None:
    own_interpreter.run("""
        calls, answers = SafeQueue(maxsize=3), SafeQueue()
        worker = Worker('''
for item in calls:
    answers.push((item, type(item).__name__))
answers.close()
''', calls=calls, answers=answers)
        items = [1, "two", "z\\u00e9", "\\u20ac", "\\U0001f600", b"three", None, True, False, 4.5, 2**70]
        items += [(5, [6]), {"k": {7}}]
        for item in items * 50:
            calls.push(item)
        calls.close()
        assert list(answers) == [(item, type(item).__name__) for item in items * 50]
        worker.end()
    """)


def test_threads_of_several_interpreters_wait_in_one_queue() -> None:
    own_interpreter.run("""
        work, done, sums = SafeQueue(), SafeQueue(5), SafeCounter()
        worker = [Worker('''
while (item := work.get()) is not None:
    done.put(item)
    work.task_done()
''', work=work, done=done) for _ in range(2)]
        taker = threading.Thread(target=lambda: [sums.add(done.get()) for _ in range(5_000)])
        taker.start()
        for i in range(5_000):
            work.put(i)
        work.join()
        work.put(None), work.put(None)
        taker.join()
        for one in worker:
            one.end()
        assert sums == sum(range(5_000)) and work.qsize() == 0
    """)


def test_a_closed_queue_raises_the_error_of_each_interpreter() -> None:
    own_interpreter.run("""
        queue = SafeQueue(1, [1])
        queue.close()
        worker = Worker('''
import queue as stdlib
import sys
try:
    queue.put(2)
except Exception as error:
    assert type(error).__name__ == "ShutDown", error
    if sys.version_info >= (3, 13):
        assert type(error) is stdlib.ShutDown
assert queue.get() == 1 and list(queue) == []
try:
    other.get_nowait()
except stdlib.Empty:
    other.put(1)
try:
    other.put_nowait(2)
except stdlib.Full:
    done.increment()
''', queue=queue, other=SafeQueue(1), done=(done := SafeCounter()))
        worker.end()
        assert done == 1
    """)


def test_a_dict_s_steps_are_atomic_across_interpreters() -> None:
    own_interpreter.run("""
        shared = SafeDict({"n": 0, ("a", 1): 0, 7: 0, "list": []})
        run_both('''
for i in range(3_000):
    shared.increment("n")
    shared.increment(("a", 1), 2)
    shared.update_value(7.0, lambda n: n + 1, 0)
    while not shared.compare_exchange("list", seen := shared["list"], seen + [i]):
        pass
    shared.get_or_insert(("won", i), me)
    shared.increment(("seen", i, shared[("won", i)]))
''', shared=shared)
        assert (shared["n"], shared["a", 1], shared[7], shared[True + 6]) == (6_000, 12_000, 6_000, 6_000)
        assert sorted(shared["list"]) == sorted(2 * list(range(3_000)))
        for i in range(3_000):
            assert shared["seen", i, shared["won", i]] == 2, i
        assert len(shared) == 4 + 2 * 3_000
    """)


def test_a_dict_is_a_mapping_in_every_interpreter() -> None:
    own_interpreter.run("""
        shared = SafeDict({1: "a", "b": (2, 3), None: 4.0})
        worker = Worker('''
assert dict(shared) == {1: "a", "b": (2, 3), None: 4.0} == dict(shared.items()), shared
assert list(shared) == [1, "b", None] and shared.values().__len__() == 3
assert shared[True] == shared[1.0] == "a" and "x" not in shared and shared.get("x", 5) == 5
assert shared.pop("b") == (2, 3) and shared.pop("b", None) is None
assert shared.popitem() == (None, 4.0)
del shared[1]
shared.update({"c": {6}}, d=b"7")
shared["many"] = list(range(100))
copy = shared.copy()
copy["d"] = 8
''', shared=shared)
        worker.end()
        assert dict(shared) == {"c": {6}, "d": b"7", "many": list(range(100))}
        assert shared == dict(shared)
        shared.clear()
        assert not shared
    """)


def test_containers_in_containers_stay_one_object() -> None:
    own_interpreter.run("""
        shared = SafeDict({"count": SafeCounter(), "queue": SafeQueue(), "list": [SafeArray([0]), SafeArray([None])]})
        run_both('''
for _ in range(1_000):
    shared["count"].increment()
    shared["list"][0].add(0, 1)
shared["list"][1][0] = "set"
shared["queue"].push(shared)
''', shared=shared)
        assert (shared["count"], shared["list"][0][0], shared["list"][1][0]) == (2_000, 2_000, "set")
        assert shared["queue"].pop()["count"] == 2_000
    """)


def test_a_condition_wakes_threads_of_other_interpreters() -> None:
    own_interpreter.run("""
        for lock in (None, SafeLock()):
            turn, condition = SafeCounter(), SafeCondition(lock)
            run_both('''
for i in range(500):
    with condition:
        assert condition.wait_for(lambda: turn % 2 == me, 60)
        turn.increment()
        condition.notify()
''', turn=turn, condition=condition)
            assert turn == 1_000
    """)


def test_objects_of_an_array_are_equal_in_every_interpreter() -> None:
    own_interpreter.run("""
        array = SafeArray(["x", None, [1], 2**80], dtype="object")
        run_both('''
while not array.compare_exchange(2, seen := array[2], seen + [me]):
    pass
for _ in range(1_000):
    array.add(3, 1)
''', array=array)
        assert array[:2] == ["x", None] and sorted(array[2]) == [0, 1, 1] and array[3] == 2**80 + 2_000
    """)


def test_a_container_lives_on_when_its_maker_s_interpreter_has_ended() -> None:
    own_interpreter.run("""
        found = SafeDict()
        worker = Worker('''
from pyferris._native import SafeCounter, SafeDict, SafeQueue
found["queue"] = SafeQueue(initial=["kept", (1, 2)])
found["dict"] = SafeDict({"a": SafeCounter(3)})
''', found=found)
        worker.end()
        queue, counter = found["queue"], found["dict"]["a"]
        found.clear()
        assert queue.to_list() == ["kept", (1, 2)] and counter.increment() == 4
    """)
