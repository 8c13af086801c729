"""The process forks while pools, threads and locks are in use."""

from __future__ import annotations

import os

import pytest
from own_process import FORK, run


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork_with_a_live_pool() -> None:
    program = (
        FORK
        + """
async def wait(future):
    return await future

pool = SafeThreadPool(2, "forked")
asyncio.run(wait(pool.submit(int)))  # the loop's bridge is inherited as well
gate, started = threading.Event(), threading.Event()
def call():
    started.set()
    gate.wait()
running, queued = pool.submit(call), [pool.submit(call), pool.submit(int, 3)]
started.wait()

def child():
    assert pool.active_tasks == 0
    for future in [running, *queued]:
        try:
            future.result(10)
        except TimeoutError:
            raise AssertionError("it would hang")
        except Exception as error:
            assert type(error).__name__ == "BrokenPool", repr(error)
        else:
            raise AssertionError("it has a result")
    assert [pool.submit(int, n).result(10) for n in range(20)] == list(range(20))
    assert asyncio.run(wait(pool.submit(int, 4))) == 4
    assert in_child(lambda: pool.submit(int).result(10)) == 0
    assert pool.shutdown(timeout=10)

for _ in range(5):
    assert in_child(child) == 0
gate.set()
assert queued[1].result(10) == 3
print("end")
"""
    )
    assert run_program(program) == "end"


def run_program(program: str) -> str:
    return run("\n" + program)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork_while_other_threads_use_the_pool() -> None:
    program = (
        FORK
        + """
pool = SafeThreadPool(2)
over = threading.Event()
def use():
    while not over.is_set():
        pool.submit(int).result()
        with SafeThreadPool(1) as other:
            other.submit(int)
users = [threading.Thread(target=use) for _ in range(2)]
for user in users:
    user.start()
codes = [in_child(lambda: pool.submit(int).result(10)) for _ in range(50)]
over.set()
for user in users:
    user.join()
print(set(codes))
"""
    )
    assert run_program(program) == "{0}"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork_in_a_call_and_exit_of_the_child() -> None:
    program = (
        FORK
        + """
pool = SafeThreadPool(1)
print(pool.submit(in_child, lambda: pool.submit(int).result(10)).result(40))
child = os.fork()
if child == 0:
    pool.submit(int).result(10)
    sys.exit(5)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    )
    assert run_program(program) == "0\n5"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_whose_preparations_let_go_of_the_gil() -> None:
    """Other modules' hooks run after ours and may let other threads run: those waited for a mutex with the GIL."""
    first = """
    import os, time
    os.register_at_fork(before=lambda: time.sleep(0.002))
    """
    program = (
        FORK
        + """
over = False

def use_pools():
    rounds = 0
    while not over:
        pool = SafeThreadPool(1)
        future = pool.submit(int, rounds)
        assert list(pool.map(int, "12")) == [1, 2]
        assert future.result() == rounds
        del pool, future
        rounds += 1
    return rounds

user = pyferris.SafeThread(target=use_pools)
user.start()
codes = [in_child(lambda: SafeThreadPool(1).submit(int).result()) for _ in range(40)]
over = True
print(set(codes), user.get_result() > 0)
"""
    )
    assert run(program, first=first) == "{0} True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_lock_that_another_thread_holds_is_free_in_the_child() -> None:
    program = (
        FORK
        + """
from pyferris import _runtime
theirs, mine = _runtime.make_lock(), _runtime.make_lock()
held, done = threading.Event(), threading.Event()
def holds():
    with theirs:
        held.set()
        done.wait()
other = threading.Thread(target=holds)
other.start()
held.wait()

def child():
    assert theirs.acquire(timeout=10)
    theirs.release()
    mine.release()
    assert not mine._is_owned()

with mine:
    print(in_child(child))
    assert mine._is_owned()
assert not theirs.acquire(blocking=False)
done.set()
other.join()
"""
    )
    assert run(program) == "0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_call_that_a_worker_has_taken_and_not_begun_is_lost_in_the_child() -> None:
    program = (
        FORK
        + """
pool = SafeThreadPool(1)
pool.submit(int).result()
sys.setswitchinterval(20)  # nobody else gets the interpreter until this thread waits
future = pool.submit(int, 3)
while pool._work_queue.qsize():
    time.perf_counter()
def child():
    try:
        assert future.result(10) == 3  # hooks of the fork may have let the worker begin, and end
    except Exception as error:
        assert type(error).__name__ == "BrokenPool", repr(error)
    assert pool.submit(int, 4).result(10) == 4
print(in_child(child), future.result(10))
"""
    )
    assert run(program) == "0 3"
