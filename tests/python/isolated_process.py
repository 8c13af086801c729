"""Programs with pools of interpreters, each in a process of its own: what they all begin with."""

from __future__ import annotations

import own_process

START = """
from pyferris.errors import BrokenPool
from pyferris.safe_thread import *

def isolated(workers=1, **options):
    return SafeThreadPool(workers, isolation="interpreter", **options)

def add(one, other=0):
    return one + other

def outcome(future):
    try:
        return future.result(50)
    except BaseException as error:
        return type(error).__name__

def forever(queue):
    queue.push(1)
    while True:
        pass

def blocked(queue):  # in C code that nothing interrupts, without the GIL
    import _thread
    lock = _thread.allocate_lock()
    lock.acquire()
    queue.push(1)
    lock.acquire()

def hogging(queue):  # in C code that nothing interrupts, with the GIL
    queue.push(1)
    sum(range(10**13))

def stubborn(queue):  # will not be interrupted
    queue.push(1)
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass

queue = SafeQueue()
"""


def run(program: str, *, code: int = 0, error: str | None = "", first: str = "") -> str:
    """The output of the program, which ends by itself, as of ``own_process.run``."""
    return own_process.run("\n" + START + program, code=code, error=error, first=first)
