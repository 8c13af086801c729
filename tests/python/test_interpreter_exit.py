"""Pools of interpreters while the process ends, forks, or is sent signals: each case in a process of its own."""

from __future__ import annotations

import os

import pytest
from interpreter_calls import needs_interpreters
from isolated_process import run
from own_process import FORK

pytestmark = needs_interpreters

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")

# --- exit


def test_exit_runs_what_is_queued() -> None:
    program = """
pool = isolated(2)
def note(number, path):
    with open(path, "a") as file:
        file.write("x")
import tempfile
path = tempfile.mktemp()
for number in range(200):
    pool.submit(note, number, path)
pool.map(note, range(100), [path] * 100)
pool.submit(add, 5).add_done_callback(lambda done: print(done.result()))
import atexit
atexit.register(lambda: print(len(open(path).read())))
"""
    assert run(program) == "5\n300"


@pytest.mark.parametrize("function", ["forever", "blocked", "hogging", "time.sleep"])
def test_exit_does_not_wait_for_a_daemon_pool(function: str) -> None:
    argument = "1000" if function == "time.sleep" else "queue"
    program = f"""
pool = isolated(1, daemon=True)
running, queued = pool.submit({function}, {argument}), pool.submit(add, 1)
while not running.running():
    pass
print("end")
"""
    assert run(program) == "end"


@pytest.mark.parametrize("function", ["forever", "blocked", "hogging", "stubborn"])
def test_exit_after_a_call_that_was_given_up(function: str) -> None:
    program = f"""
pool = isolated(1)
for _ in range(2):
    running = pool.submit({function}, queue)
    queue.pop()
    running.cancel()
    print(outcome(running), pool.submit(add, 1).result(50))
pool.shutdown()
print("end")
"""
    assert run(program) == "CancelledError 1\n" * 2 + "end"


def test_exit_with_idle_pools_of_every_kind() -> None:
    program = """
pools = [isolated(2), isolated(2, daemon=True), isolated(1), SafeThreadPool(1)]
print([pool.submit(add, 1).result() for pool in pools], isolated(1).active_tasks)
pools[2].shutdown()
"""
    assert run(program) == "[1, 1, 1, 1] 0"


def test_exit_by_an_error_keeps_its_code() -> None:
    program = """
pool = isolated(1)
print(pool.submit(add, 1).result())
pool.submit(add, 2)
sys.exit(7)
"""
    assert run(program, code=7) == "1"


def test_a_pool_made_at_exit() -> None:
    program = """
import atexit
def late():
    try:
        isolated(1).submit(add, 1)
    except RuntimeError as error:
        print(type(error).__name__)
atexit.register(late)
with isolated(1) as pool:
    print(pool.submit(add, 1).result())
"""
    assert run(program) == "1\nPoolClosed"


# --- fork


@needs_fork
def test_fork_with_idle_pools() -> None:
    program = (
        FORK
        + """
pool = isolated(2)
print(sum(pool.map(add, range(100))))
def child():
    assert [pool.submit(add, n).result(30) for n in range(5)] == list(range(5))
    assert list(pool.map(add, range(50))) == list(range(50))
    with isolated(2) as other:
        assert other.submit(add, 3).result(30) == 3
    assert in_child(lambda: pool.submit(add, 8).result(30)) == 8
    return 9
for _ in range(3):
    print(in_child(child), pool.submit(add, 4).result(50))
"""
    )
    assert run(program) == "4950\n" + "9 4\n" * 2 + "9 4"


@needs_fork
def test_fork_while_others_submit_without_a_pause() -> None:
    program = (
        FORK
        + """
pool, over, wrong = isolated(2), threading.Event(), []
def use(number):
    while not over.is_set():
        futures = [pool.submit(add, number, n) for n in range(50)]
        if [each.result(50) for each in futures] != [number + n for n in range(50)]:
            wrong.append(number)
def make():
    while not over.is_set():
        with isolated(1) as other:
            if other.submit(add, 1).result(50) != 1:
                wrong.append("other")
threads = [threading.Thread(target=use, args=(n,)) for n in range(2)] + [threading.Thread(target=make)]
for thread in threads:
    thread.start()
codes = {in_child(lambda: pool.submit(add, 6).result(30)) for _ in range(15)}
over.set()
for thread in threads:
    thread.join()
print(codes, wrong)
"""
    )
    assert run(program) == "{6} []"


@needs_fork
@pytest.mark.parametrize("way", ["os.fork()", "subprocess.run(['true'], preexec_fn=int)"])
def test_a_fork_waits_for_running_calls(way: str) -> None:
    program = (
        FORK
        + f"""
def busy(queue):
    import time
    queue.push(1)
    end = time.monotonic() + 0.7
    while time.monotonic() < end:
        pass
    return 5
pool = isolated(1)
future = pool.submit(busy, queue)
queue.pop()
forked = {way}
if forked == 0:
    os._exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) if type(forked) is int else forked.returncode
print(future.result(50), code)
"""
    )
    assert run(program) == "5 0"


@needs_fork
@pytest.mark.parametrize("way", ["os.fork()", "subprocess.run(['true'], preexec_fn=int)"])
def test_a_fork_is_refused_while_a_call_runs_on(way: str) -> None:
    program = (
        FORK
        + f"""
pool = isolated(1)
future = pool.submit(forever, queue)
queue.pop()
try:
    {way}
except RuntimeError as error:
    print("cannot fork" in str(error), "spawn" in str(error))
print(subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True).stdout.strip())
future.cancel()
print(outcome(future), pool.submit(add, 1).result(50))
print(subprocess.run(["true"], preexec_fn=lambda: None).returncode)
"""
    )
    assert run(program) == "True True\n1\nCancelledError 1\n0"


@needs_fork
def test_the_methods_of_multiprocessing() -> None:
    program = (
        FORK
        + """
import multiprocessing
pool = isolated(2)
print(list(pool.map(add, range(3))))
def work(pipe):
    pipe.send([pool.submit(add, 2).result(30)])
for method in ("fork", "forkserver", "spawn"):
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    if method == "fork":
        process = context.Process(target=work, args=(theirs,))
    else:
        process = context.Process(target=os.getpid)
    process.start()
    if method == "fork":
        print(ours.recv())
    process.join(50)
    print(method, process.exitcode, pool.submit(add, 1).result(50))
with multiprocessing.get_context("fork").Pool(2) as other:
    print(other.map(abs, [-1, -2]))
"""
    )
    assert run(program) == "[0, 1, 2]\n[2]\nfork 0 1\nforkserver 0 1\nspawn 0 1\n[1, 2]"


# --- signals


@pytest.mark.parametrize("wait", ["future.result()", "next(results)", "pool.shutdown()", "future.exception()"])
def test_ctrl_c_ends_a_wait(wait: str) -> None:
    program = f"""
pool = isolated(2)
results = pool.map(blocked_once, [queue]) if {"results" in wait} else None
future = pool.submit(blocked_once, queue)
try:
    ctrl_c_in_next_line()
    {wait}
except KeyboardInterrupt:
    print("interrupted")
for _ in range(2):
    queue.push(1)
print(future.result(50))
pool.shutdown()
"""
    program = "def blocked_once(queue):\n    return queue.pop(timeout=50)\n" + program
    assert run(program) == "interrupted\n1"


def test_ctrl_c_in_a_with_block_stops_an_endless_call() -> None:
    program = """
try:
    with isolated(1) as pool:
        future = pool.submit(forever, queue)
        queue.pop()
        ctrl_c_in_next_line()
        future.result()
except KeyboardInterrupt:
    print("interrupted", future.cancelled())
"""
    assert run(program) == "interrupted True"


def test_a_storm_of_signals_disturbs_nothing() -> None:
    program = """
seen = 0
def ring(*_):
    global seen
    seen += 1
signal.signal(signal.SIGALRM, ring)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
def spin(n):
    for _ in range(3000):
        n += 1
    return n
with isolated(2) as pool:
    right = [pool.submit(spin, n).result(50) == n + 3000 for n in range(300)]
    right += [each == n + 3000 for n, each in enumerate(pool.map(spin, range(300)))]
    pool.submit(time.sleep, 0.05).result(50)
signal.setitimer(signal.ITIMER_REAL, 0)
print(all(right), len(right), seen > 5)
"""
    assert run(program) == "True 600 True"


def test_two_loops_wait_for_one_pool() -> None:
    program = """
pool, sums = isolated(2), []
async def main(base):
    found = await asyncio.gather(*[pool.submit(add, base, n) for n in range(500)])
    sums.append(sum(found) == sum(base + n for n in range(500)))
    sums.append(sum(await pool.map(add, range(500))) == sum(range(500)))
threads = [threading.Thread(target=lambda n=n: asyncio.run(main(n))) for n in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sums)
"""
    assert run(program) == "[True, True, True, True]"


def test_the_seeds_example_of_shared_data() -> None:
    program = """
def work(number, counter, table, results):
    for step in range(100):
        counter.increment()
        table.increment("steps")
    table[f"worker {number}"] = number * number
    results.push((number, number * 10))

def example(isolation):
    counter = create_safe_shared_data("counter", initial_value=0)
    table, results = create_safe_shared_data("dict"), create_safe_shared_data("queue")
    with SafeThreadPool(5, isolation=isolation) as pool:
        for future in [pool.submit(work, number, counter, table, results) for number in range(5)]:
            future.result(50)
    found = sorted(results.pop(block=False) for _ in range(results.qsize()))
    return counter.get(), sorted(table.items()), found

print(example("interpreter") == example("none"), example("interpreter")[0])
"""
    assert run(program) == "True 500"
