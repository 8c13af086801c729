"""Signals that come all the time, in every blocking call: each gives its answer, no wake-up is lost."""

from __future__ import annotations

import sys

import pytest
from own_process import run

# A timer of the kernel's and a thread that sends one signal after another, each to the main thread, which waits.
STORM = """
hits = [0, 0]
def ring(number, frame):
    hits[number == signal.SIGUSR1] += 1
signal.signal(signal.SIGALRM, ring)
signal.signal(signal.SIGUSR1, ring)
calm = threading.Event()
def send():
    while not calm.wait(0.0001):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
sender = threading.Thread(target=send)
sender.start()
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)

def end():
    while min(hits) < 10:
        sleep(0.001)
    signal.setitimer(signal.ITIMER_REAL, 0)
    calm.set()
    sender.join()
    print("done")
"""

# Set-up, then one round: a partner in another thread does its part when it is told, the main thread waits for it.
ROUNDS = {
    "result": ("", "assert pool.submit(work, n).result() == n"),
    "exception": ("", "assert pool.submit(work, n).exception(30) is None"),
    "wait": ("", "assert len(concurrent.futures.wait([pool.submit(work, n) for _ in range(3)], 30).done) == 3"),
    "as_completed": (
        "",
        "assert {f.result() for f in concurrent.futures.as_completed([pool.submit(work, n)], 30)} == {n}",
    ),
    "map": ("", "assert list(pool.map(work, [n, n + 1, n + 2])) == [n, n + 1, n + 2]"),
    "map_index": ("", "assert pool.map(work, [n, n + 1])[1] == n + 1"),
    "parallel_map": ("", "assert n % 10 or pyferris.safe_parallel_map(work, [n, n + 1], 2) == [n, n + 1]"),
    "coroutine": ("async def late(x): await asyncio.sleep(0); return x", "assert pool.submit(late, n).result() == n"),
    "await": (
        "async def ask(x): return await pool.submit(work, x)\nrunner = asyncio.Runner()",
        "assert runner.run(ask(n)) == n",
    ),
    "shutdown": (
        "",
        "one = SafeThreadPool(1); future = one.submit(work, n); assert one.shutdown(); assert future.result(0) == n",
    ),
    "thread": (
        "",
        (
            "thread = pyferris.SafeThread(target=work, args=(n,)); thread.start(); thread.join(); "
            "assert thread.get_result(0) == n"
        ),
    ),
    "get_result": (
        "",
        "thread = pyferris.SafeThread(target=work, args=(n,)); thread.start(); assert thread.get_result() == n",
    ),
    "lock": (
        "lock = pyferris.SafeLock()",
        (
            "assert lock.acquire(); pool.submit(lambda: (work(n), lock.release())); assert lock.acquire(timeout=30); "
            "lock.release()"
        ),
    ),
    "rlock": (
        (
            "lock, taken = pyferris.SafeRLock(), pyferris.SafeQueue()\n"
            "def hold(n):\n    with lock:\n        taken.push(n)\n        work(n)"
        ),
        (
            "held = pool.submit(hold, n); assert taken.pop() == n; assert lock.acquire(timeout=30); lock.release(); "
            "held.result()"
        ),
    ),
    "condition": (
        (
            "condition, told = pyferris.SafeCondition(), []\n"
            "def tell(n):\n    with condition:\n        told.append(n)\n        condition.notify()"
        ),
        (
            "condition.acquire(); pool.submit(tell, n); assert condition.wait(30); assert told.pop() == n; "
            "condition.release()"
        ),
    ),
    "condition_of_threading": (
        (
            "condition, told = pyferris.SafeCondition(threading.Lock()), []\n"
            "def tell(n):\n    with condition:\n        told.append(n)\n        condition.notify_all()"
        ),
        (
            "condition.acquire(); pool.submit(tell, n); assert condition.wait_for(lambda: told, 30); told.clear(); "
            "condition.release()"
        ),
    ),
    "pop": (
        "queue = pyferris.SafeQueue()",
        "pool.submit(lambda: (work(n), queue.push(n))); assert queue.pop(timeout=30) == n",
    ),
    "push": (
        "queue = pyferris.SafeQueue(1, initial=[-1])",
        "old = pool.submit(lambda: (work(n), queue.pop())[1]); queue.push(n, timeout=30); assert old.result() == n - 1",
    ),
    "join": (
        "queue = pyferris.SafeQueue()",
        (
            "queue.push(n); done = pool.submit(lambda: (work(n), queue.pop(), queue.task_done())); queue.join(); "
            "assert queue.empty(); done.result()"
        ),
    ),
    "iterate": (
        "",
        (
            "queue = pyferris.SafeQueue(); pool.submit(lambda: (work(n), queue.push(n), queue.close())); "
            "assert list(queue) == [n]"
        ),
    ),
    "sleep": ("", "before = time.monotonic(); sleep(0.001); assert time.monotonic() - before >= 0.001"),
}


@pytest.mark.parametrize("what", ROUNDS)
def test_every_blocking_call_in_a_storm(what: str) -> None:
    set_up, rounds = ROUNDS[what]
    program = f"""{STORM}
pool = SafeThreadPool(2)
def work(n):
    if n % 5 == 0:
        time.sleep(0.0005)  # so that the main thread sleeps as well, at times
    return n
{set_up}
for n in range(300):
    {rounds}
end()
"""
    assert run("\n" + program) == "done"


def test_handlers_that_wait_themselves() -> None:
    """A handler runs inside a wait of its own thread, and waits for the same and for other things there."""
    program = """
        pool, queue, lock = SafeThreadPool(2), pyferris.SafeQueue(), pyferris.SafeLock()
        deep = hits = 0
        def ring(*_):
            global deep, hits
            if deep == 3:
                return
            deep += 1
            try:
                assert pool.submit(int, 5).result() == 5
                queue.push(7)
                assert queue.pop() == 7
                with lock:
                    pass
                assert list(pool.map(int, [1, 2])) == [1, 2]
                sleep(0.0001)
                hits += 1
            finally:
                deep -= 1
        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for number in range(200):
            assert pool.submit(lambda: time.sleep(0.001) or number).result() == number
        while hits < 10:
            pool.submit(time.sleep, 0.001).result()
        signal.setitimer(signal.ITIMER_REAL, 0)
        print("done")
        """
    assert run(program) == "done"


RAISING = """
class Alarm(Exception):
    pass
armed, alarms = False, 0
def ring(*_):
    global armed, alarms
    if armed:
        armed = False
        alarms += 1
        raise Alarm
signal.signal(signal.SIGALRM, ring)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
"""

# What can be asked again after it was interrupted. Not `concurrent.futures.wait`: between taking a future's condition
# and entering the block that gives it back it is Python code, which a handler may end.
AGAIN = {
    "result": ("call = pool.submit(gate.wait)", "call.result()"),
    "map": ("results = pool.map(lambda _: gate.wait(), [1, 2])", "results[1]"),
    "equal": ("results = pool.map(lambda _: gate.wait(), [1])", "results == [True]"),
    "get_result": ("thread = pyferris.SafeThread(target=gate.wait); thread.start()", "thread.get_result()"),
    "shutdown": ("pool.submit(gate.wait)", "pool.shutdown()"),
    "join": (
        "queue = pyferris.SafeQueue(initial=[1]); pool.submit(lambda: gate.wait() and queue.task_done())",
        "queue.join() is None",
    ),
}


if sys.version_info >= (3, 13):  # before, an interrupted `join` of threading takes the thread for ended
    AGAIN["thread"] = ("thread = pyferris.SafeThread(target=gate.wait); thread.start()", "thread.join() is None")


@pytest.mark.parametrize("what", AGAIN)
def test_a_wait_that_a_handler_ended_can_be_begun_again(what: str) -> None:
    set_up, wait = AGAIN[what]
    program = f"""{RAISING}
pool, gate = SafeThreadPool(2), threading.Event()
{set_up}
answer = None
while not answer:
    try:
        armed = True
        answer = {wait}
        armed = False
    except Alarm:
        if alarms == 100:
            gate.set()
signal.setitimer(signal.ITIMER_REAL, 0)
print(bool(answer), alarms >= 100)
"""
    assert run("\n" + program) == "True True"


@pytest.mark.parametrize("kind", ["SafeLock()", "SafeRLock()", "SafeCondition()"])
def test_a_lock_survives_handlers_that_raise(kind: str) -> None:
    """A waiter that was woken and is interrupted at once passes the wake-up on, and does not keep the lock."""
    program = f"""{RAISING}
lock, over, inside = pyferris.{kind}, False, 0
def use():
    global inside
    rounds = 0
    while not over:
        with lock:
            inside += 1
            time.sleep(0.0001)
            assert inside == 1
            inside -= 1
        rounds += 1
    return rounds
threads = [pyferris.SafeThread(target=use) for _ in range(2)]
for thread in threads:
    thread.start()
while alarms < 300:
    try:
        armed = True
        with lock:
            armed = False
            inside += 1
            assert inside == 1
            inside -= 1
    except Alarm:
        pass
over = True
assert all(thread.get_result(30) for thread in threads)
signal.setitimer(signal.ITIMER_REAL, 0)
with lock:
    print(inside)
"""
    assert run("\n" + program) == "0"


def test_a_full_queue_takes_an_item_or_not() -> None:
    """A `put` that a handler ended has put nothing, or its item once; all that was put comes out, in order."""
    program = f"""{RAISING}
queue, taken = pyferris.SafeQueue(1), []
def take():
    for item in queue:
        taken.append(item)
        time.sleep(0.0001)
thread = pyferris.SafeThread(target=take)
thread.start()
put, n = [], 0
while alarms < 300:
    n += 1
    try:
        armed = True
        queue.put(n)
        armed = False
        put.append(n)
    except Alarm:
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
queue.close()
thread.join()
assert taken == sorted(set(taken))
assert set(put) <= set(taken)
print("done")
"""
    assert run("\n" + program) == "done"
