"""Pools of worker processes: isolation="process"."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import gc
import io
import logging
import os
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyferris import _process_workers, _worker_process
from pyferris.errors import BrokenPool
from pyferris.future import check_cancelled, sleep
from pyferris.parallel_map import safe_parallel_map, safe_parallel_map_async
from pyferris.shared_data import SafeArray, SafeCounter
from pyferris.thread import SafeThread
from pyferris.thread_pool import SafeThreadPool

LIMIT = 60
STATE: Any = None
LOCK = threading.Lock()


@pytest.fixture(scope="module")
def pool() -> Iterator[SafeThreadPool]:
    with SafeThreadPool(2, "processes", isolation="process") as made:
        yield made


@pytest.fixture(scope="module")
def single() -> Iterator[SafeThreadPool]:
    with SafeThreadPool(1, isolation="process") as made:
        yield made


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def twice(self) -> Point:
        return Point(2 * self.x)


class Refusal(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(code)
        self.reason = reason


def square(x: int) -> int:
    return x * x


def refuse(code: int) -> None:
    raise Refusal(code, reason="because")


def started(path: Path) -> None:
    """Wait until a call has made the file."""
    while not path.exists():
        threading.Event().wait(0.005)


def spin(path: Path) -> None:
    path.touch()
    while True:
        pass


# --- calls


def test_a_call_runs_in_another_process(pool: SafeThreadPool) -> None:
    assert pool.submit(os.getpid).result(LIMIT) != os.getpid()
    assert pool.submit(square, 7).result(LIMIT) == 49
    assert pool.submit(int, "ff", base=16).result(LIMIT) == 255


def test_functions_of_every_kind_travel(pool: SafeThreadPool) -> None:
    offset = 5
    assert pool.submit(lambda x: x + offset, 1).result(LIMIT) == 6
    assert pool.submit(functools.partial(pow, 2), 10).result(LIMIT) == 1024
    assert pool.submit(Point(4).twice).result(LIMIT).x == 8
    assert isinstance(pool.submit(Point, 3).result(LIMIT), Point)


def test_a_rebound_global_is_seen_by_the_next_call(pool: SafeThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> Any:
        return STATE

    monkeypatch.setattr(sys.modules[__name__], "STATE", "one")
    assert pool.submit(read).result(LIMIT) == "one"
    monkeypatch.setattr(sys.modules[__name__], "STATE", "two")
    assert pool.submit(read).result(LIMIT) == "two"


def test_large_arguments_and_results(pool: SafeThreadPool) -> None:
    data = bytes(range(256)) * 20_000
    assert pool.submit(lambda got: got[::-1], data).result(LIMIT) == data[::-1]


def test_an_exception_comes_home_with_its_traceback(pool: SafeThreadPool) -> None:
    with pytest.raises(Refusal) as caught:
        pool.submit(refuse, 3).result(LIMIT)
    assert caught.value.args == (3,)
    assert caught.value.reason == "because"
    assert 'raise Refusal(code, reason="because")' in str(caught.value.__cause__)


@pytest.mark.parametrize("error", [EOFError("e"), ConnectionResetError(1, "r"), BrokenPool("b"), MemoryError()])
def test_errors_that_look_like_a_lost_process_are_the_calls_own(pool: SafeThreadPool, error: Exception) -> None:
    def fail() -> None:
        raise error

    pids = {pool.submit(os.getpid).result(LIMIT) for _ in range(4)}
    with pytest.raises(type(error)) as caught:
        pool.submit(fail).result(LIMIT)
    assert caught.value.args == error.args
    assert pool.submit(os.getpid).result(LIMIT) in pids or len(pids) == 1


def test_system_exit_goes_into_the_future(pool: SafeThreadPool) -> None:
    with pytest.raises(SystemExit, match="4"):
        pool.submit(sys.exit, 4).result(LIMIT)


@pytest.mark.parametrize("given", [LOCK, SafeCounter(), SafeArray([1])])
def test_submit_refuses_what_cannot_be_copied(pool: SafeThreadPool, given: Any) -> None:
    with pytest.raises(TypeError, match=r"argument 0 of repr\(\).*" + type(given).__name__):
        pool.submit(repr, given)


def test_a_result_that_cannot_be_copied_is_a_type_error(pool: SafeThreadPool) -> None:
    with pytest.raises(TypeError, match=r"the result of Lock|the result of allocate_lock|the result of lock"):
        pool.submit(threading.Lock).result(LIMIT)


def test_calls_start_first_in_first_out(single: SafeThreadPool, tmp_path: Path) -> None:
    path = tmp_path / "order"

    def note(number: int) -> None:
        with path.open("a") as file:
            file.write(f"{number}\n")

    concurrent.futures.wait([single.submit(note, number) for number in range(50)], LIMIT)
    assert path.read_text().split() == [str(number) for number in range(50)]


def test_a_coroutine_function_runs_in_the_process(pool: SafeThreadPool) -> None:
    async def where() -> int:
        await asyncio.sleep(0)
        return os.getpid()

    assert pool.submit(where).result(LIMIT) not in (0, os.getpid())


def test_await_and_wait(pool: SafeThreadPool) -> None:
    async def main() -> list[int]:
        return await asyncio.gather(*[pool.submit(square, number) for number in range(20)])

    assert asyncio.run(main()) == [square(number) for number in range(20)]


def test_a_queued_call_can_be_cancelled(single: SafeThreadPool, tmp_path: Path) -> None:
    begun, go_on = tmp_path / "begun", tmp_path / "go_on"

    def hold() -> None:
        begun.touch()
        while not go_on.exists():
            sleep(0.005)

    holding = single.submit(hold)
    started(begun)
    queued = single.submit(square, 2)
    assert queued.cancel()
    go_on.touch()
    holding.result(LIMIT)
    assert queued.cancelled()


def test_a_worker_keeps_its_globals_between_calls_of_a_function(single: SafeThreadPool) -> None:
    def count() -> int:
        global STATE
        STATE = (STATE or 0) + 1
        return int(STATE)

    assert [single.submit(count).result(LIMIT) for _ in range(3)] == [1, 2, 3]


def test_the_environment_travels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYFERRIS_TEST", "there")
    monkeypatch.setattr(sys, "argv", ["program", "argument"])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "only_here.py").write_text("VALUE = 5\n")

    def look() -> Any:
        return os.environ["PYFERRIS_TEST"], "PYTHONSAFEPATH" in os.environ, sys.argv, os.getcwd(), sys.path

    with SafeThreadPool(1, isolation="process") as own:
        assert own.submit(look).result(LIMIT) == (
            "there",
            "PYTHONSAFEPATH" in os.environ,
            ["program", "argument"],
            str(tmp_path),
            sys.path,
        )


# --- maps


def test_map_gives_results_in_order(pool: SafeThreadPool) -> None:
    assert list(pool.map(square, range(500))) == [square(number) for number in range(500)]
    assert list(pool.map(pow, [2, 3], [5, 6])) == [32, 729]
    assert list(pool.map(square, iter(range(100)), buffersize=10)) == [square(number) for number in range(100)]
    assert list(pool.map(square, range(7), chunksize=3)) == [square(number) for number in range(7)]


def test_map_errors_name_the_item(pool: SafeThreadPool) -> None:
    results = pool.map(lambda number: 1 // number, [1, 0, 2], return_exceptions=True)
    first, error, last = list(results)
    assert (first, last) == (1, 0)
    assert isinstance(error, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError) as caught:
        list(pool.map(lambda number: 1 // number, [0]))
    assert "item 0" in caught.value.__notes__[0]


def test_map_items_that_cannot_be_copied_fail_alone(pool: SafeThreadPool) -> None:
    results = list(pool.map(repr, [1, LOCK, 3], chunksize=3, return_exceptions=True))
    assert results[0] == "1"
    assert isinstance(results[1], TypeError)
    assert results[2] == "3"


def test_map_results_that_cannot_be_copied_fail_alone(pool: SafeThreadPool) -> None:
    def make(number: int) -> Any:
        return threading.Lock() if number == 1 else number

    results = list(pool.map(make, range(3), chunksize=3, return_exceptions=True))
    assert (results[0], results[2]) == (0, 2)
    assert isinstance(results[1], TypeError)


def test_map_of_a_coroutine_function(pool: SafeThreadPool) -> None:
    async def add(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    assert list(pool.map(add, range(5))) == [1, 2, 3, 4, 5]


def test_closing_a_map_stops_it(single: SafeThreadPool, tmp_path: Path) -> None:
    def hold(_: int) -> None:
        (tmp_path / "begun").touch()
        while True:
            check_cancelled()
            sleep(0.01)

    results = single.map(hold, range(3))
    started(tmp_path / "begun")
    results.close()
    assert single.submit(square, 3).result(LIMIT) == 9


def test_parallel_map_in_processes() -> None:
    results = safe_parallel_map(square, range(20), 2, isolation="process", explain=True)
    assert results == [square(number) for number in range(20)]
    assert results.report.mode == "processes"
    assert asyncio.run(safe_parallel_map_async(square, [3], 1, isolation="process")) == [9]


def test_parallel_map_inside_a_worker_process_is_inline(single: SafeThreadPool) -> None:
    def inside() -> tuple[int, list[int]]:
        return os.getpid(), safe_parallel_map(lambda _: os.getpid(), [1, 2], isolation="process")

    pid, pids = single.submit(inside).result(LIMIT)
    assert pids == [pid, pid]


# --- initializers


def test_what_an_initializer_sets_is_there_for_calls() -> None:
    def initialize(value: str) -> None:
        global STATE
        STATE = value

    def read() -> Any:
        return STATE

    with SafeThreadPool(1, isolation="process", initializer=initialize, initargs=("set",)) as own:
        assert own.submit(read).result(LIMIT) == "set"
        with pytest.raises(BrokenPool):
            own.submit(os._exit, 1).result(LIMIT)
        assert own.submit(read).result(LIMIT) == "set"
    assert STATE is None


@pytest.mark.filterwarnings("ignore")
def test_an_initializer_that_fails_breaks_the_pool(caplog: pytest.LogCaptureFixture) -> None:
    own = SafeThreadPool(1, isolation="process", initializer=refuse, initargs=(9,))
    with pytest.raises(BrokenPool) as caught:
        own.submit(square, 1).result(LIMIT)
    assert isinstance(caught.value.__cause__, Refusal)
    assert caplog.records[0].name == "pyferris"
    with pytest.raises(BrokenPool):
        own.submit(square, 1).result(LIMIT)
    own.shutdown()


def test_an_initializer_that_cannot_travel_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="the initargs"):
        SafeThreadPool(1, isolation="process", initializer=print, initargs=(LOCK,))


# --- what a process says


def test_prints_come_to_the_submitters_stdout(pool: SafeThreadPool) -> None:
    here = io.StringIO()
    with contextlib.redirect_stdout(here):
        said = pool.submit(print, "hello", "there")
    said.result(LIMIT)
    assert here.getvalue() == "hello there\n"


def test_log_records_come_home(pool: SafeThreadPool, caplog: pytest.LogCaptureFixture) -> None:
    def say() -> None:
        logging.getLogger("process.test").warning("number %d", 3)

    pool.submit(say).result(LIMIT)
    assert [(record.name, record.getMessage()) for record in caplog.records] == [("process.test", "number 3")]
    assert caplog.records[0].process != os.getpid()


def test_warnings_come_home() -> None:
    def warn() -> None:
        warnings.warn("careful", UserWarning, stacklevel=1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with SafeThreadPool(1, isolation="process") as own:
            own.submit(warn).result(LIMIT)
    assert [str(each.message) for each in caught] == ["careful"]


def test_what_a_subprocess_of_a_call_prints_does_not_disturb_it(single: SafeThreadPool) -> None:
    def run() -> str:
        return subprocess.run([sys.executable, "-c", "print('sub')"], capture_output=True, text=True).stdout

    assert single.submit(run).result(LIMIT) == "sub\n"


def test_printing_may_lead_to_another_call(single: SafeThreadPool) -> None:
    class Calling(io.StringIO):
        answer = 0

        def write(self, text: str) -> int:
            if not self.answer and text.strip():
                self.answer = single.submit(square, 5).result(LIMIT)
            return len(text)

    here = Calling()
    with contextlib.redirect_stdout(here):
        said = single.submit(print, "x")
    said.result(LIMIT)
    assert here.answer == 25


# --- threads


def test_a_thread_runs_its_target_in_a_process() -> None:
    thread = SafeThread(target=os.getpid, isolation="process")
    thread.start()
    assert thread.get_result(LIMIT) != os.getpid()
    thread.join()


def test_a_threads_arguments_that_cannot_travel_are_refused_by_start() -> None:
    thread = SafeThread(target=repr, args=(LOCK,), isolation="process")
    with pytest.raises(TypeError, match="argument 0 of repr"):
        thread.start()
    assert not thread.is_alive()


def test_a_thread_in_a_process_can_be_cancelled(tmp_path: Path) -> None:
    thread = SafeThread(target=spin, args=(tmp_path / "begun",), isolation="process")
    thread.start()
    started(tmp_path / "begun")
    thread.cancel()
    thread.join()
    assert thread.future.cancelled()


def test_a_threads_overridden_run_is_refused() -> None:
    class Own(SafeThread[None]):
        def run(self) -> None: ...

    with pytest.raises(TypeError, match="needs a target"):
        Own(isolation="process")
    with pytest.raises(TypeError, match="needs a target"):
        SafeThread(isolation="process")


# --- inside


def test_functions_are_not_kept(pool: SafeThreadPool) -> None:
    def local() -> int:
        return 1

    reference = weakref.ref(local)
    assert pool.submit(local).result(LIMIT) == 1
    del local
    gc.collect()
    assert reference() is None


def test_a_shipment_is_made_once_as_long_as_nothing_changes() -> None:
    assert _process_workers.ship(square) is _process_workers.ship(square)


def test_more_functions_than_a_process_keeps(single: SafeThreadPool) -> None:
    functions = [eval(f"lambda: {number}") for number in range(_worker_process.MOST_FUNCTIONS + 10)]
    for _ in range(2):
        assert [single.submit(each).result(LIMIT) for each in functions] == list(range(len(functions)))


def test_processes_is_no_isolation() -> None:
    wrong: Any = "processes"
    with pytest.raises(ValueError, match="'process'"):
        SafeThreadPool(1, isolation=wrong)


def test_the_environment_variable_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYFERRIS_ISOLATION", "none")
    with SafeThreadPool(1, isolation="process") as own:
        assert own.submit(os.getpid).result(LIMIT) == os.getpid()


def test_processes_that_were_started_before_the_first_call() -> None:
    with SafeThreadPool(2, isolation="process") as pool:
        assert pool._processes is not None
        pool._processes.start(2)
        early = {each._process.pid for each in pool._processes._started}
        assert pool.submit(os.getpid).result() in early
        assert len(pool._processes._started) == 1  # which nobody has needed
    assert pool._processes._started == []
    for pid in early:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_errors_name_the_way_and_one_remedy(pool: SafeThreadPool) -> None:
    with pytest.raises(
        TypeError, match=r"the result of .* cannot come back from an isolated worker.*; return plain data"
    ):
        pool.submit(lambda: threading.Lock()).result(LIMIT)
    with pytest.raises(TypeError, match="cannot be sent to an isolated worker: <SafeThreadPool"):
        pool.submit(lambda: pool.submit(abs, -1))
    with pytest.raises(TypeError, match='isolation="interpreter"') as caught:
        pool.submit(len, SafeCounter())
    assert str(caught.value).count("isolation=") == 1


def test_a_worker_is_started_as_this_interpreter_was() -> None:
    program = """
import sys
from pyferris.safe_thread import SafeThreadPool

def flags():
    return sys.flags.optimize, sys.flags.utf8_mode, sys.flags.dev_mode

with SafeThreadPool(1, isolation="process") as pool:
    print(pool.submit(flags).result() == flags(), flags())
"""
    for given, expected in (["-O", "-X", "utf8"], (1, 1, False)), (["-X", "dev", "-X", "utf8=0"], (0, 0, True)):
        done = subprocess.run(
            [sys.executable, *given, "-c", program], capture_output=True, text=True, timeout=LIMIT, check=False
        )
        assert done.stdout.strip() == f"True {expected}", done
