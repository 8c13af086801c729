"""Programs with interpreters that have a GIL of their own, each in a process that has the time of one test."""

from __future__ import annotations

import sys
import textwrap

import own_process
import pytest

needs_interpreters = pytest.mark.skipif(sys.version_info < (3, 12), reason="one GIL for all interpreters")

START = """
import pickle, sys, threading
from pyferris.safe_thread import *

if sys.version_info >= (3, 13):
    import _interpreters as interpreters
    make = lambda: interpreters.create("isolated")
else:
    import _xxsubinterpreters as interpreters
    make = lambda: interpreters.create(isolated=True)

class Worker(threading.Thread):
    # A thread that runs a program in an interpreter of its own, with the given objects unpickled under their names.
    def __init__(self, program, **objects):
        super().__init__()
        self.error = None
        self.program = "import pickle\\n" + "".join(
            f"{name} = pickle.loads({pickle.dumps(value)!r})\\n" for name, value in objects.items()
        ) + program
        self.start()

    def run(self):
        number = make()
        try:
            self.error = interpreters.run_string(number, self.program)
        except BaseException as error:
            self.error = error
        finally:
            interpreters.destroy(number)

    def end(self):
        self.join()
        assert self.error is None, self.error

def run_both(program, **objects):
    workers = [Worker(f"me = {i}\\n" + program, **objects) for i in range(2)]
    for worker in workers:
        worker.end()
"""


def run(program: str) -> str:
    """The output of the program, which must succeed."""
    return own_process.run(START + textwrap.dedent(program))
