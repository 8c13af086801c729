"""What must not crash, hang or leak; each in a process of its own with a time limit."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

LIMIT = 60  # seconds that a process may take; none needs more than a few

START = """
import asyncio, concurrent.futures, gc, os, signal, sys, threading, time, _thread
import pyferris._runtime
from pyferris.errors import CallCancelled, PoolClosed
from pyferris.future import SafeFuture, cancel_requested, check_cancelled, current_future, sleep
from pyferris.thread_pool import SafeThreadPool

def ctrl_c_in_next_line():
    # One Ctrl-C when the main thread has been asleep in the kernel for a while, in the line after this call.
    frame = sys._getframe(1)
    line, asleep = frame.f_lineno + 1, 0
    def press():
        nonlocal asleep
        while asleep < 20:
            with open(f"/proc/self/task/{os.getpid()}/stat") as file:
                state = file.read().rpartition(")")[2].split()[0]
            asleep = asleep + 1 if state == "S" and frame.f_lineno == line else 0
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=press, daemon=True).start()
"""


def run(program: str, *, code: int = 0, error: str | None = "") -> str:
    """The output of the program, which ends by itself, with that exit code, and writes that to stderr."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", START + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert done.returncode == code, done
    if error is not None:
        assert done.stderr.strip() == error, done
    return done.stdout.strip()


# --- exit


def test_exit_runs_queued_calls() -> None:
    program = """
        pool = SafeThreadPool(2)
        for number in range(200):
            pool.submit(lambda: (time.sleep(0.0005), os.write(1, b".")))
        """
    assert run(program) == "." * 200


def test_exit_waits_for_a_running_call_and_its_children() -> None:
    program = """
        pool = SafeThreadPool(1)
        started = threading.Event()
        def call():
            started.set()
            time.sleep(0.05)
            os.write(1, str(pool.submit(pow, 2, 3).result()).encode())
        pool.submit(call)
        started.wait()
        """
    # As with the standard library's: submitting while the interpreter ends may be refused, never hang.
    assert run(program, error=None) in ("8", "")


@pytest.mark.parametrize("work", ["while True: pass", "while True: time.sleep(0.001)", "time.sleep(1000)"])
def test_exit_does_not_wait_for_a_daemon_pool(work: str) -> None:
    program = f"""
        heap = [[number] for number in range(200_000)]
        pool = SafeThreadPool(2, daemon=True)
        started = threading.Barrier(3)
        def call():
            started.wait()
            {work}
        futures = [pool.submit(call) for _ in range(5)]
        started.wait()
        print("end")
        """
    assert run(program) == "end"


def test_exit_with_a_sleeping_daemon_call_and_a_blocked_one() -> None:
    program = """
        pool = SafeThreadPool(3, daemon=True)
        started = threading.Barrier(4)
        def call(wait):
            started.wait()
            wait()
        never = SafeFuture()
        pool.submit(call, lambda: sleep(1000))
        pool.submit(call, never.result)
        pool.submit(call, threading.Event().wait)
        started.wait()
        print("end")
        """
    assert run(program) == "end"


def test_exit_with_coroutines_of_a_daemon_pool_running() -> None:
    program = """
        pool = SafeThreadPool(1, daemon=True)
        started = threading.Event()
        async def call():
            started.set()
            await asyncio.sleep(1000)
        future = pool.submit(call)
        started.wait()
        print("end")
        """
    assert run(program, error=None) == "end"


def test_exit_finishes_coroutines() -> None:
    program = """
        pool = SafeThreadPool(1)
        async def call():
            await asyncio.sleep(0.05)
            os.write(1, b"end")
        pool.submit(call)
        """
    assert run(program) == "end"


def test_exit_with_pending_futures_and_an_unread_failure_is_silent() -> None:
    program = """
        promise = SafeFuture()
        pool = SafeThreadPool(1)
        failed = pool.submit(lambda: 1 / 0)
        concurrent.futures.wait([promise], 0)
        sys.cycle = [promise, failed, pool]
        sys.cycle.append(sys.cycle)
        print("end")
        """
    assert run(program) == "end"


def test_sys_exit_in_the_main_thread_with_a_live_pool() -> None:
    assert run("pool = SafeThreadPool(1); pool.submit(time.sleep, 0.05); sys.exit(7)", code=7) == ""


def test_exit_inside_a_with_block_stops_the_calls() -> None:
    program = """
        with SafeThreadPool(1) as pool:
            started = threading.Event()
            def call():
                started.set()
                sleep(1000)
            future = pool.submit(call)
            pool.submit(os.write, 1, b"queued")
            started.wait()
            sys.exit(3)
        """
    assert run(program, code=3) == ""


def test_use_of_pools_from_atexit_and_del() -> None:
    program = """
        import atexit
        pool = SafeThreadPool(1)
        pool.submit(int).result()
        class Late:
            def __del__(self):
                try:
                    pool.submit(int)
                except BaseException:
                    pass
        sys.late = Late()
        def late():
            try:
                pool.submit(int).result(10)
            except RuntimeError:
                pass
            print("end")
        atexit.register(late)
        """
    assert run(program) == "end"


# --- Ctrl-C


@pytest.mark.parametrize(
    "block",
    [
        "future.result()",
        "future.result(1000)",
        "future.exception()",
        "concurrent.futures.wait([future])",
        "list(concurrent.futures.as_completed([future]))",
        "next(pool.map(lambda _: gate.wait(), [1]))",
        "pool.map(lambda _: gate.wait(), [1])[0]",
        "pool.shutdown()",
        "sleep(1000)",
        "asyncio.run(wait(future))",
    ],
)
def test_ctrl_c_ends_a_blocking_call(block: str) -> None:
    program = f"""
        gate = threading.Event()
        pool = SafeThreadPool(2)
        future = pool.submit(gate.wait)
        async def wait(future):
            await future
        try:
            ctrl_c_in_next_line()
            {block}
        except KeyboardInterrupt:
            print("interrupted")
        gate.set()
        """
    assert run(program) == "interrupted"


def test_ctrl_c_in_a_with_block_ends_the_program() -> None:
    program = """
        try:
            with SafeThreadPool(1) as pool:
                future = pool.submit(sleep, 1000)
                queued = pool.submit(os.write, 1, b"queued")
                ctrl_c_in_next_line()
                future.result()
        except KeyboardInterrupt:
            print(future.cancelled(), queued.cancelled())
        """
    assert run(program) == "True True"


def test_a_signal_storm_loses_nothing() -> None:
    program = """
        hits = []
        signal.signal(signal.SIGALRM, lambda *_: hits.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        with SafeThreadPool(2) as pool:
            for number in range(3000):
                assert pool.submit(int, number).result() == number
            pool.submit(time.sleep, 0.1).result()
            assert list(pool.map(int, range(3000))) == list(range(3000))
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(len(hits) > 10)
        """
    assert run(program) == "True"


# --- fork


FORK = """
import warnings
warnings.simplefilter("ignore")  # a fork with threads is what this is about

def in_child(function):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(30)
            function()
            code = 0
        except BaseException as error:
            os.write(2, repr(error).encode())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


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


# --- pools


def test_pools_dropped_without_shutdown_leave_no_threads() -> None:
    program = """
        before = len(os.listdir("/proc/self/task"))
        files = len(os.listdir("/proc/self/fd"))
        for number in range(200):
            pool = SafeThreadPool(2)
            future = pool.submit(int, number)
            if number % 2:
                assert future.result() == number
            del pool
            assert future.result(30) == number
        gc.collect()
        deadline = time.monotonic() + 30
        while len(os.listdir("/proc/self/task")) > before and time.monotonic() < deadline:
            time.sleep(0.001)
        threads, files = len(os.listdir("/proc/self/task")) - before, len(os.listdir("/proc/self/fd")) - files
        print(threads, threading.active_count(), files)
        """
    assert run(program) == "0 1 0"


def test_a_pool_dropped_by_its_own_call() -> None:
    program = """
        def call(holder):
            holder.clear()
            gc.collect()
            return 5
        for _ in range(100):
            holder = [SafeThreadPool(1)]
            gate = threading.Event()
            future = holder[0].submit(lambda: gate.wait() and call(holder))
            gate.set()
            assert future.result(30) == 5
        print("end")
        """
    assert run(program) == "end"


def test_submit_races_with_shutdown() -> None:
    program = """
        for turn in range(300):
            pool = SafeThreadPool(2)
            accepted, ran = [], []
            barrier = threading.Barrier(3)
            def submit():
                barrier.wait()
                try:
                    while True:
                        accepted.append(pool.submit(ran.append, 1))
                except PoolClosed:
                    pass
            threads = [threading.Thread(target=submit) for _ in range(2)]
            for thread in threads:
                thread.start()
            barrier.wait()
            pool.shutdown(cancel_futures=bool(turn % 2))
            for thread in threads:
                thread.join()
            assert all(future.done() for future in accepted)
            assert sum(not future.cancelled() for future in accepted) == len(ran)
        print("end", threading.active_count())
        """
    assert run(program) == "end 1"


def test_shutdown_from_many_threads() -> None:
    program = """
        for _ in range(100):
            pool = SafeThreadPool(2)
            futures = [pool.submit(int, n) for n in range(20)]
            threads = [threading.Thread(target=pool.shutdown) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert [future.result(0) for future in futures] == list(range(20))
        print("end", threading.active_count(), len(os.listdir("/proc/self/task")))
        """
    assert run(program) == "end 1 1"


@pytest.mark.parametrize(
    "error", ["SystemExit(3)", "KeyboardInterrupt()", "GeneratorExit()", "StopIteration()", "MemoryError()"]
)
def test_every_exception_in_a_call_goes_into_its_future(error: str) -> None:
    program = f"""
        def fail():
            raise {error}
        with SafeThreadPool(1) as pool:
            name = pool.submit(threading.current_thread).result()
            for _ in range(20):
                assert type(pool.submit(fail).exception(30)) is type({error})
            assert pool.submit(threading.current_thread).result() is name
        print("end")
        """
    assert run(program) == "end"


def test_exceptions_in_callbacks_do_not_stop_the_worker() -> None:
    program = """
        import logging
        logging.disable()
        def fail(error):
            raise error
        with SafeThreadPool(1) as pool:
            for error in (ValueError, SystemExit, KeyboardInterrupt):
                gate = threading.Event()
                future = pool.submit(gate.wait)
                future.add_done_callback(lambda _, error=error: fail(error))
                gate.set()
                assert future.result(30)
            print(pool.submit(int).result(30))
        """
    assert run(program, error=None) == "0"


def test_deep_recursion_in_a_call() -> None:
    program = """
        def deep(n):
            return deep(n + 1)
        with SafeThreadPool(1) as pool:
            for _ in range(3):
                assert type(pool.submit(deep, 0).exception(30)) is RecursionError
            print(pool.submit(int).result(30))
        """
    assert run(program) == "0"


def test_destructors_that_call_back_into_the_pool() -> None:
    program = """
        seen = []
        class Late:
            def __del__(self):
                seen.append(pool.submit(int, 3))
        with SafeThreadPool(1) as pool:
            for _ in range(200):
                pool.submit(id, Late()).result(30)
                queued = pool.submit(id, Late())
                queued.cancel()
            while len(seen) < 400:
                pool.submit(int).result(30)
            assert all(future.result(30) == 3 for future in list(seen))
        print("end")
        """
    assert run(program) == "end"


def test_callbacks_that_call_back_into_the_future() -> None:
    program = """
        with SafeThreadPool(1) as pool:
            for _ in range(500):
                seen = []
                done = threading.Event()
                def callback(future):
                    seen.append(future.result(0))
                    future.cancel()
                    future.remove_done_callback(callback)
                    future.add_done_callback(lambda again: seen.append(again.done()))
                    pool.submit(done.set)
                pool.submit(int, 4).add_done_callback(callback)
                assert done.wait(30)
                assert seen == [4, True], seen
        print("end")
        """
    assert run(program) == "end"


def test_many_calls_leave_no_memory() -> None:
    program = """
        def pages():
            return int(open("/proc/self/statm").read().split()[1])
        def work():
            for _ in range(20):
                for future in [pool.submit(int, n) for n in range(2000)]:
                    future.result()
                list(pool.map(int, range(2000)))
                for n in range(500):
                    try:
                        pool.submit(int, "x").result()
                    except ValueError:
                        pass
        with SafeThreadPool(2) as pool:
            work()
            gc.collect()
            before = pages()
            work()
            work()
            gc.collect()
            growth = (pages() - before) * os.sysconf("SC_PAGE_SIZE")
        print(growth < 4_000_000 or growth)
        """
    assert run(program) == "True"
