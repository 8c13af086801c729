"""The threads of one safe_parallel_map are there for the next one, for a moment; each program in its own process."""

from __future__ import annotations

import pytest
from own_process import run

START = """
import pyferris._kept_pool
from pyferris.safe_thread import safe_parallel_map, safe_parallel_map_async

pyferris._kept_pool.LINGER = 0.5  # seconds, of which some tests see the end

def here(_):
    return threading.current_thread()

def others():
    return [thread for thread in threading.enumerate() if thread.name.startswith("safe_parallel_map")]

def wait_until_gone():  # the process's time limit ends it
    while others():
        time.sleep(0.001)
"""

PROGRAMS = {
    "the next map runs on the same thread, which is gone a moment later": """
pyferris._kept_pool.LINGER = 60
first, = set(safe_parallel_map(here, range(5), 1))
second, = set(safe_parallel_map(here, range(5), 1))
third, = set(asyncio.run(safe_parallel_map_async(here, range(1), 1)))
assert first is second is third
pyferris._kept_pool.end()
pyferris._kept_pool.LINGER = 0.01
fourth, = set(safe_parallel_map(here, range(5), 1))
assert fourth is not first
wait_until_gone()
assert not fourth.is_alive()
fifth, = set(safe_parallel_map(here, range(5), 1))
assert fifth is not fourth
""",
    "as many workers as are asked for": """
barrier = threading.Barrier(3)
assert sorted(safe_parallel_map(lambda _: barrier.wait(30), range(3), max_workers=3)) == [0, 1, 2]
one = set(safe_parallel_map(here, range(50), 1, isolation="none"))
assert len(one) == 1
assert not one & set(others()) or len(others()) == 1
for wrong in (True, 0, -1, 1.0, "1"):
    try:
        safe_parallel_map(here, range(3), wrong)
    except (TypeError, ValueError) as error:
        assert "max_workers" in str(error)
    else:
        raise AssertionError(wrong)
assert sorted(safe_parallel_map(lambda _: barrier.wait(30), range(3), max_workers=3)) == [0, 1, 2]
""",
    "a tracer that is set meanwhile sees the next map": """
safe_parallel_map(here, range(3))
seen = set()
def trace(frame, event, argument):
    seen.add(frame.f_code.co_name)
threading.settrace(trace)
safe_parallel_map(here, range(3))
threading.settrace(None)
assert "here" in seen
seen.clear()
safe_parallel_map(here, range(3))
assert "here" not in seen
""",
    "a stack size that is set meanwhile is that of the next map": """
def deep(number):
    return deep(number - 1) if number else here(number)
first, = set(safe_parallel_map(here, range(3)))
threading.stack_size(1 << 22)
second, = set(safe_parallel_map(here, range(3)))
assert first is not second
""",
    "a fork finds no threads, without a warning": """
import warnings
warnings.simplefilter("error")
for _ in range(5):
    safe_parallel_map(here, range(3))
    child = os.fork()
    if child == 0:
        assert others() == []
        assert len(safe_parallel_map(here, range(3))) == 3
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert len(os.listdir("/proc/self/task")) == 1
""",
    "multiprocessing forks after a map": """
import multiprocessing, warnings
warnings.simplefilter("error")
safe_parallel_map(here, range(3))
with multiprocessing.get_context("fork").Pool(2) as pool:
    safe_parallel_map(here, range(3))
    assert pool.map(abs, [-1, -2]) == [1, 2]
""",
    "the exit does not wait": """
import atexit
began = []
atexit.register(lambda: print("late" if time.monotonic() - began[0] > 30 else "soon"))
import pyferris._kept_pool
pyferris._kept_pool.LINGER = 3600.0
safe_parallel_map(here, range(3))
assert others()
began.append(time.monotonic())
""",
    "a map at exit": """
import atexit
safe_parallel_map(here, range(3))
def last():
    assert safe_parallel_map(lambda x: x * x, range(3)) == [0, 1, 4]  # in the caller
    try:
        safe_parallel_map(here, range(3))
    except PoolClosed as error:
        assert "shutting down" in str(error)
    else:
        raise AssertionError
    print("last")
atexit.register(last)
""",
    "a failed map leaves nothing to the next one": """
def fail(number):
    here(number)
    if number == 3:
        raise KeyError(number)
for _ in range(20):
    safe_parallel_map(here, range(5))
    try:
        safe_parallel_map(fail, range(5))
    except KeyError as error:
        assert error.args == (3,)
    assert len(safe_parallel_map(here, range(5))) == 5
wait_until_gone()
""",
    "maps in many threads": """
def work():
    for number in range(50):
        found = safe_parallel_map(lambda x: (here(x), x)[1], range(number))
        assert found == list(range(number))
threads = [threading.Thread(target=work) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
wait_until_gone()
assert len(pyferris._kept_pool._kept) <= 6
""",
    "coroutine functions take their loop with them": """
async def double(number):
    await asyncio.sleep(0)
    return 2 * number
safe_parallel_map(here, range(3))
assert safe_parallel_map(double, range(5)) == [0, 2, 4, 6, 8]
assert asyncio.run(safe_parallel_map_async(double, range(5))) == [0, 2, 4, 6, 8]
assert not [thread for thread in threading.enumerate() if thread.name.endswith("_loop")]
""",
    "daemon threads that make one map after another do not hold the exit": """
import faulthandler
def slow(number):
    time.sleep(0.001)
    return here(number)
begun = threading.Barrier(5)
def endless():
    safe_parallel_map(slow, range(3), isolation="none")
    begun.wait(30)
    try:
        while True:
            safe_parallel_map(slow, range(30), isolation="none")
    except PoolClosed as error:
        assert "shutting down" in str(error)
for _ in range(4):
    threading.Thread(target=endless, daemon=True).start()
begun.wait(30)
faulthandler.dump_traceback_later(20, exit=True)
""",
    "a call that is waited for at exit maps as before": """
pool = SafeThreadPool(1)
begun = threading.Event()
def call():
    begun.set()
    while not pool._closed:  # by the exit
        time.sleep(0.001)
    with SafeThreadPool(2) as inner:
        assert len(list(inner.map(here, range(3)))) == 3
    print("called")
pool.submit(call)
begun.wait(30)
""",
    "no item sees that it may use fewer cores, nor what it starts": """
import hashlib
cores, data = os.sched_getaffinity(0), b"x" * (1 << 18)
def item(number):
    seen = [os.sched_getaffinity(0)]
    thread = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0)))
    thread.start()
    hashlib.sha256(data).digest()
    thread.join()
    return seen + [os.sched_getaffinity(0)]
for _ in range(60):
    for seen in safe_parallel_map(item, range(20)):
        assert seen == [cores] * 3, seen
assert os.sched_getaffinity(0) == cores
""",
    "Ctrl-C in a map, then another map": """
def endless(number):
    here(number)
    while True:
        sleep(10)
safe_parallel_map(here, range(3))
try:
    ctrl_c_in_next_line()
    safe_parallel_map(endless, range(3))
except KeyboardInterrupt:
    pass
assert len(safe_parallel_map(here, range(3))) == 3
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str) -> None:
    printed = run(START + PROGRAMS[name] + "\nprint('end')\n").split()
    assert "end" in printed
    assert "late" not in printed
    assert ("last" in printed) == (name == "a map at exit")
    assert printed.count("called") == (1 if "waited for at exit" in name else 0)
