"""What goes wrong inside pools of interpreters: each case in a process of its own."""

from __future__ import annotations

import pytest
from interpreter_calls import needs_interpreters
from isolated_process import run

pytestmark = needs_interpreters


def test_a_call_that_exits_ends_alone() -> None:
    program = """
def leave(code):
    sys.exit(code)
with isolated() as pool:
    print(outcome(pool.submit(leave, 3)), pool.submit(add, 1).result())
    print([type(each).__name__ for each in [pool.submit(quit).exception(50), pool.submit(leave, None).exception(50)]])
"""
    assert run(program) == "SystemExit 1\n['SystemExit', 'SystemExit']"


def test_an_endless_recursion_is_an_error() -> None:
    program = """
def deeper(n):
    return deeper(n + 1)
class Deep:
    def __repr__(self):
        return repr(self)
    def __eq__(self, other):
        return self == other
    def __reduce__(self):
        return Deep, (Deep(),)
def nested():
    inner = []
    for _ in range(200_000):
        inner = [inner]
    return inner
def in_c(what):
    functions = {"repr": repr, "eq": lambda each: each == each, "sort": lambda _: sorted([1, 2], key=deeper)}
    return functions[what](Deep())
with isolated() as pool:
    for function, *args in [(deeper, 1), (in_c, "repr"), (in_c, "eq"), (in_c, "sort"), (Deep,), (nested,)]:
        print(outcome(pool.submit(function, *args)))
    print(pool.submit(add, 1).result())
"""
    found = run(program).split()
    assert found[:4] == ["RecursionError"] * 4
    assert set(found[4:6]) <= {"RecursionError", "TypeError", "PicklingError"}
    assert found[6] == "1"


def test_threads_left_in_a_call_end_or_are_left_alone() -> None:
    program = """
def leave(seconds):
    import threading, time
    threading.Thread(target=time.sleep, args=(seconds,)).start()
    return seconds
from pyferris import _native
for seconds in (0.01, 0.6, 0.01):
    with isolated() as pool:
        print(pool.submit(leave, seconds).result(), pool.submit(add, 2).result())
with isolated() as pool:
    print(pool.submit(add, 1).result())
print("end")
"""
    assert run(program).endswith("1\nend")


def test_exit_with_a_thread_left_that_never_ends() -> None:
    program = """
def leave(queue):
    import _thread
    lock = _thread.allocate_lock()
    lock.acquire()
    def wait():
        queue.push(1)
        lock.acquire()
    _thread.start_new_thread(wait, ())
    queue.pop()
with isolated() as pool:
    pool.submit(leave, queue).result()
print("end")
"""
    assert run(program) == "end"


def test_fork_after_threads_that_were_left_have_ended() -> None:
    program = """
import warnings
warnings.simplefilter("ignore")
def leave(queue):
    import _thread
    _thread.start_new_thread(queue.pop, ())
with isolated() as pool:
    pool.submit(leave, queue).result()
queue.push(1)
while queue.qsize():
    pass
child = os.fork()
if child == 0:
    with isolated() as pool:
        os._exit(pool.submit(add, 7).result())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(program) == "7"


def test_an_import_that_refuses_names_the_module() -> None:
    pytest.importorskip("numpy")
    program = """
def import_numpy():
    import numpy
    return numpy.__name__
with isolated() as pool:
    error = pool.submit(import_numpy).exception(50)
    print(isinstance(error, ImportError), "numpy" in str(error), 'isolation="process"' in str(error))
    print(pool.submit(add, 1).result())
"""
    assert run(program, error=None) == "True True True\n1"


def test_memory_that_runs_out_in_a_worker_is_an_error() -> None:
    program = """
import resource
def large(megabytes, kind):
    if kind == "list":
        return [0] * (megabytes << 17)
    if kind == "bytes":
        return bytes(megabytes << 20)
    return "x" * (megabytes << 20)
pool = isolated(1)
print(len(pool.submit(large, 1, "bytes").result()))
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20), -1))
for megabytes in (90, 120, 150, 170, 250):
    for kind in ("bytes", "list", "str"):
        try:
            print(megabytes, kind, len(pool.submit(large, megabytes, kind).result(50)) > 0)
        except MemoryError:
            print(megabytes, kind, "MemoryError")
data = bytes(120 << 20)
try:
    print(len(pool.submit(len, data).result(50)))
except (MemoryError, TypeError) as error:
    print("sent", type(error).__name__)
del data
print(pool.submit(add, 1).result(50))
pool.shutdown()
"""
    found = run(program, error=None).splitlines()
    assert found[-1] == "1"
    assert sum(line.startswith("250") and line.endswith("MemoryError") for line in found) == 3


def test_cancelling_while_bytes_are_in_flight() -> None:
    program = """
data = os.urandom(3_000_000)
class Slow:
    def __init__(self, value):
        self.value = value
    def __reduce__(self):
        return Slow, ([self.value] * 1000,)
with isolated(2) as pool:
    ends = set()
    for size in range(300):
        future = pool.submit(lambda data: (data, [data[:100]] * 1000, Slow(3)), data)
        for _ in range(size * 20):
            pass
        future.cancel()
        ends.add(outcome(future) if future.cancelled() or future.exception() else "done") if wait_for(future) else None
    print(pool.submit(add, 1).result(), ends <= {"CancelledError", "done"})
""".replace("if wait_for(future) else None", "if concurrent.futures.wait([future], 50).done else ends.add('lost')")
    assert run(program) == "1 True"


def test_cancels_racing_completion_lose_no_future() -> None:
    program = """
with isolated(2) as pool:
    futures, over = [], threading.Event()
    def cancel():
        seen = 0
        while not over.is_set() or seen < len(futures):
            if seen < len(futures):
                futures[seen].cancel()
                seen += 1
    threads = [threading.Thread(target=cancel) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(20_000):
        futures.append(pool.submit(add, number))
    over.set()
    for thread in threads:
        thread.join()
    done, pending = concurrent.futures.wait(futures, 50)
    print(len(done), len(pending))
    print(all(each.cancelled() or each.result() == number for number, each in enumerate(futures)), pool.active_tasks)
"""
    assert run(program) == "20000 0\nTrue 0"


def test_running_calls_cancelled_as_they_end() -> None:
    program = """
def spin(n):
    for _ in range(n):
        pass
    return n
with isolated(2) as pool:
    ends = []
    for number in range(400):
        future = pool.submit(spin, number * 50)
        while not future.running() and not future.done():
            pass
        future.cancel()
        concurrent.futures.wait([future], 50)
        ends.append(future.cancelled() or future.result(0) == number * 50)
    print(all(ends), len(ends), [each.result(50) for each in [pool.submit(add, n) for n in range(5)]])
"""
    assert run(program) == "True 400 [0, 1, 2, 3, 4]"


def test_a_module_edited_between_two_maps() -> None:
    program = """
import importlib, pathlib, tempfile
folder = pathlib.Path(tempfile.mkdtemp())
sys.path.insert(0, str(folder))
sys.dont_write_bytecode = True
(folder / "edited.py").write_text("STEP = 1\\ndef helper(n): return n + STEP\\ndef f(n): return helper(n)\\n")
import edited
with isolated(2) as pool:
    print(list(pool.map(edited.f, range(3))))
    (folder / "edited.py").write_text("STEP = 10\\ndef helper(n): return n * STEP\\ndef f(n): return helper(n)\\n")
    importlib.reload(edited)
    print(list(pool.map(edited.f, range(3))), pool.submit(edited.f, 5).result())
    edited.helper = lambda n: -n
    print(list(pool.map(edited.f, range(3))), pool.submit(edited.f, 5).result())
"""
    assert run(program) == "[1, 2, 3]\n[0, 10, 20] 50\n[0, -1, -2] -5"


def test_submits_racing_shutdown() -> None:
    program = """
for _ in range(30):
    pool = isolated(2)
    futures = []
    def submit():
        try:
            while True:
                futures.append(pool.submit(add, 1))
        except PoolClosed:
            pass
    threads = [threading.Thread(target=submit) for _ in range(3)]
    for thread in threads:
        thread.start()
    while not futures:
        pass
    pool.shutdown()
    for thread in threads:
        thread.join()
    assert all(each.result(50) == 1 for each in futures)
print("end")
"""
    assert run(program) == "end"


def test_pools_one_after_another_leak_nothing() -> None:
    program = """
def state():
    gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")), pages * os.sysconf("SC_PAGESIZE")
def work(n):
    import json, collections
    return json.dumps([n])
for number in range(50):
    with isolated(2) as pool:
        assert list(pool.map(work, range(20))) == [f"[{n}]" for n in range(20)]
        assert pool.submit(work, 1).result() == "[1]"
    if number == 9:
        before = state()
from pyferris import _native
after = state()
print(after[0] - before[0], after[1] - before[1], after[2] - before[2] < 8 << 20, _native.interpreter_counts()[1])
"""
    assert run(program) == "0 0 True 0"
