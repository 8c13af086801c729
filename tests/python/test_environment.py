"""What travels to a worker, and what is done here with what comes home."""

from __future__ import annotations

import io
import logging
import marshal
import os
import sys

from pyferris import _environment
from pyferris._messages import EXTENSION, STDERR, STDOUT, STDOUT_BYTES


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
