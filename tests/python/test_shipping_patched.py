"""What is patched here is seen by shipped functions, also where modules are patched that workers import."""

from __future__ import annotations

import functools
import math
import shlex
import time
from typing import Any
from unittest import mock

from elsewhere import App, Elsewhere

REFUSES = """
class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name == "refuses_to_load":
            raise ImportError("module refuses_to_load does not support loading in subinterpreters")
import sys
sys.meta_path.insert(0, Refuses())
"""


FACTOR = 3


def test_patched_attributes_are_seen(there: Elsewhere) -> None:
    def f() -> Any:
        return math.sqrt(16), math.pi, math.floor(1.5)

    with mock.patch("math.sqrt", lambda x: -x):
        assert there(f) == (-16, math.pi, 1)
    with mock.patch("math.sqrt", math.cos):
        assert there(f)[0] == math.cos(16)
    with mock.patch("math.pi", 3):
        assert there(f)[1] == 3
    with mock.patch("math.sqrt", functools.wraps(math.sqrt)(lambda x: FACTOR)):
        assert there(f)[0] == 3
    with mock.patch("math.sqrt", functools.partial(math.pow, 2)):
        assert there(f)[0] == 2**16
    with mock.patch("math.sqrt", return_value=7):
        assert there(f)[0] == 7
    with mock.patch("math.sqrt", autospec=True) as patched:
        patched.return_value = 8
        assert there(f)[0] == 8
    assert there(f) == f()


def test_what_a_patch_has_displaced_is_still_known(there: Elsewhere) -> None:
    real_sqrt, real_lexer = math.sqrt, shlex.shlex

    class Lexer(real_lexer):  # type: ignore[misc, valid-type]
        def get_token(self) -> Any:
            token = super().get_token()
            return token and token + "!"

    def f() -> Any:
        return math.sqrt(16), list(shlex.shlex("a b"))

    with mock.patch("math.sqrt", lambda x: real_sqrt(x) + 1), mock.patch("shlex.shlex", Lexer):
        assert there(f) == (5.0, ["a!", "b!"]) == f()
    assert there(f) == (4.0, ["a", "b"])


def test_patched_attributes_are_seen_by_functions_that_import(there: Elsewhere) -> None:
    def f() -> float:

        return time.monotonic()

    with mock.patch("time.monotonic", lambda: FACTOR + 2.0):  # noqa: PT008
        assert there(f) == 5.0
    assert there(f) != 5.0


def test_patched_attributes_of_modules_below(there: Elsewhere) -> None:
    import os

    def f() -> tuple[str, str]:
        return os.path.basename("a/b"), os.path.sep

    assert there(f) == ("b", "/")
    with mock.patch("os.path.basename", lambda x: x + "!"), mock.patch("os.path.sep", "!"):
        assert there(f) == ("a/b!", "!")


def test_patched_builtins_are_seen(there: Elsewhere) -> None:
    with mock.patch("builtins.abs", lambda x: FACTOR):  # noqa: PT008
        assert there(lambda: abs(-1)) == 3
    with mock.patch("builtins.input", return_value="typed"):
        assert there(lambda: input()) == "typed"
    assert there(lambda: abs(-1)) == 1


def test_own_attributes_that_are_patched_are_seen(there: Elsewhere, app: App) -> None:
    module = app("app_patched", "def g():\n    return 1\ndef f():\n    return g()")
    with mock.patch("app_patched.g", return_value=5):
        assert there(module.f) == 5
    with mock.patch.object(module, "g", side_effect=[7, 8]):
        assert there(lambda: [module.g(), module.g()]) == [7, 8]
    assert there(module.f) == 1


def test_functions_of_one_module_may_patch_and_use_it_together(there: Elsewhere, app: App) -> None:
    module = app(
        "app_together",
        """
        import math
        def one():
            return math.pi
        def other():
            return math.sqrt(4), one()
        """,
    )
    with mock.patch("math.pi", 3):
        assert there(module.other) == (2, 3)
        assert there(lambda: (module.one(), module.other())) == (3, (2, 3))
