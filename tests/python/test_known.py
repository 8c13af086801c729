"""A verdict that was found once is not looked for again, until anything has changed that it was found from."""

from __future__ import annotations

import builtins
import contextlib
import gc
import itertools
import math
import re
import sys
import textwrap
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

from pyferris import _known, _purity

Change = Callable[[], Any]

LIMIT = 3
WORD = re.compile(r"\w+")
LOCK = threading.Lock()


def work(x: int) -> float:
    return helper(x) + math.sqrt(LIMIT) + len(WORD.findall(re.sub("a", "b", "aa"))) + next(itertools.count(x))


def helper(x: int, step: int = 1) -> int:
    return deeper(x) + step


def deeper(x: int) -> int:
    return max(x, 2)


def impure(x: int) -> int:
    with LOCK:
        return x


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Functions that were looked at."""
    seen: list[Any] = []
    look = _purity._look_at
    monkeypatch.setattr(_purity, "_look_at", lambda function, process: seen.append(function) or look(function, process))
    _purity._reach._names.clear()
    yield seen
    _purity._reach._names.clear()


def test_what_is_as_it_was_is_not_looked_at_again(looks: list[Any]) -> None:
    libraries: list[set[str]] = [set(), set(), set()]
    verdicts = [_purity.judge(work, library) for library in libraries]
    assert verdicts == [_purity.Verdict(None, True)] * 3
    assert libraries == [{"itertools", "math", "re"}] * 3
    assert looks == [work]


def _in_globals(**names: Any) -> Change:
    return lambda: mock.patch.dict(globals(), names)


def _attribute(thing: Any, name: str, value: Any) -> Change:
    @contextlib.contextmanager
    def changed() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(thing, name, value)
            yield

    return changed


@contextlib.contextmanager
def _class_of(module: types.ModuleType, kind: type) -> Iterator[None]:
    module.__class__ = kind
    try:
        yield
    finally:
        module.__class__ = types.ModuleType


CHANGES: dict[str, Change] = {
    "a function that it calls": _in_globals(helper=impure),
    "one that this calls": _in_globals(deeper=impure),
    "a constant": _in_globals(LIMIT=LOCK),
    "a number": _in_globals(LIMIT=math.nan),
    "a pattern": _in_globals(WORD=LOCK),
    "a module": _in_globals(math=types.SimpleNamespace(sqrt=abs)),
    "a builtin, by a global": _in_globals(max=impure),
    "a builtin": _attribute(builtins, "max", impure),
    "a function of a compiled module": _attribute(math, "sqrt", impure),
    "a class of a module without a file": _attribute(itertools, "count", impure),
    "a function of a module": _attribute(re, "sub", impure),
    "what a module's functions use": _attribute(re, "_compile", impure),
    "which module has the name": lambda: mock.patch.dict(sys.modules, {"math": types.ModuleType("math")}),
    "its own code": _attribute(work, "__code__", impure.__code__),
    "the code of another": _attribute(deeper, "__code__", impure.__code__),
    "a default": _attribute(helper, "__defaults__", (LOCK,)),
    "a default of a keyword": _attribute(helper, "__kwdefaults__", {"step": LOCK}),
    "an attribute": lambda: mock.patch.dict(deeper.__dict__, {"cache": {}}),
    "what a function finds that it makes": _in_globals(__builtins__={"len": impure}),
    "the class of a module": lambda: _class_of(math, type("module", (types.ModuleType,), {})),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_has_changed_is_looked_at(what: str) -> None:
    assert _purity.why_impure(work) is None
    with CHANGES[what]():
        assert _purity.why_impure(work) is not None
    assert _purity.why_impure(work) is None


def test_a_name_that_is_gone_is_looked_for() -> None:
    names: dict[str, Any] = {"__name__": __name__}
    exec("def helper(x): return x\ndef work(x): return helper(x)", names)
    assert _purity.why_impure(names["work"]) is None
    names["helper"] = None  # and the function is gone with it
    gc.collect()
    assert _purity.judge(names["work"]) == _purity.Verdict(None, True)
    del names["helper"]
    assert "not defined" in str(_purity.why_impure(names["work"]))


def test_a_class_that_is_gone_is_not_taken_for_none() -> None:
    names: dict[str, Any] = {"Own": type("Own", (), {})}
    exec("def work(x): return Own", names)
    grounds = _known.Grounds()
    grounds.add_function(names["work"], names["work"].__code__, None, {"Own": names["Own"]})
    assert grounds.hold(names["work"])
    names["Own"] = None
    gc.collect()
    assert not grounds.hold(names["work"])


def test_a_function_of_the_same_code_is_another() -> None:
    text = "def work(x): return helper(x)\ndef helper(x): return x"
    pure: dict[str, Any] = {"__name__": __name__}
    other: dict[str, Any] = {"__name__": __name__}
    exec(text, pure)
    exec(text, other)
    other["helper"] = impure
    for _ in range(2):
        assert _purity.why_impure(pure["work"]) is None
        assert _purity.why_impure(other["work"]) is not None


def test_what_can_change_in_place_is_always_looked_at(looks: list[Any]) -> None:
    table: list[Any] = [1]

    class Own:
        value: Any = 1

    def closure(x: int) -> int:
        return x + len(table)

    names: dict[str, Any] = {"__name__": __name__, "TABLE": table, "OWN": Own, "BIG": (1, 2)}
    exec(
        """
def own(x): return OWN.value
def big(x): return BIG[0]
def default(x, table=TABLE): return table[0]
def keyword(x, *, table=1): return table
def again(x):
    try:
        return x
    except ValueError:
        raise
""",
        names,
    )
    functions = [closure, *(names[each] for each in ("own", "big", "default", "keyword", "again"))]
    for function in functions:
        for _ in range(2):
            assert _purity.judge(function).keeps_to_data, function
    assert looks == [each for each in functions for _ in range(2)]


COUNTS = """
def work(x):
    global COUNT
    with LOCK:
        COUNT += 1
        TABLE[x & 7] = x
    return x
"""


def test_data_and_counters_may_change_but_not_become_something_else(looks: list[Any]) -> None:
    waits = threading.Event().wait
    names: dict[str, Any] = {"__name__": __name__, "TABLE": [0] * 8, "COUNT": 1, "LOCK": LOCK}
    exec(COUNTS, names)
    work = names["work"]
    assert _purity.judge(work).keeps_to_data
    assert work(3) == 3
    names["TABLE"] = ["another", {"list": 1}]
    names["COUNT"] = 0.5
    assert _purity.judge(work).keeps_to_data
    assert len(looks) == 1
    for name, value in (("TABLE", [waits]), ("TABLE", (waits,)), ("TABLE", [0] * 20_000), ("COUNT", waits)):
        with mock.patch.dict(names, {name: value}):
            assert not _purity.judge(work).keeps_to_data
        assert _purity.judge(work).keeps_to_data
    looks.clear()
    names["TABLE"].append(waits)
    assert not _purity.judge(work).keeps_to_data
    names["TABLE"].pop()
    with mock.patch.dict(names, LOCK=threading.Lock()):
        assert _purity.judge(work).keeps_to_data
    with mock.patch.dict(names, LOCK=waits):
        assert not _purity.judge(work).keeps_to_data
    assert len(looks) == 3


def test_what_the_program_does_is_seen_each_time() -> None:
    for process in (False, True, False):
        assert _purity.why_impure(work, process=process) is None
    sys.settrace(lambda *_: None)
    try:
        assert "debugger" in str(_purity.why_impure(work))
    finally:
        sys.settrace(None)
    names: dict[str, Any] = {"__name__": __name__}
    exec("def work(x): return {x, 1}", names)
    assert _purity.why_impure(names["work"]) is None
    assert "order" in str(_purity.why_impure(names["work"], process=True))
    assert _purity.why_impure(names["work"]) is None


def test_a_verdict_keeps_no_function_and_no_data_alive(looks: list[Any]) -> None:
    names: dict[str, Any] = {"__name__": __name__, "SIZE": 10**5, "TEXT": str(10**2_000)}
    exec("def helper(x): return x\ndef work(x): return helper(x) + SIZE + len(TEXT)", names)
    assert _purity.judge(names["work"]) == _purity.Verdict(None, True)
    looks.clear()
    text = names.pop("TEXT")
    functions = [weakref.ref(names.pop(each)) for each in ("work", "helper")]
    names.clear()
    gc.collect()
    assert [each() for each in functions] == [None, None]
    assert sys.getrefcount(text) <= 3


def test_what_is_large_is_not_kept(looks: list[Any]) -> None:
    for large in (1 << 100_000, "x" * 2_000, b"x" * 2_000, re.compile("x" * 2_000)):
        names: dict[str, Any] = {"__name__": __name__, "LARGE": large}
        exec("def work(x): return LARGE", names)
        for _ in range(2):
            assert _purity.judge(names["work"]) == _purity.Verdict(None, True)
        assert looks == [names["work"]] * 2
        looks.clear()


def test_a_refusal_keeps_no_module_alive() -> None:
    module = types.ModuleType("own")
    names: dict[str, Any] = {"__name__": __name__, "module": module}
    exec("def work(x): return module.size", names)
    for _ in range(2):
        assert "module 'own'" in str(_purity.why_impure(names["work"]))
    gone = weakref.ref(module)
    names["module"] = None
    del module
    gc.collect()
    assert gone() is None
    assert "module 'own'" not in str(_purity.why_impure(names["work"]))


def test_functions_that_are_made_meanwhile_have_the_builtins_that_the_globals_say() -> None:
    names: dict[str, Any] = {"__name__": __name__}
    exec("def work(x): return (lambda y: abs(y))(x)", names)
    assert _purity.why_impure(names["work"]) is None
    for own in (builtins, vars(builtins)):
        names["__builtins__"] = own
        assert _purity.why_impure(names["work"]) is None
    names["__builtins__"] = {"abs": lambda x: -x}
    assert names["work"](3) == -3
    assert "other builtins" in str(_purity.why_impure(names["work"]))


def test_code_that_is_bound_while_another_is_looked_at_is_looked_at_next(monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {"__name__": __name__}
    exec("def inner(x): return x\ndef work(x): return inner(x)", names)
    look = _purity._Check._code

    def swap(check: Any, code: Any, *rest: Any) -> None:
        names["inner"].__code__ = impure.__code__
        look(check, code, *rest)

    code = names["inner"].__code__
    monkeypatch.setattr(
        _purity._Check, "_code", lambda check, each, *rest: (swap if each is code else look)(check, each, *rest)
    )
    assert _purity.why_impure(names["work"]) is None
    monkeypatch.undo()
    assert "context manager" in str(_purity.why_impure(names["work"]))
    names["inner"].__code__ = code
    assert _purity.why_impure(names["work"]) is None


def test_a_keyword_s_default_that_is_gone_is_no_reason_any_more() -> None:
    names: dict[str, Any] = {"__name__": __name__}
    exec("def work(x, *, table=[1]): return x", names)
    assert _purity.why_impure(names["work"]) is not None
    names["work"].__kwdefaults__ = None
    assert _purity.why_impure(names["work"]) is None


def test_library_functions_by_their_own_names() -> None:
    names: dict[str, Any] = {"__name__": __name__, "dedent": textwrap.dedent, "sqrt": math.sqrt}
    exec("def work(x): return dedent(str(sqrt(x)))", names)
    for _ in range(2):
        assert _purity.why_impure(names["work"]) is None
    with mock.patch.object(textwrap, "dedent", impure):
        assert _purity.why_impure(names["work"]) is not None
    with mock.patch.object(math, "sqrt", impure):
        assert _purity.why_impure(names["work"]) is not None
    assert _purity.why_impure(names["work"]) is None
