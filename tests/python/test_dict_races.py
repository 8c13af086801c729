"""SafeDict under threads, under code that calls back into it, and under the garbage collector."""

from __future__ import annotations

import faulthandler
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import pytest

from pyferris.safe_thread import SafeDict

THREADS = 4


def on_threads(work: Callable[[int], Any]) -> list[Any]:
    """Run `work(number)` on several threads that begin together; their results, or the first error."""
    barrier = threading.Barrier(THREADS)

    def begin(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


class Hooked:
    """A key of one hash for all, which runs `hook` when it is compared for the first time."""

    def __init__(self, name: object, hook: Callable[[], Any] | None = None) -> None:
        self.name = name
        self.hook = hook

    def run(self) -> None:
        hook, self.hook = self.hook, None
        if hook is not None:
            hook()

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        self.run()
        if isinstance(other, Hooked):
            other.run()
        return isinstance(other, Hooked) and self.name == other.name

    def __repr__(self) -> str:
        return f"Hooked({self.name!r})"


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    """End the process if a test blocks inside native code, where it keeps the GIL and no Python timer can run."""
    faulthandler.dump_traceback_later(60, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


# --- Code that calls back ---

OPERATIONS: dict[str, Callable[[SafeDict[Any, Any], Any], Any]] = {
    "get": lambda d, k: d.get(k),
    "set": lambda d, k: d.put(k, "mine"),
    "in": lambda d, k: k in d,
    "pop": lambda d, k: d.pop(k, None),
    "setdefault": lambda d, k: d.setdefault(k, "mine"),
    "increment": lambda d, k: d.increment(k),
    "update_value": lambda d, k: d.update_value(k, lambda value: "mine", None),
    "compare_exchange": lambda d, k: d.compare_exchange(k, 1, "mine"),
}
HOOKS: dict[str, Callable[[SafeDict[Any, Any]], Any]] = {
    "reads": lambda d: (d.get(Hooked("b")), len(d), list(d), d == d.copy(), repr(d)),
    "clears": lambda d: d.clear(),
    "removes": lambda d: d.pop(Hooked("b"), None),
    "removes all and inserts again": lambda d: (d.clear(), d.put(Hooked("b"), 1)),
    "replaces": lambda d: d.put(Hooked("b"), 2),
    "grows": lambda d: d.update({number: number for number in range(100)}),
    "grows, then inserts": lambda d: (d.clear(), d.update(dict.fromkeys(range(99))), d.put(Hooked("b"), 3)),
}


@pytest.mark.parametrize("when", ["compared with another", "compared with its equal"])
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_eq_may_change_the_dict_that_it_is_called_from(operation: str, hook: str, when: str) -> None:
    keys = [Hooked("a"), Hooked("b"), Hooked("c")]
    shared: SafeDict[Any, Any] = SafeDict(dict.fromkeys(keys, 1))
    keys["another" not in when].hook = lambda: HOOKS[hook](shared)
    OPERATIONS[operation](shared, Hooked("b"))
    assert not any(key.hook for key in keys), "the hook ran"
    names = [key.name for key in shared if isinstance(key, Hooked)]
    assert len(names) == len(set(names)), "no key is there twice"
    assert len(shared) == len(list(shared))
    if operation == "set":
        assert shared[Hooked("b")] == "mine"
    if operation == "pop" and hook != "reads":
        assert Hooked("b") not in shared
    shared[Hooked("b")] = "after"
    assert shared[Hooked("b")] == "after"


def test_a_key_inserted_while_the_same_is_being_inserted_is_there_once() -> None:
    shared: SafeDict[Any, Any] = SafeDict({Hooked("a"): 1})
    # Comparing with "a" inserts "b": the insertion that goes on must find it.
    key = Hooked("b", hook=lambda: shared.put(Hooked("b"), "theirs"))
    assert shared.setdefault(key, "mine") == "theirs"
    assert [key.name for key in shared] == ["a", "b"]


def test_a_hash_may_use_the_dict_that_it_is_called_from() -> None:
    shared: SafeDict[Any, Any] = SafeDict()

    class Counts:
        def __hash__(self) -> int:
            return shared.increment("hashes")

    shared[Counts()] = 1
    assert shared["hashes"] == 1
    assert len(shared) == 2


def test_a_finalizer_may_use_the_dict_that_drops_its_object() -> None:
    shared: SafeDict[Any, Any] = SafeDict()
    seen: list[str] = []

    class Dropped:
        def __init__(self, name: str) -> None:
            self.name = name

        def __del__(self) -> None:
            shared.increment("dropped")
            seen.append(self.name)

    shared["a"] = Dropped("replaced")
    shared["a"] = Dropped("put over")
    shared.put("a", Dropped("deleted"))
    del shared["a"]
    shared[Dropped("key")] = 1
    del shared[next(key for key in shared if isinstance(key, Dropped))]
    shared["a"] = Dropped("popped")
    shared.pop("a")
    shared["a"] = Dropped("popitem")
    shared.popitem()
    shared["a"] = Dropped("updated")
    shared.update_value("a", lambda value: None, None)
    shared["a"] = Dropped("exchanged")
    shared.compare_exchange("a", shared["a"], None)
    shared["a"] = Dropped("cleared")
    assert shared["dropped"] == 8
    shared.clear()
    assert seen == ["replaced", "put over", "deleted", "key", "popped", "popitem", "updated", "exchanged", "cleared"]
    assert shared == {"dropped": 1}, "after the clear"


# --- Threads ---


@pytest.mark.usefixtures("quick_switches")
def test_threads_lose_no_increment() -> None:
    steps = 3_000
    shared: SafeDict[Any, Any] = SafeDict()

    def work(number: int) -> None:
        for _ in range(steps):
            shared.increment("all")
            shared.increment(Hooked("all"), 2)
            shared.increment("fractions", Fraction(1, 3))
            shared.update_value("tuple", lambda seen: (seen[0] + 1, seen[1] - 1), (0, 0))

    on_threads(work)
    every = THREADS * steps
    assert shared["all"] == every
    assert shared[Hooked("all")] == 2 * every
    assert shared["fractions"] == Fraction(every, 3)
    assert shared["tuple"] == (every, -every)


@pytest.mark.usefixtures("quick_switches")
def test_threads_retrying_compare_exchange_are_exact() -> None:
    shared: SafeDict[str, int] = SafeDict({"a": 0})

    def work(number: int) -> None:
        for _ in range(2_000):
            seen = shared["a"]
            while not shared.compare_exchange("a", seen, seen + 1):
                seen = shared["a"]

    on_threads(work)
    assert shared["a"] == THREADS * 2_000


@pytest.mark.usefixtures("quick_switches")
@pytest.mark.parametrize("make_key", [str, Hooked], ids=["native", "compared by Python"])
def test_threads_that_ask_for_a_new_key_get_one_object(make_key: Callable[[int], Any]) -> None:
    keys = 300
    shared: SafeDict[Any, object] = SafeDict()

    def work(number: int) -> list[object]:
        return [shared.get_or_insert(make_key(key), object()) for key in range(keys)]

    first, *others = on_threads(work)
    assert len(shared) == keys
    for other in others:
        assert all(mine is theirs for mine, theirs in zip(first, other, strict=True))


@pytest.mark.usefixtures("quick_switches")
def test_threads_take_each_entry_once() -> None:
    shared = SafeDict({number: number for number in range(4_000)})

    def work(number: int) -> list[int]:
        taken = []
        for key in range(2_000):
            value = shared.pop(key, None)
            if value is not None:
                taken.append(value)
        while True:
            try:
                taken.append(shared.popitem()[1])
            except KeyError:
                return taken

    assert sorted(value for taken in on_threads(work) for value in taken) == list(range(4_000))


@pytest.mark.usefixtures("quick_switches")
def test_threads_with_keys_of_their_own_do_not_disturb_each_other() -> None:
    shared: SafeDict[Any, Any] = SafeDict()

    def work(number: int) -> None:
        mine = [Hooked((number, index)) for index in range(4)] + [f"{number}-{index}" for index in range(40)]
        for turn in range(60):
            for key in mine:
                shared[key] = turn
            for key in mine:
                assert shared[key] == turn
            for key in mine:
                assert shared.pop(key) == turn
            for key in mine[:2]:
                assert key not in shared

    on_threads(work)
    assert len(shared) == 0


@pytest.mark.usefixtures("quick_switches")
def test_threads_may_read_everything_while_others_write() -> None:
    shared: SafeDict[Any, int] = SafeDict(dict.fromkeys(range(50), 0))

    def work(number: int) -> None:
        for turn in range(300):
            if number % 2:
                shared.update(dict.fromkeys(range(turn % 50), turn))
                shared[f"{number} {turn}"] = turn
                shared.pop(f"{number} {turn - 10}", None)
            else:
                assert set(range(50)) <= set(shared)
                assert len(list(shared.values())) >= 50
                assert shared.copy() != {}
                assert repr(shared).startswith("SafeDict({0: ")
                for _, value in shared.items():
                    assert value < 300

    on_threads(work)


# --- Garbage ---


def test_cycles_through_values_and_keys_are_collected() -> None:
    class Node:
        pass

    shared: SafeDict[Any, Any] = SafeDict()
    node, key = Node(), Node()
    node.shared = key.shared = shared  # type: ignore[attr-defined]
    shared["node"] = node
    shared[key] = 1
    shared["self"] = shared
    references = [weakref.ref(node), weakref.ref(key), weakref.ref(shared)]
    del node, key, shared
    gc.collect()
    assert [reference() for reference in references] == [None, None, None]


def test_holds_and_drops_exactly_what_it_should() -> None:
    key, value, other = Hooked("key"), object(), object()
    objects = (key, value, other)
    before = [sys.getrefcount(thing) for thing in objects]
    shared: SafeDict[Any, Any] = SafeDict()
    for _ in range(50):
        shared[key] = value
        shared[key] = other
        shared.put(Hooked("key"), value)
        assert shared.get(Hooked("key")) is shared[key] is value
        assert shared.setdefault(key, other) is shared.get_or_insert(key, other) is value
        shared.update_value(key, lambda seen: other, None)
        shared.compare_exchange(key, other, value)
        shared.compare_exchange(key, other, value)
        with pytest.raises(TypeError):
            shared.increment(key)
        with pytest.raises(ZeroDivisionError):
            shared.update_value(key, lambda seen: 1 / 0, None)
        assert (list(shared), list(shared.keys()), list(shared.values())) == ([key], [key], [value])
        assert list(shared.copy().items()) == [(key, value)]
        shared.pop(Hooked("key"))
        shared.setdefault(key, value)
        shared.popitem()
        shared.update([(key, value)], name=other)
        shared.clear()
    assert [sys.getrefcount(thing) for thing in objects] == before
    shared.update({key: value, "other": other})
    del shared
    assert [sys.getrefcount(thing) for thing in objects] == before


def test_a_very_deep_nest_is_dropped_without_a_crash() -> None:
    program = """
from pyferris.safe_thread import SafeDict
nest = SafeDict()
for _ in range(200_000):
    nest = SafeDict({"inner": nest})
del nest
print("done")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (run.stdout, run.returncode) == ("done\n", 0), run.stderr
