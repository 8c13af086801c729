"""One worker process, from its parent's side: started when it is needed, replaced when it died, ended with its thread.

A ``WorkerProcess`` belongs to one thread at a time, which alone calls its methods; ``kill_all`` and what
a fork does aside.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import marshal
import os
import select
import signal
import site
import sys
import time
import weakref
from typing import TYPE_CHECKING, Any

from . import _environment, _native, _runtime, _wire
from ._process_main import APART, CANCELLED, ERROR, LARGE, MOST_FUNCTIONS, RESULT, Ends, Process
from .errors import BrokenPool, CallCancelled

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__: list[str] = []

LOOK = 20  # milliseconds between two looks at whether the call is to stop and the process lives
GRACE = 1.0  # seconds that a call has to end from the moment when it is asked to stop
LAST_WORDS = 5.0  # seconds that a process has to end by itself when it is not needed any more

_processes: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()  # those that may run
_exiting = False


def prepare() -> None:
    """Import what starts processes: at the interpreter's exit, when queued calls still run, that is too late."""
    importlib.import_module("multiprocessing.connection")
    _launcher()


@functools.cache
def _launcher() -> Any:
    launcher: Any = importlib.import_module("loky.backend.popen_loky_posix").Popen

    class Launcher(launcher):  # type: ignore[misc]
        __module__ = f"{__package__}._process_boot"  # the program that it starts

        def __init__(self, process: Process) -> None:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:  # loky thinks that they are there
                    stream.flush()
            self.returncode = None
            self._fds: list[int] = []
            self._launch(process)

    return Launcher


def launch(process: Process) -> Any:
    """Start the process; what stands for it. Raises ``OSError``."""
    try:
        os.getcwd()
    except OSError as error:
        error.strerror = f"{error.strerror}: the working directory is gone; a worker process needs one to start in"
        raise
    try:
        return _launcher()(process)
    except UnboundLocalError as error:  # loky's, as it closes pipes that it could not make
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _environment_of_start() -> dict[str, str]:
    """What the process needs until it has its pool's environment."""
    found = {"PYTHONSAFEPATH": "1"}  # modules beside a script are not its own
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if root not in (*site.getsitepackages(), site.getusersitepackages()):
        found["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), root)))
    # What this interpreter was started with; there is no variable for -b.
    flags = {
        "PYTHONDEVMODE": sys.flags.dev_mode,
        "PYTHONOPTIMIZE": sys.flags.optimize,
        "PYTHONUTF8": sys.flags.utf8_mode,
    }
    found.update((name, str(int(value))) for name, value in flags.items() if value)
    return found


class Job:
    """One call, as it goes to a process: what ``_process_main`` says of kinds, and for messages the function's name."""

    __slots__ = ("arguments", "blob", "kind", "name", "output")

    def __init__(self, kind: int, blob: bytes, name: str, arguments: bytes, output: Any) -> None:
        self.kind = kind
        self.blob = blob
        self.name = name
        self.arguments = arguments
        self.output = output  # the streams that its prints go to


class WorkerProcess:
    """A process that carries out jobs, one at a time."""

    def __init__(self, name: str, environment: bytes, directory: str, first: Job | None) -> None:
        self._name = name
        self._environment = environment
        self._directory = directory
        self._first = first  # what each process does before anything else
        self._process: Any = None
        self._calls: Connection | None = None
        self._control: Connection | None = None
        self._poll: Any = None
        self._functions: dict[bytes, int] = {}  # that the process has
        self._number = 0  # of the last job
        self.busy = False

    def run(self, job: Job) -> bytes:
        """The answer to a job. Raises what the call raised, ``CallCancelled``; ``BrokenPool`` if the process died."""
        self.busy = True
        try:
            if self._process is None:
                self.start()
                if self._first is not None:
                    self._begin(self._first)
            return self._carry_out(job)
        finally:
            self.busy = False

    def begin(self) -> None:
        """Start the process, unless it is, and have it do its first job. Raises what that raised."""
        if self._process is None:
            self.start()
        if self._first is not None:
            self._carry_out(self._first)

    def _begin(self, first: Job) -> None:
        """As ``begin``, where a process takes the place of one that died."""
        try:
            self._carry_out(first)
        except BaseException as error:
            self.end()
            if not isinstance(error, Exception):
                raise
            raise BrokenPool(f"{first.name} failed in the worker process that was to replace one that died") from error

    def start(self) -> None:
        from multiprocessing import connection, process

        ours, theirs = connection.Pipe()
        told, control = connection.Pipe(duplex=False)
        ends = Ends(theirs.fileno(), told.fileno())
        started: Any = Process(ends, self._environment, self._directory, self._name, _environment_of_start())
        # Ctrl-C is the parent's: the process has no handler for it yet.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            started.start()
        except BaseException:
            ours.close()
            control.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            theirs.close()
            told.close()
        children: Any = process
        children._children.discard(started)  # whose end is waited for here
        self._process, self._calls, self._control = started, ours, control
        self._functions = {}
        self._poll = select.poll()
        self._poll.register(ours.fileno(), select.POLLIN)
        _processes.add(self)

    def _carry_out(self, job: Job) -> bytes:
        try:
            kind, payload = self._exchange(job)
        except (EOFError, OSError):
            raise self._died(job) from None
        except BaseException:
            self.kill()  # nobody knows what it would say next
            raise
        if kind == ERROR:
            raise _wire.loads_error(payload)
        if kind == CANCELLED:
            raise CallCancelled("this call was asked to stop")
        return payload

    def _exchange(self, job: Job) -> tuple[int, bytes]:
        """Send the job, pass on what the process says, return the answer."""
        calls = self._calls
        assert calls is not None
        self._number += 1
        self._send(calls, job)
        while True:
            self._wait()
            kind, payload = _receive(calls)
            if kind >= RESULT:
                return kind, payload
            _environment.deliver(kind, payload, *job.output)

    def _send(self, calls: Connection, job: Job) -> None:
        blob: bytes | None = None
        key = self._functions.get(job.blob)
        if key is None:
            if len(self._functions) >= MOST_FUNCTIONS:
                self._functions.clear()
            key = self._functions[job.blob] = self._number
            blob = job.blob
        large = len(job.arguments) >= LARGE
        arguments = None if large else job.arguments
        calls.send_bytes(marshal.dumps((self._number, job.kind, key, blob, job.name, arguments)))
        if large:
            calls.send_bytes(job.arguments)

    def _wait(self) -> None:
        """Return when the process has said something. Ends it if the call does not stop when it is asked to."""
        deadline = 0.0
        while not self._poll.poll(LOOK):
            if self._process.exitcode is not None and not self._poll.poll(0):
                raise EOFError  # what it has started holds the connection
            if deadline:
                if time.monotonic() >= deadline:
                    raise CallCancelled("this call was asked to stop, and its process was ended as it did not")
            elif _native.cancel_requested():
                deadline = time.monotonic() + GRACE
                assert self._control is not None
                self._control.send_bytes(self._number.to_bytes(8, "little"))

    def _died(self, job: Job) -> BaseException:
        if _exiting:
            return CallCancelled("the interpreter is shutting down")
        pid = self._process.pid
        self._process.join(1)
        code = self._process.exitcode
        self.kill()
        if code is None:
            how = "closed its connection"
        elif code < 0:
            how = f"was ended by {signal_name(-code)}"
        else:
            how = f"ended with exit code {code}"
        return BrokenPool(f"the worker process (pid {pid}) that ran {job.name} {how}")

    def kill(self) -> None:
        """End the process at once, if it runs."""
        process = self._process
        if process is None:
            return
        if process.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        self._drop_connections()
        process.join()
        self._process = None
        _processes.discard(self)

    def end(self) -> None:
        """Let the process end: its exit functions run. One that does not come to its end is killed."""
        if self._process is None:
            return
        deadline = time.monotonic() + LAST_WORDS
        with contextlib.suppress(EOFError, OSError):
            self._hear_last_words(deadline)
        self._drop_connections()
        self._process.join(max(0.0, deadline - time.monotonic()))
        self.kill()

    def _hear_last_words(self, deadline: float) -> None:
        """Until it closes its connection: what exit functions and threads print."""
        calls = self._calls
        assert calls is not None
        calls.send_bytes(b"")
        while self._poll.poll(max(0, round(1000 * (deadline - time.monotonic())))):
            kind, payload = _receive(calls)
            if kind < RESULT:
                _environment.deliver(kind, payload, sys.stdout, sys.stderr)

    def _drop_connections(self) -> None:
        for connection in (self._calls, self._control):
            if connection is not None:
                connection.close()
        self._calls = self._control = None

    def kill_at_exit(self) -> None:
        """As ``kill``, where the owner may be waiting. Any thread."""
        process = self._process
        if process is not None and process.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.join()

    def lose(self) -> None:
        """In a forked child: the process is the parent's."""
        self._drop_connections()
        self._process = None


def _receive(calls: Connection) -> tuple[int, bytes]:
    """The kind and content of what the process says next. Blocks."""
    data = calls.recv_bytes()
    kind, payload = data[0], data[1:]
    return (kind & ~APART, calls.recv_bytes()) if kind & APART else (kind, payload)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time one
        return f"signal {number}"


def _kill_all() -> None:
    """At exit. Those of daemon pools are left, or the exit was interrupted."""
    global _exiting
    _exiting = True
    for process in list(_processes):
        process.kill_at_exit()


def _forked() -> None:
    for process in list(_processes):
        process.lose()
    _processes.clear()


_runtime.after_drain(_kill_all)
_runtime.after_fork_in_child(_forked)
atexit.register(_kill_all)
