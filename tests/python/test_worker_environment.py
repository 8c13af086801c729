"""What a worker interpreter takes over, what it says, and that nothing of one pool is left for the next."""

from __future__ import annotations

import io
import logging
import marshal
import os
import subprocess
import sys
import warnings

import pytest
from interpreters import SUPPORTED, Interpreter
from own_process import run

from pyferris import _environment
from pyferris._messages import EXTENSION, LOG, STDERR, STDOUT, STDOUT_BYTES, WARNING

needs_interpreters = pytest.mark.skipif(not SUPPORTED, reason="needs interpreters with a GIL of their own")


# The first lines of a program of its own.
PREFACE = f"""
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        from interpreters import Interpreter
        from pyferris import _environment
        _environment.preload()
        null = os.open(os.devnull, os.O_WRONLY)
        interpreter = Interpreter(null)
        interpreter.run("_worker.enter(environment, send)", environment=_environment.capture())
"""


# --- the main interpreter's side


def test_the_environment_has_the_path_the_arguments_and_the_log_levels(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["program", "-x"])
    monkeypatch.setenv("PYFERRIS_TEST", "grün")
    monkeypatch.setattr(logging.getLogger("environment.test"), "level", 13)
    state = marshal.loads(_environment.capture())
    assert state["path"] == sys.path
    assert state["argv"] == ["program", "-x"]
    assert state["environ"] == dict(os.environ)
    assert state["log_levels"]["environment.test"] == 13
    assert state["recursion_limit"] == sys.getrecursionlimit()


def test_a_disabled_logger_lets_nothing_through(monkeypatch):
    monkeypatch.setattr(logging.getLogger("environment.off"), "disabled", True)
    assert marshal.loads(_environment.capture())["log_levels"]["environment.off"] > logging.CRITICAL


def test_the_environment_of_a_program_without_streams_can_be_captured(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    _environment.capture()


def test_prints_are_written_to_the_streams_given():
    out, err = io.StringIO(), io.StringIO()
    _environment.deliver(STDOUT, "grün\ud800".encode("utf-8", "surrogatepass"), out, err)
    _environment.deliver(STDERR, b"oh", out, err)
    _environment.deliver(STDOUT_BYTES, b"\xff", out, err)
    assert (out.getvalue(), err.getvalue()) == ("grün\ud800\ufffd", "oh")


def test_delivery_never_raises():
    closed = io.StringIO()
    closed.close()
    for kind in range(9):
        for payload in (b"", b"\xff\xff", marshal.dumps(3)):
            _environment.deliver(kind, payload, closed, closed)


def test_delivery_to_an_entered_context_works():
    import contextvars

    variable = contextvars.ContextVar[int]("variable", default=0)
    context = contextvars.copy_context()
    context.run(variable.set, 5)
    seen = []

    class Stream(io.StringIO):
        def write(self, text: str, /) -> int:
            seen.append((variable.get(), text))
            return len(text)

    context.run(_environment.deliver_to, STDOUT, b"x", (Stream(), Stream()), context)
    assert seen == [(5, "x")]


def test_an_extension_is_imported_here_when_a_worker_asks():
    import _bisect

    assert _environment.answer(EXTENSION, marshal.dumps(("_bisect", _bisect.__spec__.origin))) == b""
    assert b"from" in _environment.answer(EXTENSION, marshal.dumps(("_bisect", "/elsewhere/_bisect.so")))
    assert b"No module" in _environment.answer(EXTENSION, marshal.dumps(("no_such_module", "/x.so")))
    assert b"something else" in _environment.answer(EXTENSION, marshal.dumps(("textwrap", "/x.so")))


# --- the worker's side


@pytest.fixture
def home():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


class Worker:
    """A real interpreter that has entered the environment of the test."""

    def __init__(self, home: tuple[int, int]) -> None:
        self._read = home[0]
        _environment.preload()
        self.interpreter = Interpreter(home[1])

    def enter(self, code: str = "", request: str = "None") -> None:
        self.interpreter.run(
            f"_worker.enter(environment, send, {request})\n" + code, environment=_environment.capture()
        )

    def ask(self, code: str, **given: object) -> object:
        self.interpreter.run(code, **given)
        return marshal.loads(os.read(self._read, 1 << 16))

    def said(self) -> list[tuple[int, bytes]]:
        found = self.ask("_worker.flush(); report(said); said.clear()")
        assert isinstance(found, list)
        return [(kind, payload) for kind, payload in found if kind]

    def leave(self) -> bool:
        return self.ask("report(_worker.leave())") is True


@pytest.fixture
def worker(home):
    made = Worker(home)
    yield made
    made.interpreter.close()


@needs_interpreters
def test_a_worker_takes_over_path_arguments_and_limits(worker, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["program", "-x"])
    monkeypatch.setattr(sys, "path", [*sys.path, "/somewhere"])
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 7)
    try:
        worker.enter()
    finally:
        sys.setrecursionlimit(limit)
    found = worker.ask("import sys; report((sys.argv, sys.path[-1], sys.getrecursionlimit()))")
    assert found == (["program", "-x"], "/somewhere", limit + 7)


@needs_interpreters
def test_environ_is_a_private_copy(worker, monkeypatch):
    monkeypatch.setenv("PYFERRIS_TEST", "old")
    worker.enter()
    worker.interpreter.run("""
        import os
        assert os.environ["PYFERRIS_TEST"] == "old"
        os.environ["PYFERRIS_TEST"] = "new"
        os.environ["PYFERRIS_OTHER"] = "1"
        os.putenv("PYFERRIS_OTHER", "2")
        assert os.environ["PYFERRIS_TEST"] == "new"
    """)
    assert os.environ["PYFERRIS_TEST"] == "old"
    # A child gets the environment of the process itself.
    assert subprocess.check_output(["sh", "-c", "echo $PYFERRIS_TEST$PYFERRIS_OTHER"]) == b"old\n"


@needs_interpreters
def test_prints_come_home_in_order_and_lines_are_whole(worker):
    worker.enter()
    worker.interpreter.run("""
        import sys
        print("a", 1)
        print("b", end="")
        sys.stdout.buffer.write(b"\\xff")
        print("c", file=sys.stderr)
        sys.stdout.write("d")
    """)
    said = worker.said()
    assert b"".join(payload for kind, payload in said if kind != STDERR) == b"a 1\nb\xffd"
    assert [payload for kind, payload in said if kind == STDERR] == [b"c\n"]
    assert worker.said() == []


@needs_interpreters
def test_a_stream_there_is_like_the_one_here(worker, monkeypatch):
    class Terminal(io.StringIO):
        encoding = "ascii"
        errors = "strict"

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    worker.enter()
    worker.interpreter.run("""
        import io, sys
        assert sys.stdout.isatty() and sys.stdout.encoding == "ascii" and sys.stdout.writable()
        for wrong in (lambda: sys.stdout.fileno(), lambda: sys.stdout.write(b""), lambda: print("\\xfc")):
            try:
                wrong()
            except (io.UnsupportedOperation, TypeError, UnicodeEncodeError):
                continue
            raise AssertionError(wrong)
        try:
            input()
        except EOFError:
            pass
    """)


@needs_interpreters
def test_text_that_waits_is_made_known_once(worker):
    worker.enter()
    found = worker.ask("""
        sys.stdout.reconfigure(line_buffering=False)
        sys.stdout._by_line = False
        for _ in range(3):
            sys.stdout.write("x")
        waiting = [kind for kind, _ in said]
        said.clear()
        flushed = _worker.flush(), _worker.flush()
        report((waiting, flushed, list(said)))
    """)
    assert found == ([0], (True, False), [(STDOUT, b"xxx")])


@needs_interpreters
def test_many_threads_print_whole_lines(worker):
    worker.enter()
    worker.interpreter.run("""
        import threading
        def talk(): [sys.stdout.write(f"{i}\\n") for i in range(500)]
        threads = [threading.Thread(target=talk) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        _worker.flush()
        text = b"".join(payload for kind, payload in said if kind == 1)
        said.clear()
        report(sorted(text.split(b"\\n")) == sorted([b"%d" % i for i in range(500)] * 4 + [b""]))
    """)
    assert marshal.loads(os.read(worker._read, 1000)) is True


@needs_interpreters
def test_log_records_come_home_with_the_level_checked_there(worker, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("loud"), "level", logging.DEBUG)
    monkeypatch.setattr(logging.getLogger("quiet"), "level", logging.ERROR)
    worker.enter()
    worker.interpreter.run("""
        assert "logging" not in sys.modules
        import logging
        logging.getLogger("loud.child").debug("%s of %d", "one", 2, extra={"where": (1, {"a": [3]})})
        logging.getLogger("quiet").warning("no")
        logging.basicConfig(level=logging.CRITICAL)
        try:
            1 / 0
        except ZeroDivisionError:
            logging.getLogger("loud").exception("failed", extra={"what": lambda: None})
    """)
    said = worker.said()
    assert [kind for kind, _ in said] == [LOG, LOG]
    for kind, payload in said:
        _environment.deliver(kind, payload, None, None)
    first, second = caplog.records
    assert (first.name, first.getMessage(), first.where) == ("loud.child", "one of 2", (1, {"a": [3]}))
    assert second.exc_text.endswith("ZeroDivisionError: division by zero")
    assert "lambda" in second.what


@needs_interpreters
def test_warnings_come_home_by_the_filters_of_the_parent(worker):
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", message="not .* one")
        warnings.filterwarnings("error", category=BytesWarning)
        worker.enter()
    worker.interpreter.run("""
        import warnings
        class Own(UserWarning): pass
        warnings.warn("this one")
        warnings.warn("not this one")
        warnings.warn(Own("own"))
        try:
            warnings.warn("raised", BytesWarning)
        except BytesWarning:
            pass
        with warnings.catch_warnings(record=True) as caught:
            warnings.warn("caught there")
        assert len(caught) == 1
    """)
    said = worker.said()
    assert [kind for kind, _ in said] == [WARNING, WARNING]
    with warnings.catch_warnings(record=True) as seen:
        for kind, payload in said:
            _environment.deliver(kind, payload, None, None)
    assert [(str(each.message), each.category) for each in seen] == [("this one", UserWarning), ("own", UserWarning)]


@needs_interpreters
def test_random_numbers_differ_between_workers_and_pools(worker):
    found = set()
    for _ in range(3):
        worker.enter()
        found.add(worker.ask("import random; report(random.random())"))
        assert worker.leave()
    assert len(found) == 3


# --- extension modules


@needs_interpreters
def test_a_worker_asks_before_it_loads_an_extension_that_the_main_interpreter_has_not(worker):
    worker.enter(
        """
        asked = []
        def request(kind, payload, timeout):
            import marshal
            asked.append((kind, *marshal.loads(payload)))
            return answer
        answer = b"it does not like it"
        """.replace("        ", ""),
        "lambda *given: request(*given)",
    )
    worker.interpreter.run("from pyferris import _worker_guard; _worker_guard._known.pop('_bisect', None)")
    found = worker.ask("""
        try:
            import _bisect
        except ImportError as error:
            text = str(error)
        answer = b""
        import _bisect, _bisect
        report((text, asked, _bisect.bisect_right([1, 2], 1)))
    """)
    assert isinstance(found, tuple)
    assert "_bisect" in found[0]
    assert "it does not like it" in found[0]
    assert 'isolation="process"' in found[0]
    assert [request[:2] for request in found[1]] == [(EXTENSION, "_bisect")] * 2
    assert found[2] == 1


@needs_interpreters
def test_a_request_that_takes_too_long_is_an_import_error(worker):
    worker.enter("def request(*given): raise TimeoutError\n", "lambda *given: request(*given)")
    found = worker.ask("""
        from pyferris import _worker_guard
        _worker_guard._known.pop("_bisect", None)
        try:
            import _bisect
        except ImportError as error:
            report(str(error))
    """)
    assert "longer than 60 s" in str(found)


@needs_interpreters
def test_an_extension_that_refuses_interpreters_names_the_remedy(worker):
    pytest.importorskip("numpy")
    worker.enter()
    found = worker.ask("""
        try:
            import numpy
        except ImportError as error:
            report(str(error))
    """)
    assert 'isolation="process"' in str(found)


@needs_interpreters
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="a bug of 3.12")
def test_zoneinfo_is_the_python_version_where_the_other_breaks_the_process(worker):
    import zoneinfo  # noqa: F401 - the main interpreter has it

    worker.enter()
    assert worker.ask("import zoneinfo; report('_zoneinfo' in sys.modules)") is False


@needs_interpreters
def test_the_signal_handlers_of_the_process_are_not_handed_out(worker):
    worker.enter()
    worker.interpreter.run("""
        import signal, _signal
        assert signal.getsignal(signal.SIGINT) is None and _signal.getsignal(2) is None
        try:
            signal.getsignal(0)
        except ValueError:
            pass
        import asyncio
        async def one(): return 1
        assert asyncio.run(one()) == 1
    """)


# --- between two pools


@needs_interpreters
def test_nothing_of_a_pool_is_left_for_the_next(worker):
    worker.enter()
    worker.interpreter.run("report((sorted(sys.modules), sorted(vars(sys)), sorted(vars(__builtins__))))")
    before = marshal.loads(os.read(worker._read, 1 << 16))
    worker.interpreter.run("""
        import atexit, builtins, codecs, collections, collections.abc, decimal, functools, gc, logging, os, random, types, warnings
        builtins.own = os.own = sys.own = collections.abc.own = 1
        builtins.len = os.getcwd = lambda *given: 7
        sys.modules["own"] = types.ModuleType("own")
        sys.path.append("/own")
        sys.meta_path.insert(0, type("Finder", (), {"find_spec": staticmethod(lambda *given: None)}))
        sys.path_hooks.append(print)
        sys.settrace(lambda *given: None)
        sys.setrecursionlimit(5000)
        sys.set_int_max_str_digits(0)
        os.environ["OWN"] = "1"
        os.environ.pop("PATH", None)
        decimal.getcontext().prec = 3
        random.seed(1)
        gc.disable()
        gc.callbacks.append(lambda *given: None)
        logging.getLogger("own").setLevel(1)
        logging.raiseExceptions = False
        warnings.simplefilter("error")
        sys.stdout = None
        atexit.register(report, "exit function")
        del atexit, builtins, codecs, collections, decimal, functools, gc, logging, os, random, types, warnings
    """)
    worker.interpreter.run("usable = _worker.leave()")
    assert marshal.loads(os.read(worker._read, 1000)) == "exit function"
    assert worker.ask("report(usable)") is True
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        worker.enter()
    worker.interpreter.run("report((sorted(sys.modules), sorted(vars(sys)), sorted(vars(__builtins__))))")
    assert marshal.loads(os.read(worker._read, 1 << 16)) == before
    worker.interpreter.run("""
        import decimal, gc, os, warnings
        assert len([1]) == 1 and os.getcwd() != 7 and "/own" not in sys.path and print not in sys.path_hooks
        assert "OWN" not in os.environ and "PATH" in os.environ
        assert decimal.getcontext().prec == 28 and gc.isenabled() and not gc.callbacks and sys.gettrace() is None
        assert "own" not in sys.modules and len(sys.meta_path) == len({id(each) for each in sys.meta_path})
        assert all(type(each).__name__ != "Finder" and each.__name__ != "Finder" for each in sys.meta_path if isinstance(each, type))
        warnings.warn("no error")
        import logging
        assert logging.raiseExceptions and logging.getLogger("own").level == 0
    """)


@needs_interpreters
def test_an_interpreter_with_a_thread_that_goes_on_is_not_used_again():
    # In a process of its own: such an interpreter cannot be ended.
    run(
        PREFACE
        + """
        interpreter.run('''
        import _thread
        stop, started = _thread.allocate_lock(), _thread.allocate_lock()
        stop.acquire()
        started.acquire()
        _thread.start_new_thread(lambda: (started.release(), stop.acquire()), ())
        started.acquire()
        assert not _worker.leave()
        ''')
        os._exit(0)
        """
    )


@needs_interpreters
def test_an_executor_left_open_does_not_keep_an_interpreter(worker):
    worker.enter()
    worker.interpreter.run("""
        from concurrent.futures import ThreadPoolExecutor
        executor = ThreadPoolExecutor(2)
        assert list(executor.map(abs, [-1, -2, -3])) == [1, 2, 3]
    """)
    assert worker.leave()


@needs_interpreters
def test_an_exit_function_that_fails_says_so_at_home(worker):
    worker.enter()
    worker.interpreter.run("import atexit; atexit.register(lambda: 1 / 0)")
    assert worker.leave()
    assert b"ZeroDivisionError" in b"".join(payload for kind, payload in worker.said() if kind == STDERR)


@needs_interpreters
def test_an_interpreter_does_not_grow_from_pool_to_pool(worker):
    def pages() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1])

    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc")
    for round_number in range(40):
        worker.enter()
        worker.interpreter.run("import collections, datetime, decimal, json, logging, random")
        assert worker.leave()
        if round_number == 10:
            before = pages()
    assert (pages() - before) * os.sysconf("SC_PAGESIZE") < 3 << 20


@needs_interpreters
def test_little_is_imported_in_a_worker(worker):
    worker.enter()
    found = worker.ask("report(sorted(sys.modules))")
    assert not {"typing", "logging", "threading", "asyncio", "re", "random", "pickle"} & set(found)  # type: ignore[call-overload]


@needs_interpreters
def test_workers_and_the_main_interpreter_import_at_once_without_harm():
    # In a process of its own: what goes wrong here ends the process, or its exit.
    run(
        PREFACE
        + """
        code = '''
        for _ in range(5):
            _worker.enter(environment, send, lambda kind, payload, timeout: b"")
            import asyncio, collections, datetime, decimal, json, re
            assert json.loads(json.dumps({"a": [1.5]})) == {"a": [1.5]}
            async def one(): return str(datetime.datetime.now() + datetime.timedelta(1)), decimal.Decimal(2).sqrt()
            asyncio.run(one())
            del asyncio, collections, datetime, decimal, json, re, one
            assert _worker.leave()
        '''
        import json, _asyncio, _ssl, _random, math, select, _struct, _bisect, _heapq, _contextvars, _socket, hashlib
        import _pickle, asyncio
        environment = _environment.capture()
        interpreter.close()
        def work():
            interpreter = Interpreter(null)
            interpreter.run(code, environment=environment)
            interpreter.close()
        threads = [threading.Thread(target=work) for _ in range(2)]
        [thread.start() for thread in threads]
        import csv, decimal, datetime, sqlite3, unittest.mock, xml.etree.ElementTree
        [thread.join() for thread in threads]
    """
    )
