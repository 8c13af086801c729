"""Pools of interpreters that are being opened while something else happens: each case in a process of its own."""

from __future__ import annotations

import os

import pytest
from interpreter_calls import needs_interpreters
from isolated_process import run
from own_process import FORK

pytestmark = needs_interpreters

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")

OPENING = """
import pyferris._environment
def opens_by(function):
    pyferris._environment.capture = function
capture = pyferris._environment.capture
"""


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "ValueError"])
def test_a_pool_that_cannot_be_opened_leaves_no_worker(error: str) -> None:
    program = f"""
def fails():
    raise {error}("no environment")
for _ in range(3):
    opens_by(fails)
    try:
        isolated(2)
    except {error} as error:
        print(error)
    opens_by(capture)
    with isolated(2) as pool:
        print(list(pool.map(add, range(4))))
"""
    assert run(OPENING + program) == "\n".join(["no environment", "[0, 1, 2, 3]"] * 3)


def test_a_pool_is_made_once() -> None:
    program = """
with isolated(2) as pool:
    for _ in range(2):
        try:
            pool.__init__(2, isolation="interpreter")
        except RuntimeError as error:
            print("once" if "already" in str(error) else error)
    print(pool.submit(add, 1).result(50))
count = len(os.listdir("/proc/self/task"))
with isolated(2):
    pass
print(len(os.listdir("/proc/self/task")) - count)
"""
    assert run(program) == "once\nonce\n1\n0"


def test_exit_while_a_pool_is_opened() -> None:
    program = """
begun = threading.Event()
def blocks():
    begun.set()
    threading.Event().wait()
opens_by(blocks)
threading.Thread(target=isolated, args=(2,), daemon=True).start()
begun.wait()
print("ends")
"""
    assert run(OPENING + program) == "ends"


def test_the_first_workers_begin_before_there_is_a_call() -> None:
    program = """
def threads():
    return len(os.listdir("/proc/self/task"))
with isolated(1) as pool:
    pool.submit(add, 1).result(50)
for workers in 1, 2, 3:
    pyferris._native.end_parked_interpreters()
    before = threads()
    with isolated(workers) as pool:
        print(threads() - before, list(pool.map(add, range(4))))
"""
    assert run(program) == "\n".join(f"{early} [0, 1, 2, 3]" for early in (1, 2, 2))


@needs_fork
def test_a_fork_waits_for_a_pool_that_is_opened() -> None:
    program = (
        FORK
        + OPENING
        + """
begun, forks = threading.Event(), threading.Event()
def slow():
    begun.set()
    forks.wait()
    asleep_in_main = 0
    while asleep_in_main < 20:
        with open(f"/proc/self/task/{os.getpid()}/stat") as file:
            state = file.read().rpartition(")")[2].split()[0]
        asleep_in_main = asleep_in_main + 1 if state == "S" else 0
        time.sleep(0.001)
    return capture()
opens_by(slow)
results = []
def use():
    with isolated(2) as pool:
        results.append(pool.submit(add, 5).result(50))
user = threading.Thread(target=use)
user.start()
begun.wait()
forks.set()
print(in_child(lambda: 3))
user.join()
print(results)
"""
    )
    assert run(program) == "3\n[5]"


@needs_fork
def test_a_child_can_open_a_pool_though_a_thread_of_its_parent_was_about_to() -> None:
    program = (
        FORK
        + """
from pyferris import _interpreters
bytecode = _interpreters._bytecode
begun, done = threading.Event(), threading.Event()
def slow():
    begun.set()
    done.wait()
    return bytecode()
_interpreters._bytecode = slow
def nothing():
    pass
def use():
    with isolated(2, initializer=nothing) as pool:
        print(pool.submit(add, 5).result(50))
user = threading.Thread(target=use)
user.start()
begun.wait()
def child():
    _interpreters._bytecode = bytecode
    with isolated(2) as pool:
        assert pool.submit(add, 3).result(30) == 3
    return 4
print(in_child(child))
done.set()
user.join()
"""
    )
    assert run(program) == "4\n5"


def test_pools_that_are_dropped_unused_cost_next_to_nothing() -> None:
    program = """
for _ in range(300):
    isolated(2)
with isolated(2) as pool:
    print(pool.submit(add, 1).result(50))
gc.collect()
parked, retired = pyferris._native.interpreter_counts()
print(parked <= 8, retired)
"""
    assert run(program) == "1\nTrue 0"


def test_a_pool_that_is_open_already_has_none_made_before_its_calls() -> None:
    program = """
with isolated(2) as first, isolated(2) as second:
    with isolated(2) as third:  # there are as many as any of them would begin with
        pass
    print(first.submit(add, 1).result(50), second.submit(add, 2).result(50))
print(sum(pyferris._native.interpreter_counts()) <= 4)
"""
    assert run(program) == "1 2\nTrue"


def test_what_was_made_for_a_pool_that_cannot_be_opened_is_kept() -> None:
    program = """
with isolated(1):
    pass  # what they all import is known now
pyferris._native.end_parked_interpreters()
threads = len(os.listdir("/proc/self/task"))
def fails():
    raise ValueError
opens_by(fails)
for _ in range(20):
    try:
        isolated(2)
    except ValueError:
        pass
opens_by(capture)
while len(os.listdir("/proc/self/task")) > threads:  # until then a call rather has one of its own than waits for these
    time.sleep(0.001)
with isolated(2) as pool:
    print(pool.submit(add, 1).result(50))
print(sum(pyferris._native.interpreter_counts()) <= 2)
"""
    assert run(OPENING + program) == "1\nTrue"


@needs_fork
def test_who_opens_a_pool_may_fork_meanwhile() -> None:
    program = (
        FORK
        + OPENING
        + """
def forks():
    began = time.monotonic()
    print(in_child(lambda: 3), time.monotonic() - began < 8)
    return capture()
opens_by(forks)
with isolated(2) as pool:
    print(list(pool.map(add, range(3))))
"""
    )
    assert run(program) == "3 True\n[0, 1, 2]"


def test_without_memory_for_another_thread_a_call_fails() -> None:
    program = """
import resource
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (size + (4 << 20), size + (4 << 20)))
try:
    pool = isolated(2)
    pool.submit(add, 1).result(50)
except (RuntimeError, MemoryError) as error:  # BrokenPool is one
    print("refused", flush=True)
os._exit(0)
"""
    assert run(program, error=None) == "refused"


def test_threads_with_a_small_stack_can_make_interpreters() -> None:
    program = """
threading.stack_size(32768)
with isolated(2) as pool:
    threading.stack_size(0)
    print(list(pool.map(add, range(3))))
"""
    assert run(program) == "[0, 1, 2]"
