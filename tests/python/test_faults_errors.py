"""Exceptions of every kind, wherever user code is called; recursion without end."""

from __future__ import annotations

import pytest
from own_process import run

# Each gives a new exception. What is raised by `throw` is what a call, a callback or an iterable meets.
KINDS = """
import logging
logging.disable()

class NoText(Exception):
    def __str__(self):
        raise RuntimeError("no text")
    __repr__ = __str__

class NeedsMore(Exception):
    def __init__(self, one, two):
        pass

class Falsy(Exception):
    def __bool__(self):
        return False
    def __eq__(self, other):
        raise RuntimeError("not comparable")
    __hash__ = None

class Frozen(Exception):
    def __setattr__(self, name, value):
        raise AttributeError(name)

class NotMade(Exception):
    def __init__(self):
        raise KeyError("made something else")

def cycle():
    error = ValueError("cycle")
    error.__context__ = error2 = ValueError("other")
    error2.__cause__ = error
    return error

KINDS = [
    lambda: ValueError("plain"), lambda: SystemExit(3), KeyboardInterrupt, GeneratorExit, lambda: StopIteration(5),
    StopAsyncIteration, MemoryError, RecursionError, CallCancelled, asyncio.CancelledError,
    concurrent.futures.CancelledError, TimeoutError, concurrent.futures.InvalidStateError, asyncio.InvalidStateError,
    lambda: ExceptionGroup("group", [ValueError(1), TypeError(2)]),
    lambda: BaseExceptionGroup("group", [KeyboardInterrupt(), ValueError()]),
    lambda: UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), lambda: OSError(2, "none", "name"), NoText,
    lambda: NeedsMore(1, 2), Falsy, Frozen, cycle, lambda: PoolClosed("not this pool"),
]

def throw(make):
    raise make()
"""
CANCELS = "(CallCancelled,)"  # a call that ends by this was cancelled


def check(program: str, output: str = "done", error: str | None = "") -> None:
    assert run(KINDS + program, error=error) == output


def test_a_call_ends_with_what_it_raised() -> None:
    check(f"""
with SafeThreadPool(1) as pool:
    worker = pool.submit(threading.get_ident).result()
    for make in KINDS:
        wanted = make()
        future = pool.submit(throw, make)
        if isinstance(wanted, {CANCELS}):
            concurrent.futures.wait([future], 30)
            assert future.cancelled()
        else:
            error = future.exception(30)
            assert type(error) is type(wanted), (error, wanted)
            try:
                future.result()
            except BaseException as raised:
                assert raised is error
        assert pool.submit(threading.get_ident).result(30) == worker
    assert type(pool.submit(throw, NotMade).exception(30)) is KeyError
print("done")
""")


def test_a_map_ends_with_what_an_item_raised() -> None:
    check("""
with SafeThreadPool(2) as pool:
    for make in KINDS:
        wanted = make()
        results = pool.map(lambda n: throw(make) if n == 2 else n, range(5))
        try:
            list(results)
        except BaseException as error:
            if isinstance(wanted, StopIteration):
                assert isinstance(error, (StopIteration, RuntimeError)), repr(type(error))
            elif not isinstance(wanted, (CallCancelled, asyncio.CancelledError)):
                assert type(error) is type(wanted), (type(error), type(wanted))
        else:
            assert isinstance(wanted, StopIteration), type(wanted)
        assert pool.submit(int, 4).result(30) == 4
        def items():
            yield 1
            raise make()
        try:
            list(pool.map(int, items()))
        except BaseException as error:
            assert type(error) in (type(wanted), RuntimeError), (type(error), type(wanted))
        else:
            raise AssertionError(wanted)
print("done")
""")


def test_a_coroutine_ends_with_what_it_raised() -> None:
    check("""
async def fail(make):
    await asyncio.sleep(0)
    raise make()
with SafeThreadPool(1) as pool:
    for make in KINDS:
        wanted = make()
        future = pool.submit(fail, make)
        if isinstance(wanted, (CallCancelled, asyncio.CancelledError)):
            concurrent.futures.wait([future], 30)
            assert future.cancelled()
        elif isinstance(wanted, (StopIteration, StopAsyncIteration)):
            assert isinstance(future.exception(30), (RuntimeError, type(wanted)))
        else:
            assert type(future.exception(30)) is type(wanted), wanted
print("done")
""")


def test_an_awaiter_gets_what_the_call_raised() -> None:
    check("""
async def main():
    for make in KINDS:
        wanted = make()
        if isinstance(wanted, (CallCancelled, SystemExit, KeyboardInterrupt)):
            continue  # cancels the future; ends the loop
        try:
            await pool.submit(throw, make)
        except BaseException as error:
            assert type(error) is (RuntimeError if isinstance(wanted, StopIteration) else type(wanted)), type(error)
        else:
            raise AssertionError(wanted)
pool = SafeThreadPool(1)
asyncio.run(main())
for kind in (SystemExit, KeyboardInterrupt):
    async def leave():
        await pool.submit(throw, kind)
    try:
        asyncio.run(leave())
    except kind:
        pass
    else:
        raise AssertionError(kind)
pool.shutdown()
print("done")
""")


@pytest.mark.parametrize("where", ["on the worker", "at once", "on cancel", "of a promise"])
def test_a_callback_that_raises_stops_no_other(where: str) -> None:
    check(
        f"""
where = {where!r}
with SafeThreadPool(1) as pool:
    for make in KINDS:
        gate, started, seen, after = threading.Event(), threading.Event(), [], threading.Event()
        if where == "of a promise":
            future = SafeFuture()
        else:
            busy = pool.submit(lambda: (started.set(), gate.wait()))
            started.wait()
            future = pool.submit(int, 3) if where == "on cancel" else busy
        if where == "at once":
            gate.set()
            future.result(30)
        try:
            future.add_done_callback(lambda done: seen.append(1))
            future.add_done_callback(lambda done: throw(make))
            future.add_done_callback(lambda done: (seen.append(2), after.set()))
            if where == "on cancel":
                assert future.cancel()
            elif where == "of a promise":
                future.set_result(3)
        except (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, CallCancelled) as error:
            raise AssertionError((where, error))
        gate.set()
        assert after.wait(30)
        assert seen == [1, 2]
        assert pool.submit(int, 4).result(30) == 4
print("done")
""",
        error=None,
    )


def test_a_thread_ends_with_what_its_target_raised() -> None:
    check(
        f"""
hooked = []
threading.excepthook = lambda args: hooked.append(args.exc_type)
for make in KINDS:
    wanted = make()
    thread = pyferris.SafeThread(target=throw, args=(make,))
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    if isinstance(wanted, {CANCELS}):
        assert thread.future.cancelled()
        continue
    assert type(thread.get_exception(0)) is type(wanted)
    assert hooked.count(type(wanted)) >= (not isinstance(wanted, SystemExit)), wanted
for make in KINDS:
    threading.excepthook = lambda args: throw(make)
    thread = pyferris.SafeThread(target=throw, args=(ValueError,))
    thread.start()
    assert type(thread.get_exception(30)) is ValueError
    thread.join()
print("done")
""",
        error=None,
    )


def test_an_initializer_that_raises_loses_no_future() -> None:
    check(
        """
for make in KINDS:
    pool = SafeThreadPool(2, initializer=throw, initargs=(make,))
    futures = []
    try:
        for number in range(10):
            futures.append(pool.submit(int, number))
    except pyferris.BrokenPool:
        pass
    concurrent.futures.wait(futures, 30)
    assert futures and all(type(future.exception(0)) is pyferris.BrokenPool for future in futures)
    assert pool.shutdown(timeout=30)
print("done", threading.active_count())
""",
        "done 1",
    )


@pytest.mark.parametrize("size", [0, 256 * 1024, 64 * 1024 * 1024])
def test_recursion_without_end_goes_into_the_future(size: int) -> None:
    check(
        f"""
threading.stack_size({size})
def deep(n):
    return deep(n + 1)
class Deep:
    def __getattr__(self, name):
        return getattr(self, name + "x")
def through_c(n):
    return sorted([n], key=lambda _: through_c(n + 1))
calls = [lambda: deep(0)] if {size} == 256 * 1024 else [lambda: deep(0), lambda: through_c(0), lambda: Deep().attribute]
if {size} == 64 * 1024 * 1024:
    sys.setrecursionlimit(20_000)
    calls = calls[:1]
with SafeThreadPool(2) as pool:
    for call in calls:
        for _ in range(3):
            assert type(pool.submit(call).exception(50)) is RecursionError
        assert pool.map(lambda _: call(), [1], return_exceptions=True)[0].__class__ is RecursionError
        thread = pyferris.SafeThread(target=call)
        threading.excepthook = lambda args: None
        thread.start()
        assert type(thread.get_exception(50)) is RecursionError
    print(pool.submit(int, 6).result(30))
""",
        "6",
    )


@pytest.mark.parametrize("size", [0, 1024 * 1024])
@pytest.mark.parametrize("call", ["pool.submit(nest).result()", "list(pool.map(lambda _: nest(), [1]))"])
def test_calls_that_wait_for_such_calls_without_end(size: int, call: str) -> None:
    """Each is run inside the one that waits for it; the stack does not end before the recursion does."""
    check(
        f"""
threading.stack_size({size})
def nest():
    return {call}
def innermost(error):
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, RecursionError):
            return True
        error = error.__cause__ or error.__context__
    return False
with SafeThreadPool(1) as pool:
    for _ in range(3):
        assert innermost(pool.submit(nest).exception(50))
    print(pool.submit(int, 6).result(30))
""",
        "6",
    )


def test_two_hundred_nested_calls_fit_in_a_small_stack() -> None:
    check(
        """
threading.stack_size(256 * 1024)
def nest(depth):
    return pool.submit(nest, depth - 1).result() if depth else 7
with SafeThreadPool(1) as pool:
    print(pool.submit(nest, 200).result(50))
""",
        "7",
    )
