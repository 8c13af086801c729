"""Worker processes that die, are stopped, forked or left: isolation="process"."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import own_process
import pytest

from pyferris.errors import BrokenPool, PoolClosed
from pyferris.future import SafeFuture, cancel_requested, current_future, sleep
from pyferris.thread_pool import SafeThreadPool

LIMIT = 60


@pytest.fixture(scope="module")
def single() -> Iterator[SafeThreadPool]:
    with SafeThreadPool(1, isolation="process") as made:
        yield made


def square(x: int) -> int:
    return x * x


def started(path: Path) -> None:
    """Wait until a call has made the file."""
    while not path.exists():
        threading.Event().wait(0.005)


# --- processes that die


@pytest.mark.parametrize(
    ("die", "how"),
    [
        (lambda: os._exit(3), "ended with exit code 3"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "was ended by SIGKILL"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "was ended by SIGSEGV"),
    ],
)
def test_a_process_that_dies_fails_its_call_only(single: SafeThreadPool, die: Any, how: str) -> None:
    lost = single.submit(die)
    others = [single.submit(square, number) for number in range(5)]
    with pytest.raises(BrokenPool, match=how):
        lost.result(LIMIT)
    assert [other.result(LIMIT) for other in others] == [0, 1, 4, 9, 16]


def test_a_process_that_dies_while_nothing_runs_is_replaced(single: SafeThreadPool) -> None:
    pid = single.submit(os.getpid).result(LIMIT)
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(BrokenPool):  # it may die while the call is on its way
        assert single.submit(os.getpid).result(LIMIT) != pid
    assert single.submit(os.getpid).result(LIMIT) != pid


def test_the_death_is_seen_although_a_child_of_it_lives_on(single: SafeThreadPool) -> None:
    def leave_a_child() -> None:
        if os.fork() == 0:
            os.close(0)
            time.sleep(5)
            os._exit(0)
        os._exit(7)

    with pytest.raises(BrokenPool, match="exit code 7"):
        single.submit(leave_a_child).result(LIMIT)


def test_a_fork_inside_a_call_answers_once(single: SafeThreadPool) -> None:
    def fork() -> str:
        return "child" if os.fork() == 0 else "parent"

    assert single.submit(fork).result(LIMIT) == "parent"
    assert single.submit(square, 4).result(LIMIT) == 16


# --- stopping


def test_a_call_that_asks_is_stopped(single: SafeThreadPool, tmp_path: Path) -> None:
    def ask() -> None:
        (tmp_path / "begun").touch()
        assert current_future() is not None
        while not cancel_requested():
            sleep(0.01)

    running = single.submit(ask)
    started(tmp_path / "begun")
    pid_before = os.getpid()
    assert not running.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        running.result(LIMIT)
    assert pid_before == os.getpid()


def spin(path: Path) -> None:
    path.touch()
    while True:
        pass


def nap(path: Path) -> None:
    path.touch()
    time.sleep(1000)


@pytest.mark.parametrize("call", [spin, nap])
def test_a_call_that_does_not_ask_is_interrupted_and_its_process_lives_on(
    single: SafeThreadPool, tmp_path: Path, call: Any
) -> None:
    pid = single.submit(os.getpid).result(LIMIT)
    running = single.submit(call, tmp_path / "begun")
    started(tmp_path / "begun")
    running.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        running.result(LIMIT)
    assert running.cancelled()
    assert single.submit(os.getpid).result(LIMIT) == pid


def test_a_call_that_refuses_to_stop_is_ended_with_its_process(single: SafeThreadPool, tmp_path: Path) -> None:
    def stubborn() -> None:
        (tmp_path / "begun").touch()
        while True:
            with contextlib.suppress(BaseException):
                while True:
                    time.sleep(1)

    pid = single.submit(os.getpid).result(LIMIT)
    running = single.submit(stubborn)
    started(tmp_path / "begun")
    running.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        running.result(LIMIT)
    assert single.submit(os.getpid).result(LIMIT) != pid


def test_a_with_block_left_by_an_interrupt_ends_its_calls(tmp_path: Path) -> None:
    futures: list[SafeFuture[Any]] = []

    def interrupted() -> None:
        with SafeThreadPool(1, isolation="process") as own:
            futures.extend((own.submit(spin, tmp_path / "begun"), own.submit(square, 1)))
            started(tmp_path / "begun")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    running, queued = futures
    assert running.cancelled()
    assert queued.cancelled()


# --- shutting down


def test_shutdown_waits_for_the_processes() -> None:
    own = SafeThreadPool(2, isolation="process")
    pids = {own.submit(os.getpid).result(LIMIT)}
    own.submit(square, 1)
    assert own.shutdown()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(PoolClosed):
        own.submit(square, 2)


def test_a_dropped_pool_ends_its_process() -> None:
    own: SafeThreadPool | None = SafeThreadPool(1, isolation="process")
    assert own is not None
    pid = own.submit(os.getpid).result(LIMIT)
    own = None
    while True:  # until its thread has seen to it
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        threading.Event().wait(0.005)


def test_exit_functions_of_a_process_run(tmp_path: Path) -> None:
    def register() -> None:
        import atexit

        atexit.register((tmp_path / "exited").touch)

    with SafeThreadPool(1, isolation="process") as own:
        own.submit(register).result(LIMIT)
    assert (tmp_path / "exited").exists()


# --- in programs of their own


PROGRAM = """
def spin():
    print("spinning", flush=True)
    while True:
        pass

def gone(pid):
    # None of the processes lives on, as a zombie or otherwise.
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "X"
    except (FileNotFoundError, ProcessLookupError):
        return True
"""


def test_exit_waits_for_calls_and_leaves_nothing() -> None:
    assert (
        own_process.run("""
        def late():
            time.sleep(0.3)
            print("done", flush=True)

        pool = SafeThreadPool(2, isolation="process")
        pool.submit(late)
        print("exiting", flush=True)
        """)
        == "exiting\ndone"
    )


def test_exit_ends_the_calls_of_daemon_pools() -> None:
    output = own_process.run(
        PROGRAM
        + """
pool = SafeThreadPool(1, isolation="process", daemon=True)
pid = pool.submit(os.getpid).result()
future = pool.submit(spin)
while not future.running():
    time.sleep(0.001)
print(pid)
"""
    )
    pid = int(next(line for line in output.split() if line.isdigit()))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_ctrl_c_ends_a_with_block_and_its_calls() -> None:
    output = own_process.run(
        PROGRAM
        + """
try:
    with SafeThreadPool(2, isolation="process") as pool:
        pid = pool.submit(os.getpid).result()
        future = pool.submit(spin)
        while not future.running():
            time.sleep(0.001)
        ctrl_c_in_next_line()
        future.result()
except KeyboardInterrupt:
    print("interrupted", future.cancelled(), gone(pid))
"""
    )
    assert output.splitlines()[-1] == "interrupted True True"


def test_ctrl_c_of_a_terminal_leaves_idle_processes_and_calls_alone() -> None:
    assert (
        own_process.run("""
        def hold(path):
            open(path, "w").close()
            time.sleep(0.5)
            return os.getpid()

        import tempfile
        path = os.path.join(tempfile.mkdtemp(), "begun")
        with SafeThreadPool(1, isolation="process") as pool:
            pid = pool.submit(os.getpid).result()
            os.kill(pid, signal.SIGINT)
            future = pool.submit(hold, path)
            while not os.path.exists(path):
                time.sleep(0.001)
            os.kill(pid, signal.SIGINT)
            print(future.result() == pid)
        """)
        == "True"
    )


def test_processes_go_with_a_parent_that_is_killed() -> None:
    output = own_process.run(
        PROGRAM
        + """
pool = SafeThreadPool(1, isolation="process")
print(pool.submit(os.getpid).result(), flush=True)
future = pool.submit(spin)
while not future.running():
    time.sleep(0.001)
os.kill(os.getpid(), signal.SIGKILL)
""",
        code=-signal.SIGKILL,
    )
    pid = int(output.split()[0])
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.kill(pid, 0)
            threading.Event().wait(0.01)


def test_a_forked_child_has_processes_of_its_own() -> None:
    assert (
        own_process.run("""
        import warnings

        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        pool = SafeThreadPool(1, isolation="process")
        pid = pool.submit(os.getpid).result()
        child = os.fork()
        if child == 0:
            other = pool.submit(os.getpid).result()
            assert other != pid
            pool.shutdown()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert pool.submit(os.getpid).result() == pid
        pool.shutdown()
        print("fine")
        """)
        == "fine"
    )


def test_pools_one_after_another_leak_nothing() -> None:
    assert (
        own_process.run("""
        def counts():
            return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

        def use():
            with SafeThreadPool(2, isolation="process") as pool:
                list(pool.map(abs, range(4), chunksize=1))
            gc.collect()

        use()
        before = counts()
        for _ in range(5):
            use()
        print(counts() == before or (before, counts()))
        """)
        == "True"
    )


def test_a_program_in_a_file_is_not_run_again(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = tmp_path / "program.py"
    program.write_text(
        "from pyferris import SafeThreadPool\n"
        "print('started', flush=True)\n"
        "def twice(x): return 2 * x\n"
        "with SafeThreadPool(1, isolation='process') as pool:\n"
        "    print(pool.submit(twice, 4).result())\n"
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=LIMIT)
    assert (done.stdout, done.stderr) == ("started\n8\n", "")
