"""Own-GIL interpreters made with the standard library's private modules, for tests of what runs in a worker."""

from __future__ import annotations

import marshal
import os
import sys
import textwrap
from typing import Any

import pytest

from pyferris import _environment, _interpreters

needs_interpreters = pytest.mark.skipif(sys.version_info < (3, 12), reason="needs interpreters with a GIL of their own")

_modules: Any = None
if sys.version_info >= (3, 13):
    import _interpreters as _modules
elif sys.version_info >= (3, 12):
    import _xxsubinterpreters as _modules

# What a worker does first: `said` collects what it sends home, `home` is the descriptor where `report` writes.
BOOT = """
import sys
sys.path[:] = {path!r}
from pyferris import _worker
class Said(list):
    pass  # no container that `leave` brings back to what it was
said = Said()
def send(kind, payload):
    said.append((kind, payload))
def report(value):
    import marshal, os
    os.write({home}, marshal.dumps(list(value) if value is said else value))
"""


class Interpreter:
    """One with a GIL of its own; ``run`` executes code there, in one namespace, and raises what it raises."""

    def __init__(self, home: int) -> None:
        self._id = _modules.create("isolated") if sys.version_info >= (3, 13) else _modules.create(isolated=True)
        self.run(BOOT.format(path=sys.path, home=home))

    def run(self, code: str, **given: object) -> None:
        """Run ``code`` with the names ``given``, values with a repr that can be read."""
        code = "\n".join(f"{name} = {value!r}" for name, value in given.items()) + "\n" + textwrap.dedent(code)
        if sys.version_info >= (3, 13):
            problem = _modules.exec(self._id, code)
            if problem is not None:
                raise RuntimeError(problem.errdisplay)
        else:
            _modules.run_string(self._id, code)

    def close(self) -> None:
        _modules.destroy(self._id)


# The first lines of a program of its own.
PREFACE = f"""
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        from interpreters import Interpreter
        from pyferris import _environment, _interpreters
        _interpreters.preload()
        null = os.open(os.devnull, os.O_WRONLY)
        interpreter = Interpreter(null)
        interpreter.run("_worker.enter(environment, send)", environment=_environment.capture())
"""


@pytest.fixture(name="home")
def make_home():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


class Worker:
    """A real interpreter that has entered the environment of the test."""

    def __init__(self, home: tuple[int, int]) -> None:
        self._read = home[0]
        _interpreters.preload()
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


@pytest.fixture(name="worker")
def make_worker(home):
    made = Worker(home)
    yield made
    made.interpreter.close()
