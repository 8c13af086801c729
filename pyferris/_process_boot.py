"""The program of a worker process: ``python -m pyferris._process_boot --process-name NAME --pipe DESCRIPTOR``.

loky's launcher starts it, in place of a program of its own that would import all of loky, and half as long again. What
comes through the pipe is what that one takes as well: two pickles, a dict of what the parent has set, and a process.
"""

import contextlib
import os
import pickle
import sys
from multiprocessing import process, resource_tracker, spawn
from typing import Any

__all__: list[str] = []


def main() -> int:
    """Become the process that comes through the pipe; its exit code when it is over."""
    parent: Any = process.current_process()
    with open(int(sys.argv[sys.argv.index("--pipe") + 1]), "rb") as source:
        parent._inheriting = True
        try:
            settings = pickle.load(source)
            spawn.prepare(settings)
            # Shared memory that a call opens is the parent's: only its tracker may free it.
            tracker: Any = resource_tracker._resource_tracker
            tracker._fd = settings.get("mp_tracker_fd")
            started = pickle.load(source)
        finally:
            del parent._inheriting
    return int(started._bootstrap())


if __name__ == "__main__":
    code = main()
    # As the interpreter's end from here on, but for the freeing of memory, which the parent would wait for.
    import atexit

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        if stream is not None:
            with contextlib.suppress(Exception):  # nobody is there to hear it
                stream.flush()
    os._exit(code)
