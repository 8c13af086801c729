"""What importing the package, and using it without an event loop, does not import; and that it is there when needed."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import Any

import own_process
import pytest

from pyferris import _runtime
from pyferris.safe_thread import SafeThreadPool

SLOW = ("asyncio", "dataclasses", "inspect", "multiprocessing", "ssl", "subprocess")


def without_event_loops(program: str) -> str:
    """Run it in a process that has imported nothing else; what it prints."""
    return own_process.run(
        "",
        first=f"""
import sys
before = set(sys.modules)
from pyferris.safe_thread import *
def nothing_slow():
    slow = [name for name in {SLOW!r} if name in sys.modules and name not in before]
    assert not slow, slow
{program}
""",
    )


def test_a_program_without_event_loops_is_spared_asyncio() -> None:
    without_event_loops(
        """
with SafeThreadPool(2) as pool:
    assert pool.submit(lambda x: x + 1, 1).result() == 2
    assert list(pool.map(abs, [-1, 2])) == [1, 2]
    future = pool.submit(abs, -1)
    future.add_done_callback(print)
    future.result()
    try:
        pool.submit(int, "x").result()
    except ValueError:
        pass
    cancelled = SafeFuture()
    cancelled.cancel()
    try:
        cancelled.result()
    except __import__("concurrent.futures").futures.CancelledError:
        pass
thread = SafeThread(target=lambda: 3)
thread.start()
assert thread.future.result() == 3
assert safe_parallel_map(abs, [-1, 2]) == [1, 2]
assert safe_parallel_map(abs, [-1, 2], isolation="none", explain=True).report.items == 2
assert safe_thread_decorator(lambda x: x)(5).result() == 5
try:
    with SafeThreadPool(1):
        raise KeyboardInterrupt
except KeyboardInterrupt:
    pass
nothing_slow()
"""
    )


@pytest.mark.parametrize("outcome", ["set_result(1)", "set_exception(KeyError())", "cancel()"])
def test_a_future_that_was_made_before_asyncio_was_imported(outcome: str) -> None:
    without_event_loops(
        f"""
done, pending = SafeFuture(), SafeFuture()
done.{outcome}
nothing_slow()
import asyncio
async def main():
    asyncio.get_running_loop().call_soon(lambda: pending.{outcome})
    return await asyncio.gather(done, pending, return_exceptions=True)
first, second = asyncio.run(main())
assert type(first) is type(second) and type(first).__name__ in ("int", "KeyError", "CancelledError")
assert not isinstance(first, BaseException) or type(first) in (KeyError, asyncio.CancelledError), type(first)
"""
    )


def test_the_first_coroutine_of_all_at_exit_is_refused() -> None:
    said = without_event_loops(
        """
from pyferris import _runtime
async def coroutine():
    return 1
def late():
    while not _runtime.draining:
        sleep(0.001)
    try:
        pool.submit(coroutine)
    except PoolClosed as error:
        print(error)
pool = SafeThreadPool(1)
pool.submit(late)
nothing_slow()
"""
    )
    assert said == "cannot submit to this pool: the interpreter is shutting down"


def returns() -> None: ...


async def awaits() -> None: ...


class Waiting:
    async def __call__(self) -> None: ...

    async def wait(self) -> None: ...

    def go(self) -> None: ...


@functools.wraps(awaits)
def wraps() -> Any:
    return awaits()


@functools.cache
def cached() -> None: ...


KINDS: list[tuple[Any, bool]] = [
    (returns, False),
    (awaits, True),
    (functools.partial(functools.partial(awaits)), True),
    (functools.partial(returns), False),
    (Waiting().wait, True),
    (Waiting().go, False),
    (functools.partial(Waiting().wait), True),
    (Waiting(), True),
    (functools.partial(Waiting()), True),
    (Waiting, False),
    (wraps, False),
    (cached, False),
    (len, False),
    ([].append, False),
    (str.upper, False),
]


@pytest.mark.parametrize(("function", "expected"), KINDS)
def test_what_is_a_coroutine_function(function: Any, expected: bool) -> None:
    assert _runtime.is_coroutine_function(function) is expected
    if not isinstance(getattr(function, "func", function), Waiting):  # which inspect takes for none
        assert inspect.iscoroutinefunction(function) is expected


@pytest.mark.skipif(sys.version_info < (3, 12), reason="inspect.markcoroutinefunction is of Python 3.12")
def test_a_function_marked_as_a_coroutine_function() -> None:
    marked = inspect.markcoroutinefunction(lambda: awaits())
    assert _runtime.is_coroutine_function(marked)
    assert _runtime.is_coroutine_function(functools.partial(marked))
    with SafeThreadPool(1) as pool:
        assert pool.submit(marked).result() is None
