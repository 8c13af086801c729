"""Runs a program in a process of its own, with a time limit: for what could crash or hang the tests."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

LIMIT = 60  # seconds that a process may take; none needs more than a few

START = """
import asyncio, concurrent.futures, gc, os, signal, sys, threading, time, _thread
import pyferris, pyferris.safe_thread
from pyferris.errors import CallCancelled, PoolClosed
from pyferris.future import SafeFuture, cancel_requested, check_cancelled, current_future, sleep
from pyferris.thread_pool import SafeThreadPool

def press_when(condition):
    # One Ctrl-C when the condition holds and the main thread has been asleep in the kernel for a while.
    def press():
        asleep = 0
        while asleep < 20:
            with open(f"/proc/self/task/{os.getpid()}/stat") as file:
                state = file.read().rpartition(")")[2].split()[0]
            asleep = asleep + 1 if state == "S" and condition() else 0
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=press, daemon=True).start()

def ctrl_c_in_next_line():
    frame = sys._getframe(1)
    line = frame.f_lineno + 1
    press_when(lambda: frame.f_lineno == line)

def asleep(count):
    # Returns when so many threads other than the calling one have been asleep in the kernel for a while.
    seen = 0
    while seen < 5:
        states = []
        for name in os.listdir("/proc/self/task"):
            if int(name) != threading.get_native_id():
                try:
                    with open(f"/proc/self/task/{name}/stat") as file:
                        states.append(file.read().rpartition(")")[2].split()[0])
                except (FileNotFoundError, ProcessLookupError):
                    pass
        seen = seen + 1 if states.count("S") >= count else 0
        time.sleep(0.001)
"""

FORK = """
import subprocess, warnings
warnings.simplefilter("ignore")  # a fork with threads is what this is about

def in_child(function):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(30)
            code = function() or 0
        except BaseException as error:
            os.write(2, repr(error).encode())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


def run(program: str, *, code: int = 0, error: str | None = "", first: str = "") -> str:
    """The output of the program, which ends by itself, with that exit code, and writes that to stderr.

    ``first`` runs before anything of the package is imported.
    """
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(first) + START + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert done.returncode == code, done
    if error is not None:
        assert done.stderr.strip() == error, done
    return done.stdout.strip()
