"""Ctrl-C while somebody waits for a pool: in its with block, and when the program ends."""

from __future__ import annotations

import sys

import own_process
import pytest

KINDS = ["none", "process"] + (["interpreter"] if sys.version_info >= (3, 12) else [])

PROGRAM = """
from pyferris import _runtime
from pyferris.safe_thread import *

def spin():
    while True:
        if kind == "none":  # nothing else ends it on a thread
            check_cancelled()

def begun(future):
    while not future.running():
        time.sleep(0.001)
    return future
"""


def run(kind: str, program: str, code: int = 0) -> str:
    return own_process.run(f"{PROGRAM}\nkind = {kind!r}\n{program}", code=code, error=None)


@pytest.mark.parametrize("kind", KINDS)
def test_at_exit_it_ends_the_running_calls(kind: str) -> None:
    said = run(
        kind,
        """
pool = SafeThreadPool(1, isolation=kind)
future = begun(pool.submit(spin))
queued = pool.submit(spin)
future.add_done_callback(lambda each: print("ended", each.cancelled(), queued.cancelled(), flush=True))
press_when(lambda: _runtime.draining)
""",
    )
    if kind == "none":  # the interpreter may stop the worker while it prints
        assert "ended True True".startswith(said)
    else:
        assert said == "ended True True"


@pytest.mark.parametrize("kind", [each for each in KINDS if each != "none"])
def test_at_exit_it_ends_a_call_that_runs_in_a_thread_of_its_own(kind: str) -> None:
    said = run(
        kind,
        """
thread = SafeThread(target=spin, isolation=kind)
thread.start()
press_when(lambda: _runtime.draining)
print("main ends")
""",
    )
    assert said == "main ends"


@pytest.mark.parametrize("kind", KINDS)
def test_in_the_end_of_a_with_block_it_ends_the_running_calls(kind: str) -> None:
    said = run(
        kind,
        """
try:
    with SafeThreadPool(1, isolation=kind) as pool:
        future = begun(pool.submit(spin))
        queued = pool.submit(spin)
        press_when(lambda: pool._closed)
except KeyboardInterrupt:
    concurrent.futures.wait([future, queued], 30)
    print("interrupted", future.cancelled(), queued.cancelled())
""",
    )
    assert said == "interrupted True True"


@pytest.mark.parametrize("kind", KINDS)
def test_in_the_end_of_an_async_with_block(kind: str) -> None:
    said = run(
        kind,
        """
async def main():
    async with SafeThreadPool(1, isolation=kind) as pool:
        globals().update(future=begun(pool.submit(spin)), queued=pool.submit(spin))
        press_when(lambda: pool._closed)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    concurrent.futures.wait([future, queued], 30)
    print("interrupted", future.cancelled(), queued.cancelled())
""",
    )
    assert said == "interrupted True True"


def test_at_exit_a_coroutine_is_not_waited_for() -> None:
    said = run(
        "none",
        """
async def forever():
    await asyncio.sleep(1000)
pool = SafeThreadPool(1)
future = pool.submit(forever)
while not future.running():
    time.sleep(0.001)
press_when(lambda: _runtime.draining)
print("main ends")
""",
    )
    assert said == "main ends"
