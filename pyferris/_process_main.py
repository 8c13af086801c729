"""What a worker process does: take calls from its connection, one after another, and answer.

The main thread carries out the calls. A second one reads the control connection: a call's number means that this call
is to stop; the end means that the parent is gone. All that is said on the way goes home on the connection of the calls,
in front of the answer.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
import sys
import threading
import time
from multiprocessing import process
from multiprocessing.connection import Connection
from multiprocessing.context import get_spawning_popen
from typing import TYPE_CHECKING, Any

from . import _native, _runtime, _wire, _worker_output
from ._initial_state import initialize, pass_on
from ._worker_calls import call_each
from .errors import CallCancelled
from .future import SafeFuture

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__: list[str] = []

# Answers; smaller numbers are what _messages has.
RESULT, ERROR, CANCELLED = 64, 65, 66
# Calls: one; the pool's initializer; the items of a run of a map.
CALL, INITIALIZE, EACH = 0, 1, 2

LARGE = 1 << 16  # bytes; what is as large is a message of its own, after one that announces it
APART = 128  # added to the kind of the latter
MOST_FUNCTIONS = 64  # that are kept
PATIENCE = 0.2  # seconds from asking a call to stop until it is interrupted
LAST_WORDS = 1.0  # seconds that a call gets when the parent is gone


class Ends:
    """The worker's ends of its connections, which a process that is being started takes with it."""

    def __init__(self, calls: int, control: int) -> None:
        self.descriptors = calls, control

    def __reduce__(self) -> tuple[Any, ...]:
        popen = get_spawning_popen()
        assert popen is not None
        return Ends, tuple(popen.duplicate_for_child(each) for each in self.descriptors)


class Process(process.BaseProcess):
    """What the parent starts, and the child becomes."""

    _start_method = None  # of what a call starts by multiprocessing: as in any program
    init_main_module = False  # calls bring what they need of it

    def __init__(self, ends: Ends, environment: bytes, directory: str, name: str, env: dict[str, str]) -> None:
        super().__init__(target=main, args=(ends, environment, directory), name=name)
        self.env = env  # what the environment has besides the parent's, until the worker enters its pool's

    @staticmethod
    def _Popen(started: Process) -> Any:  # noqa: N802 - the base class's name
        from ._worker_process import launch

        return launch(started)


def main(ends: Ends, environment: bytes, directory: str) -> None:
    """The process's target. Returns when the parent has closed the connections."""
    calls, control = (Connection(each) for each in ends.descriptors)
    _runtime.is_worker_process = True
    worker = Worker(calls, control)
    worker.enter(marshal.loads(environment), directory)
    worker.run()


class Worker:
    """The worker that this process is. Its main thread's, where nothing else is said."""

    def __init__(self, calls: Connection, control: Connection) -> None:
        self._calls = calls
        self._control = control
        self._process = os.getpid()
        self._send_lock = threading.Lock()
        self._functions: dict[int, bytes | Callable[..., Any]] = {}
        self._number = 0  # of the call that runs, or 0
        self._asked = 0  # the call that is to stop; it may be on its way yet
        self._future: SafeFuture[Any] | None = None  # of that call
        self._interruptible = False  # user code runs, which may be interrupted
        self._sending = False  # the main thread is; an interrupt waits
        self._interrupted = False  # meanwhile

    def enter(self, state: dict[str, Any], directory: str) -> None:
        """Take over the environment of the pool's maker, see ``_environment.capture``."""
        signal.signal(signal.SIGINT, self._on_interrupt)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        with contextlib.suppress(OSError):  # it is gone
            os.chdir(directory)
        sys.path[:] = state["path"]
        sys.argv = list(state["argv"])
        sys.dont_write_bytecode = state["dont_write_bytecode"]
        sys.setrecursionlimit(state["recursion_limit"])
        sys.set_int_max_str_digits(state["max_str_digits"])
        os.environ.clear()
        os.environ.update(state["environ"])
        self._set_up_warnings(state["filters"])
        import logging

        _worker_output.set_up_logging(logging, state["log_levels"], state["log_disable"], self.send)
        sys.stdout = _worker_output.TextOutput(1, state["stdout"], self.send)
        sys.stderr = _worker_output.TextOutput(2, state["stderr"], self.send)

    def _set_up_warnings(self, filters: list[tuple[Any, ...]]) -> None:
        import builtins
        import warnings

        warnings.resetwarnings()
        for action, message, category, module, line in filters:
            texts = ["" if part is None else part if isinstance(part, str) else part[0] for part in (message, module)]
            kind = getattr(builtins, category)
            warnings.filterwarnings(action, texts[0], kind, texts[1], line, append=True)

        def show(message: object) -> None:
            _worker_output.send_warning(self.send, message)

        hooked: Any = warnings
        hooked._showwarnmsg_impl = show

    # --- saying

    def send(self, kind: int, payload: bytes) -> None:
        """Say something to the parent. Any thread."""
        if os.getpid() != self._process:  # forked by a call: the connection is not this process's
            if kind in (1, 2, 5, 6):
                os.write(1 if kind in (1, 5) else 2, payload)
            return
        main = threading.get_ident() == threading.main_thread().ident
        if main:
            self._sending = True
        try:
            with self._send_lock:
                if len(payload) < LARGE:
                    self._calls.send_bytes(bytes((kind,)) + payload)
                else:
                    self._calls.send_bytes(bytes((kind | APART,)))
                    self._calls.send_bytes(payload)
        finally:
            if main:
                self._sending = False
        if main and self._interrupted and self._interruptible:
            self._interrupted = False
            raise CallCancelled("this call was asked to stop")

    # --- stopping

    def _on_interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        # Ctrl-C comes to every process of a terminal. What it means is for the parent to say.
        future = self._future
        if not self._interruptible or future is None or not future._stop_requested():
            return
        if self._sending:
            self._interrupted = True
        else:
            raise CallCancelled("this call was asked to stop")

    def _interrupt(self, number: int) -> None:
        if self._number == number:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def _watch(self) -> None:
        """The second thread."""
        while True:
            try:
                number = int.from_bytes(self._control.recv_bytes(), "little")
            except (EOFError, OSError):
                break
            self._asked = number
            self._ask(number)
            with contextlib.suppress(OSError):
                self._control.poll(PATIENCE)
            self._interrupt(number)
        number = self._number
        if number:  # nobody waits for it any more
            self._ask(number)
            self._interrupt(number)
            time.sleep(LAST_WORDS)
            if self._number == number:
                os._exit(1)

    def _ask(self, number: int) -> None:
        future = self._future
        if future is not None and self._number == number:
            future.cancel()

    # --- calls

    def run(self) -> None:
        """Carry out calls until the connection ends."""
        threading.Thread(target=self._watch, name="pyferris-control", daemon=True).start()
        with contextlib.suppress(EOFError, OSError):  # the parent is gone, or has closed the pool
            while True:
                message = self._calls.recv_bytes()
                if not message:  # the pool is closed
                    break
                number, kind, key, blob, name, arguments = marshal.loads(message)
                if arguments is None:
                    arguments = self._calls.recv_bytes()
                self._future = SafeFuture()
                self._future.set_running_or_notify_cancel()
                self._number = number
                try:
                    answer = self._answer(kind, key, blob, name, arguments)
                except CallCancelled:  # it came late
                    answer = CANCELLED, b""
                finally:
                    self._interruptible = False
                    self._number = 0
                self._leave_if_forked()
                self._future.mark_retrieved()
                self.send(*answer)
                del answer, arguments

    def _leave_if_forked(self) -> None:
        if os.getpid() != self._process:
            os._exit(0)  # a call has forked, and both have returned: the parent waits for one answer

    def _answer(self, kind: int, key: int, blob: bytes | None, name: str, arguments: bytes) -> tuple[int, bytes]:
        try:
            function = self._function(key, blob)
            if self._asked == self._number:
                return CANCELLED, b""
            given = _wire.loads(arguments, function)
            data = self._call(kind, function, given, name)
            self._flush()
        except CallCancelled:
            return CANCELLED, b""
        except BaseException as error:
            self._interruptible = False
            self._flush()
            return ERROR, _wire.dumps_error(error)
        return RESULT, data

    def _call(self, kind: int, function: Callable[..., Any], given: Any, name: str) -> bytes:
        assert self._future is not None
        self._interrupted = False
        self._interruptible = True
        result: Any = None
        if kind == CALL:
            result = _native.run_as_current(self._future, function, *given[0], **given[1])
        elif kind == INITIALIZE:
            initialize(function, *given)
        else:
            result = _native.run_as_current(self._future, call_each, function, *given)
        self._interruptible = False
        return _wire.dumps_result(result, f"the result of {name}")

    def _function(self, key: int, blob: bytes | None) -> Callable[..., Any]:
        if blob is not None:
            if len(self._functions) >= MOST_FUNCTIONS:
                self._functions.clear()  # the parent forgets them, too
            self._functions[key] = blob  # as long as it cannot be loaded
        found = self._functions[key]
        if isinstance(found, bytes):
            found = self._functions[key] = _wire.load_function(found)
            pass_on(found)
        return found

    def _flush(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # what the call has put there
                stream.flush()
