"""What a worker interpreter takes over, and what it says."""

from __future__ import annotations

import io
import logging
import marshal
import os
import subprocess
import sys
import warnings

import pytest
from interpreters import make_home, make_worker, needs_interpreters

from pyferris import _environment
from pyferris._messages import EXTENSION, LOG, STDERR, STDOUT, WARNING

__all__ = ["make_home", "make_worker"]


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
