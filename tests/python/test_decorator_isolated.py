"""Functions of ``safe_thread_decorator`` where calls are isolated: as arguments, as globals, as methods, recursive."""

from __future__ import annotations

from typing import Any

import pytest
from elsewhere import KINDS, App
from own_process import run

from pyferris.safe_thread import SafeThreadPool

LIMIT = 50  # seconds; only a failure takes that long

SOURCE = """
import threading
from pyferris.safe_thread import safe_thread_decorator

LOADED = threading.Lock()  # what a copy of this module would have of its own
CONFIG = {"rate": 1}

@safe_thread_decorator
def light(n):
    return n * CONFIG["rate"]

def uses_light(n):
    return light(n).result(20)

@safe_thread_decorator(isolation="KIND")
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1).result(20) + fibonacci(n - 2).result(20)

@safe_thread_decorator
async def coroutine(n):
    return n * CONFIG["rate"]

def uses_coroutine(n):
    return coroutine(n).result(20)

class Scaled:
    def __init__(self, by):
        self.by = by

    @safe_thread_decorator
    def light(self, n):
        return n * self.by

    @safe_thread_decorator(isolation="KIND")
    def isolated(self, n):
        return self.light(n).result(20) * CONFIG["rate"]

def give():
    return light

def describe(function):
    return function.__name__, function.__doc__, function.__wrapped__.__name__, type(function).__name__
"""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def module(kind: str, app: App) -> Any:
    return app("decorated_app", SOURCE.replace("KIND", kind))


def test_a_decorated_helper_sees_current_globals(kind: str, module: Any) -> None:
    with SafeThreadPool(1, isolation=kind) as pool:  # type: ignore[arg-type]
        for rate in (10, 20):
            module.CONFIG["rate"] = rate
            assert pool.submit(module.uses_light, 2).result(LIMIT) == 2 * rate
        assert pool.submit(module.describe, module.light).result(LIMIT) == ("light", None, "light", "ThreadedFunction")
        assert pool.submit(module.give).result(LIMIT) is module.light
        assert pool.submit(module.uses_coroutine, 2).result(LIMIT) == 40
        assert pool.submit(module.uses_light, 3).result(LIMIT) == 60


def test_recursive_functions_and_methods(module: Any) -> None:
    assert module.fibonacci(7).result(LIMIT) == 13
    assert module.Scaled(3).isolated(2).result(LIMIT) == 6
    module.CONFIG["rate"] = 5
    assert module.Scaled(3).isolated(2).result(LIMIT) == 30
    module.fibonacci.shutdown()
    module.Scaled.isolated.shutdown()


def test_instances_and_methods_of_the_main_module(kind: str) -> None:
    program = f"""
    from pyferris.safe_thread import *

    class Scaled:
        by = 3
        @safe_thread_decorator
        def light(self, n):
            return n * self.by
        def plain(self, n):
            return n * self.by

    @safe_thread_decorator(isolation={kind!r})
    def factorial(n):
        return 1 if n < 2 else n * factorial(n - 1).result(20)

    if __name__ == "__main__":
        with SafeThreadPool(1, isolation={kind!r}) as pool:
            print(pool.submit(Scaled().plain, 2).result(50),
                  pool.submit(lambda each: each.light(2).result(20), Scaled()).result(50))
        print(factorial(5).result(50))
    """
    assert run(program).split("\n") == ["6 6", "120"]


@pytest.mark.skipif("interpreter" not in KINDS, reason="interpreters with a GIL of their own need Python 3.12")
def test_a_loop_in_an_interpreter_ends_with_the_pool() -> None:
    program = """
    from pyferris import _native
    from pyferris.safe_thread import *

    @safe_thread_decorator
    async def add(n):
        return n + 1

    def use(n):
        return add(n).result(20)

    for _ in range(2):
        with SafeThreadPool(1, isolation="interpreter") as pool:
            print(pool.submit(use, 1).result(50))
    print(_native.interpreter_counts())
    """
    assert run(program).split("\n") == ["2", "2", "(1, 0)"]
