"""Calls shipped functions where a worker would: in a fresh process, in an interpreter with its own GIL."""

from __future__ import annotations

import importlib
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyferris import _shipping, _wire

PACKAGE = str(Path(_wire.__file__).parent.parent)

SERVE = """
import struct, sys
def call(blob, arguments):
    from pyferris import _wire
    try:
        function = _wire.load_function(blob)
        args, keywords = _wire.loads(arguments, function)
        return b"R" + _wire.dumps_result(function(*args, **keywords), "the result")
    except BaseException as error:
        return b"E" + _wire.dumps_error(error)
"""

PROCESS = """
source, target = sys.stdin.buffer, sys.stdout.buffer
sys.stdout = sys.stderr
while True:
    head = source.read(8)
    if len(head) < 8:
        break
    sizes = struct.unpack("<II", head)
    answer = call(source.read(sizes[0]), source.read(sizes[1]))
    target.write(struct.pack("<I", len(answer)) + answer)
    target.flush()
"""


def outcome(answer: bytes) -> Any:
    if answer[:1] == b"R":
        return _wire.loads(answer[1:])
    raise _wire.loads_error(answer[1:])


class Elsewhere:
    """``there(function, *args, **keywords)``: as a worker would do it; what it returns comes back, or is raised."""

    def __call__(self, function: Callable[..., Any], /, *args: Any, **keywords: Any) -> Any:
        return self.send(_shipping.ship(function).blob, *args, **keywords)

    def send(self, blob: bytes, *args: Any, **keywords: Any) -> Any:
        return outcome(self.exchange(blob, _wire.dumps((args, keywords), "the arguments")))

    def exchange(self, blob: bytes, arguments: bytes) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Process(Elsewhere):
    def __init__(self) -> None:
        start = f"import sys; sys.path[:] = {[path for path in sys.path if path]!r}\n"
        self._child = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-c", start + SERVE + PROCESS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def exchange(self, blob: bytes, arguments: bytes) -> bytes:
        source, target = self._child.stdout, self._child.stdin
        assert source is not None
        assert target is not None
        target.write(struct.pack("<II", len(blob), len(arguments)) + blob + arguments)
        target.flush()
        return source.read(*struct.unpack("<I", source.read(4)))

    def close(self) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        assert self._child.wait(30) == 0
        self._child.stdout.close()


class Interpreter(Elsewhere):
    def __init__(self, folder: Path) -> None:
        import _ctypes  # what an interpreter loads, the main one has loaded
        import _datetime
        import _decimal
        import _elementtree
        import _zoneinfo
        import pyexpat

        del _ctypes, _datetime, _decimal, _elementtree, _zoneinfo, pyexpat
        self._answer = folder / "answer"
        if sys.version_info >= (3, 13):
            self._made: Any = importlib.import_module("_interpreters")
            self._number = self._made.create("isolated")
        else:
            self._made = importlib.import_module("_xxsubinterpreters")
            self._number = self._made.create(isolated=True)
        self._run(f"import sys; sys.path[:] = {[path for path in sys.path if path]!r}\n" + SERVE)

    def _run(self, program: str, **shared: Any) -> None:
        failed = self._made.run_string(self._number, program, shared)
        assert failed is None, failed

    def exchange(self, blob: bytes, arguments: bytes) -> bytes:
        program = f"with open({str(self._answer)!r}, 'wb') as file: file.write(call(blob, arguments))"
        self._run(program, blob=blob, arguments=arguments)
        return self._answer.read_bytes()

    def close(self) -> None:
        self._made.destroy(self._number)


KINDS = ["process", "interpreter"] if sys.version_info >= (3, 12) else ["process"]


def make(kind: str, folder: Path) -> Elsewhere:
    return Process() if kind == "process" else Interpreter(folder)


class App:
    """Makes modules of an application, in a folder of which a worker does not know."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []

    def __call__(self, name: str, source: str) -> Any:
        path = self.folder.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        self.names.append(name)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    def package(self, name: str) -> Any:
        path = self.folder / name
        path.mkdir(exist_ok=True)
        (path / "__init__.py").touch()
        self.names.append(name)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    def forget(self) -> None:
        for name in self.names:
            sys.modules.pop(name, None)
