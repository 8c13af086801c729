"""Functions go by value, with what they reach: what they give elsewhere is what they give here."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from elsewhere import KINDS, App, Elsewhere, make

from pyferris import _shipping, _wire

REFUSES = """
class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name == "refuses_to_load":
            raise ImportError("module refuses_to_load does not support loading in subinterpreters")
import sys
sys.meta_path.insert(0, Refuses())
"""


@pytest.fixture(scope="module", params=KINDS)
def there(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    elsewhere = make(request.param, tmp_path_factory.mktemp("elsewhere"))
    yield elsewhere
    elsewhere.close()


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.syspath_prepend(str(tmp_path))
    made = App(tmp_path)
    yield made
    made.forget()


FACTOR = 3
TABLE = {"a": [1, 2], "b": (3,)}
COUNT = 0
NOT_A_NUMBER = float("nan")


def scaled(x: float, y: float = 2, *, z: float = 5) -> float:
    return x * FACTOR + y + z


def factorial(n: int) -> int:
    return 1 if n < 2 else n * factorial(n - 1)


def even(n: int) -> bool:
    return n == 0 or odd(n - 1)


def odd(n: int) -> bool:
    return n != 0 and even(n - 1)


def adder(a: int) -> Any:
    def add(b: int) -> int:
        return a + b + FACTOR

    return add


def counted() -> list[int]:
    global COUNT
    COUNT += 1
    return [COUNT, read_count()]


def read_count() -> int:
    return COUNT


def test_plain_functions(there: Elsewhere) -> None:
    assert there(scaled, 1) == 10
    assert there(scaled, 1, 1, z=1) == 5
    assert there(factorial, 20) == math.factorial(20)
    assert there(even, 10) is True
    assert there(adder(4), 5) == 12
    assert there(lambda x: [x, FACTOR], 1) == [1, 3]
    assert there(len, [1, 2]) == 2
    assert there(math.sqrt, 4) == 2
    assert there(str.upper, "a") == "A"
    assert there("x".join, ["a", "b"]) == "axb"
    assert there(int, "3") == 3


def test_plain_functions_need_no_pickle() -> None:
    for function in (scaled, factorial, even, adder(4), lambda: TABLE, hashed, contexted):
        assert _shipping.ship(function).blob[:1] == b"F", function


def hashed(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() + str(math.pi)


def contexted() -> float:
    return math.floor(math.e)


def test_modules_of_the_standard_library(there: Elsewhere) -> None:
    assert there(hashed, b"x") == hashed(b"x")
    assert there(contexted) == 2


def test_globals_are_shared_by_the_functions_of_a_shipment(there: Elsewhere) -> None:
    assert there(counted) == [1, 1]
    assert there(counted) == [1, 1]  # each shipment has its own
    assert COUNT == 0
    here = TABLE["a"]
    assert there(lambda: [TABLE["a"] is TABLE["a"], TABLE]) == [True, {"a": [1, 2], "b": (3,)}]
    assert TABLE["a"] is here


def test_two_names_of_one_list_are_one_list_there(there: Elsewhere, app: App) -> None:
    module = app(
        "app_shared",
        """
        ONE = []
        OTHER = ONE
        def f(x, default=ONE):
            ONE.append(x)
            return OTHER, default, OTHER is ONE is default
        """,
    )
    assert there(module.f, 3) == ([3], [3], True)
    assert module.ONE == []


def test_recursive_closures(there: Elsewhere) -> None:
    def down(n: int) -> list[int]:
        return [] if n == 0 else [n, *down(n - 1)]

    assert there(down, 3) == [3, 2, 1]


def test_closures_that_count(there: Elsewhere) -> None:
    count = 0

    def increment() -> int:
        nonlocal count
        count += 1
        return count

    def twice() -> tuple[int, int]:
        return increment(), increment()

    assert there(twice) == (1, 2)
    assert count == 0


def test_an_empty_cell_stays_empty(there: Elsewhere) -> None:
    def f() -> int:
        return later

    with pytest.raises(NameError):
        there(f)
    later = 1
    assert there(f) == 1


def test_a_global_that_is_not_there_is_a_name_error(there: Elsewhere) -> None:
    with pytest.raises(NameError, match="nowhere_defined"):
        there(lambda: nowhere_defined)  # type: ignore[name-defined]  # noqa: F821


def test_what_is_not_reached_stays_behind(there: Elsewhere, app: App) -> None:
    module = app(
        "app_heavy",
        """
        import threading, socket
        LOCK = threading.Lock()
        APP = socket.socket()
        APP.close()
        data = threading.Lock()
        class Record:
            data = 3
        def f(x):
            return x + 1
        def g(record):
            return record.data
        """,
    )
    assert there(module.f, 1) == 2
    assert there(module.g, module.Record()) == 3
    with pytest.raises(TypeError, match="lock"):
        _shipping.ship(lambda: module.LOCK)


def test_a_module_that_imports_what_a_worker_cannot(there: Elsewhere, app: App) -> None:
    app("refuses_to_load", "VALUE = 3")
    module = app(
        "app_endpoint",
        """
        import refuses_to_load
        import math
        def compute(n):
            return math.factorial(n)
        """,
    )
    assert there(module.compute, 5) == 120


def test_an_import_that_fails_names_the_module_and_the_remedy(there: Elsewhere) -> None:
    module = type(sys)("site_installed")
    module.__spec__ = None
    module.__file__ = "/x/site-packages/site_installed.py"
    module.value = 3  # type: ignore[attr-defined]
    sys.modules["site_installed"] = module
    try:
        space = {"site_installed": module, "__name__": "some_app"}
        exec("def f(): return site_installed.value", space)
        with pytest.raises(ImportError, match=r"'site_installed'.*isolation=\"process\""):
            there(space["f"])
    finally:
        del sys.modules["site_installed"]


# --- modules of the application


def test_own_modules_go_along_with_what_is_reached(there: Elsewhere, app: App) -> None:
    app.package("shop")
    app("shop.tax", "RATE = 2\nSECRET = open\ndef tax(x):\n    return x * RATE\nlock = __import__('threading').Lock()")
    module = app(
        "shop.main",
        """
        import shop.tax
        from shop import tax as other
        from . import tax
        def f(x):
            return shop.tax.tax(x), other.RATE, tax.tax(x), tax is other
        def escape(x):
            module = tax
            return module.tax(x) + getattr(module, "RATE")
        def change(x):
            tax.RATE = x
            return tax.tax(10), other.RATE
        def absent():
            return hasattr(tax, "nothing"), getattr(tax, "none", 5)
        """,
    )
    assert there(module.f, 3) == (6, 2, 6, True)
    assert there(module.escape, 3) == 8
    assert there(module.change, 5) == (50, 5)
    assert there(module.absent) == (False, 5)


def test_a_name_that_stayed_behind_is_no_attribute_error(there: Elsewhere, app: App) -> None:
    app("app_left", "def f():\n    return 1\nTHERE = 2\n")
    module = app(
        "app_left_user", 'import app_left\ndef g():\n    return getattr(app_left, "".join(("TH", "ERE")), None)'
    )
    with pytest.raises(RuntimeError, match="'THERE' of module 'app_left'"):
        there(module.g)


def test_functions_that_import_by_themselves(there: Elsewhere, app: App) -> None:
    app.package("inner")
    app("inner.core", "LIMIT = 4\ndef core(x):\n    return x + LIMIT")
    module = app(
        "inner.front",
        """
        def absolute(x):
            import inner.core
            return inner.core.core(x)
        def renamed(x):
            import inner.core as it
            return it.core(x)
        def relative(x):
            from .core import core
            return core(x)
        def library(x):
            import math, os.path
            from json import dumps
            return math.sqrt(x), os.path.basename("a/b"), dumps(x)
        """,
    )
    for name in ("absolute", "renamed", "relative"):
        assert there(getattr(module, name), 3) == 7, name
    assert there(module.library, 4) == (2.0, "b", "4")
    module.absolute(1)
    sys.modules["inner.core"].LIMIT = 10  # type: ignore[attr-defined]
    assert there(module.relative, 3) == 13


# --- what is patched


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
        import time

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


# --- decorated


@functools.lru_cache(maxsize=10)
def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def doubled(function: Any) -> Any:
    @functools.wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        return 2 * function(*args, **keywords)

    call.called = 0  # type: ignore[attr-defined]
    return call


@doubled
def decorated(x: int) -> int:
    return x + FACTOR


@functools.singledispatch
def shown(x: object) -> str:
    return "object"


@shown.register
def _(x: int) -> str:
    return f"int {FACTOR}"


@shown.register(list)
def _(x: list[int]) -> str:
    return "list of " + ", ".join(map(shown, x))


@contextlib.contextmanager
def managed(log: list[str]) -> Iterator[int]:
    log.append("in")
    yield FACTOR
    log.append("out")


def test_decorated_functions(there: Elsewhere) -> None:
    assert there(decorated, 1) == 8
    assert there(lambda: (decorated.__name__, decorated.__wrapped__(1), decorated.called)) == ("decorated", 4, 0)
    assert there(fibonacci, 30) == 832040
    assert there(lambda: (fibonacci(5), fibonacci.cache_info().misses, fibonacci.cache_info().maxsize)) == (5, 6, 10)
    assert there(functools.partial(scaled, 1, z=0)) == 5
    assert there(functools.partial(functools.partial(scaled, z=1), 1), 1) == 5
    assert there(shown, [1, "a"]) == "list of int 3, object"
    assert there(functools.cache(lambda x: x + 1), 1) == 2

    def with_manager() -> list[str]:
        log: list[str] = []
        with managed(log) as value:
            log.append(str(value))
        return log

    assert there(with_manager) == ["in", "3", "out"]


def test_partials_that_hold_themselves(there: Elsewhere, app: App) -> None:
    module = app(
        "app_partial",
        """
        import functools
        def f(n, x):
            return x if n == 0 else g(n - 1)
        g = functools.partial(f, x=7)
        """,
    )
    assert there(module.g, 3) == 7


def test_generators_and_coroutine_functions(there: Elsewhere) -> None:
    def squares(n: int) -> Iterator[int]:
        yield from (x * x for x in range(n) if x != FACTOR)

    assert there(lambda n: list(squares(n)), 5) == [0, 1, 4, 16]

    async def later() -> int:
        return FACTOR

    def run() -> int:
        coroutine = later()
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value
        return 0

    assert there(run) == 3


def test_text_that_names_globals(there: Elsewhere) -> None:
    assert there(lambda: eval("FACTOR + 1")) == 4
    assert there(lambda: globals()["FACTOR"]) == 3
    assert there(lambda: "FACTOR" in globals()) is True


def test_names_and_places_are_kept(there: Elsewhere) -> None:
    def f() -> Any:
        return f.__name__, f.__qualname__, f.__module__, f.__code__.co_filename, __name__

    assert there(f) == f()


def test_tracebacks_name_the_users_lines(there: Elsewhere) -> None:
    def fails() -> None:
        raise ValueError("here")

    with pytest.raises(ValueError, match="here") as caught:
        there(fails)
    text = str(caught.value.__cause__)
    assert f'File "{__file__}", line {fails.__code__.co_firstlineno + 1}, in fails' in text
    assert 'raise ValueError("here")' in text
    assert "elsewhere" not in text.lower().replace("test_", "") or "_wire.py" not in text


def test_functions_that_come_back_are_the_originals(there: Elsewhere) -> None:
    assert there(lambda: scaled) is scaled
    assert there(lambda x: x, scaled) is scaled
    assert there(lambda: adder)(1)(1) == 5
    assert there(adder, 5)(1) == 9  # made there
    assert there(lambda f: f is scaled, scaled) is True


# --- what has to be shipped anew


class Valid:
    """Whether the shipment of a function is current, and how it was."""

    def __init__(self, function: Any) -> None:
        self.shipment = _shipping.ship(function)

    def __bool__(self) -> bool:
        assert self.shipment.checks is not None
        return _shipping.still_valid(self.shipment.checks)


def test_a_shipment_is_current_until_something_is_rebound(app: App) -> None:
    source = """
        import math, os.path
        K = 3
        def helper(x, y=1, *, z=2):
            return x + K + len([])
        def f(x):
            return helper(x) + math.sqrt(x) + os.path.sep + helper_later
        """
    changes: list[tuple[str, Any]] = [
        ("m.K = 4", True),
        ("m.K = 3", False),
        ("m.helper = m.f", True),
        ("m.helper_later = 3", True),
        ("m.helper.__code__ = (lambda x: x).__code__", True),
        ("m.helper.__defaults__ = (5,)", True),
        ("m.helper.__kwdefaults__['z'] = 5", True),
        ("m.helper.__kwdefaults__ = None", True),
        ("m.len = sum", True),
        ("m.math = None", True),
        ("m.unrelated = 3", False),
        ("m.f.__code__ = (lambda x: x).__code__", True),
        ("del m.K", True),
    ]
    for number, (change, stale) in enumerate(changes):
        module = app(f"app_stale_{number}", source)
        valid = Valid(module.f)
        assert valid
        exec(change, {"m": module})
        assert bool(valid) is not stale, change
    module = app("app_stale", source)
    valid = Valid(module.f)
    for name, value in (("math.sqrt", abs), ("os.path.sep", "x"), ("builtins.len", sum)):
        with mock.patch(name, value):
            assert not valid, name
        assert valid


def test_cells_are_watched() -> None:
    value = 1

    def f() -> int:
        return value + other

    valid = Valid(f)
    other = 2
    assert not valid
    valid = Valid(f)
    assert valid
    value = 2
    assert not valid


def test_what_can_change_in_itself_is_shipped_each_time() -> None:
    holder = [1]
    assert _shipping.ship(lambda: holder).checks is None
    assert _shipping.ship(lambda x=[]: x).checks is None
    assert _shipping.ship(lambda: TABLE).checks is None
    assert _shipping.ship(functools.partial(scaled, 1)).checks is None
    assert _shipping.ship(lambda: decorated.called).checks is None
    assert _shipping.ship(lambda: (FACTOR, NOT_A_NUMBER)).checks is not None


def test_the_same_content_gives_the_same_bytes() -> None:
    for function in (scaled, adder(1), lambda: TABLE, functools.partial(scaled, 1), fibonacci):
        assert len({_shipping.ship(function).blob for _ in range(20)}) == 1
    assert _shipping.ship(adder(1)).blob != _shipping.ship(adder(2)).blob


def test_what_cannot_travel_is_named() -> None:
    lock = __import__("threading").Lock()
    with pytest.raises(TypeError, match=r"<lambda>.*lock"):
        _shipping.ship(lambda: lock)


def test_a_shipped_main_function(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import math\nK = 4\n\nclass Point:\n    def __init__(self, x):\n        self.x = x\n"
        "    def __eq__(self, other):\n        return isinstance(other, Point) and self.x == other.x\n\n"
        "def f(p):\n    return Point(p.x + K), isinstance(p, Point)\n\n"
        "if __name__ == '__main__':\n    import sys, pathlib\n    sys.path.append(sys.argv[1])\n    import elsewhere\n"
        "    there = elsewhere.make(sys.argv[2], pathlib.Path(sys.argv[3]))\n"
        "    got, known = there(f, Point(1))\n    print(got == Point(5), type(got) is Point, known)\n"
        "    there.close()\n"
    )
    import subprocess

    for kind in KINDS:
        done = subprocess.run(
            [sys.executable, str(program), str(Path(__file__).parent), kind, str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout.strip() == "True True True", done


def test_loading_is_lean() -> None:
    """A worker that runs plain functions has not even imported pickle."""
    import subprocess

    blob = _shipping.ship(hashed).blob
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; before = set(sys.modules)\n"
        f"from pyferris import _wire\n_wire.load_function({blob!r})(_wire.loads({_wire.dumps(b'x')!r}))\n"
        "print(sorted({'pickle', '_pickle', 'cloudpickle', 'typing', 'logging'} & set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done


def test_time_stays_the_same() -> None:
    assert _shipping.ship(time.sleep).blob[:1] == b"R"
