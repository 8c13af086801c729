"""The process forks while threads are blocked: the child has none of them, and its own are woken."""

from __future__ import annotations

import os

import pytest
from own_process import FORK, run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")

START = """
pool = SafeThreadPool(1)

def reuse_stacks():
    # Threads on the stacks of those that the child does not have; they write over all that is left there.
    def fill(depth):
        return sorted([depth], key=lambda _: fill(depth - 1) if depth else 0)
    threads = [threading.Thread(target=fill, args=(100,)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""

# What is waited for: set-up, wait (which gives True), wake all who wait.
WAITS = {
    "lock": (
        "lock = pyferris.SafeLock(); lock.acquire()",
        "lock.acquire(timeout=20) and lock.release() is None",
        "lock.release()",
    ),
    "pop": (
        "queue = pyferris.SafeQueue()",
        "queue.pop(timeout=20) == 1",
        "[queue.push(1) for _ in range(3)]",
    ),
    "push": (
        "queue = pyferris.SafeQueue(3, initial=range(3))",
        "queue.push(1, timeout=20) is None",
        "[queue.pop() for _ in range(3)]",
    ),
    "join": (
        "queue = pyferris.SafeQueue(initial=[0])",
        "queue.join() is None",
        "queue.task_done()",
    ),
    "condition": (
        "condition, over = pyferris.SafeCondition(), []",
        "condition.acquire() and condition.wait_for(lambda: over, 20) and condition.release() is None",
        "[condition.acquire(), over.append(1), condition.notify_all(), condition.release()]",
    ),
    "sleep": (
        "thread = pyferris.SafeThread(target=sleep, args=(1000,)); thread.start()",
        "thread.join() is None",
        "thread.cancel()",
    ),
    "call": (
        "gate = threading.Event(); call = pool.submit(gate.wait)",
        "call.exception(20) is None or isinstance(call.exception(), pyferris.BrokenPool)",
        "gate.set()",
    ),
    "promise": (
        "promise = pyferris.SafeFuture()",
        "promise.result(20) == 1",
        "promise.set_result(1)",
    ),
    "wait": (
        "gate = threading.Event(); call = pool.submit(gate.wait)",
        "len(concurrent.futures.wait([call], 20).done) == 1",
        "gate.set()",
    ),
    "map": (
        "gate = threading.Event(); results = pool.map(lambda _: gate.wait(), [1, 2])",
        "ends(lambda: results[1])",
        "gate.set()",
    ),
    "thread": (
        "gate = threading.Event(); thread = pyferris.SafeThread(target=gate.wait); thread.start()",
        "ends(lambda: thread.get_result(20))",
        "gate.set()",
    ),
    "shutdown": (
        "gate = threading.Event(); call = pool.submit(gate.wait)",
        "pool.shutdown(timeout=20)",
        "gate.set()",
    ),
}

ENDS = """
def ends(read):
    try:
        return read()
    except pyferris.BrokenPool:
        return True
"""


@pytest.mark.parametrize("what", WAITS)
def test_fork_while_threads_wait(what: str) -> None:
    set_up, wait, wake = WAITS[what]
    program = f"""{FORK}{START}{ENDS}
{set_up}
def wait():
    return {wait}
others = [pyferris.SafeThread(target=wait) for _ in range(3)]
for other in others:
    other.start()
asleep(3)

def child():
    reuse_stacks()
    mine = [pyferris.SafeThread(target=wait) for _ in range(3)]
    for thread in mine:
        thread.start()
    if {what!r} in ("lock", "pop", "push", "join", "condition", "promise"):  # the others end with the fork
        asleep(3)
    {wake}
    assert [thread.get_result(30) for thread in mine] == [True] * 3
    reuse_stacks()

print(in_child(child), in_child(child))
{wake}
print([other.get_result(30) for other in others])
"""
    assert run("\n" + program) == "0 0\n[True, True, True]"


@pytest.mark.parametrize("what", WAITS)
def test_fork_by_a_signal_handler_in_a_wait(what: str) -> None:
    """The wait that was interrupted goes on in both processes, and ends in both."""
    set_up, wait, wake = WAITS[what]
    program = f"""{FORK}{START}{ENDS}
{set_up}
def wake():
    {wake}
child = None
def fork(*_):
    global child
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        reuse_stacks()
    threading.Thread(target=wake).start()
signal.signal(signal.SIGUSR1, fork)
main, waiting = os.getpid(), False
def interrupt():
    def state():
        with open(f"/proc/self/task/{{main}}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    seen = 0
    while seen < 10:
        seen = seen + 1 if state() == "S" and waiting else 0
        time.sleep(0.001)
    os.kill(main, signal.SIGUSR1)
threading.Thread(target=interrupt).start()
waiting = True
good = {wait}
if child == 0:
    os._exit(0 if good else 1)
print(good, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run("\n" + program) == "True 0"


def test_fork_while_threads_and_coroutines_run() -> None:
    """What the child does not have ends there; the pool's loop starts again."""
    program = f"""{FORK}{START}
async def answer(value):
    await asyncio.sleep(0)
    return value
async def never():
    await asyncio.sleep(1000)
assert pool.submit(answer, 1).result(20) == 1
gate = threading.Event()
thread = pyferris.SafeThread(target=lambda: gate.wait() and 5)
sleeper = pyferris.SafeThread(target=sleep, args=(1000,))
thread.start()
sleeper.start()
endless = pool.submit(never)
asleep(3)

def child():
    reuse_stacks()
    for future in (endless, thread.future, sleeper.future):
        assert isinstance(future.exception(20), pyferris.BrokenPool)
    thread.join()
    sleeper.cancel()
    assert not thread.is_alive() and not sleeper.is_alive()
    assert pool.active_tasks == 0
    assert [pool.submit(answer, number).result(20) for number in range(3)] == [0, 1, 2]
    again = pyferris.SafeThread(target=in_child, args=(lambda: pool.submit(answer, 0).result(20),))
    again.start()
    assert again.get_result(20) == 0
    assert pool.shutdown(timeout=20)

print(in_child(child), in_child(child))
assert pool.submit(answer, 2).result(20) == 2
endless.cancel()
sleeper.cancel()
gate.set()
print(thread.get_result(20))
"""
    assert run("\n" + program) == "0 0\n5"


def test_a_thread_that_forks_goes_on_in_the_child() -> None:
    program = f"""{FORK}
def fork():
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        return "child"
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
thread = pyferris.SafeThread(target=fork)
thread.future.add_done_callback(lambda future: os._exit(7) if future.result() == "child" else None)
thread.start()
print(thread.get_result(30))
inline = pyferris.SafeThread(target=in_child, args=(lambda: None,), isolation="inline")
inline.start()
print(inline.get_result(30))
"""
    assert run("\n" + program) == "7\n0"
