"""Nothing of one pool is left in a worker interpreter for the next."""

from __future__ import annotations

import marshal
import os
import warnings
from typing import Any

import pytest
from interpreters import PREFACE, make_home, make_worker, needs_interpreters
from own_process import run

from pyferris import _native
from pyferris._messages import STDERR
from pyferris.safe_thread import SafeThreadPool

__all__ = ["make_home", "make_worker"]


@needs_interpreters
def test_nothing_of_a_pool_is_left_for_the_next(worker):
    worker.enter()
    worker.interpreter.run("report((sorted(sys.modules), sorted(vars(sys)), sorted(vars(__builtins__))))")
    before = marshal.loads(os.read(worker._read, 1 << 16))
    worker.interpreter.run("""
        import atexit, builtins, collections.abc, decimal, gc, logging, os, random, types, warnings
        builtins.own = os.own = sys.own = collections.abc.own = 1
        builtins.len = os.getcwd = lambda *given: 7
        sys.modules["own"] = types.ModuleType("own")
        sys.path.append("/own")
        sys.meta_path.insert(0, type("Finder", (), {"find_spec": staticmethod(lambda *given: None)}))
        sys.path_hooks.append(print)
        sys.settrace(lambda *given: None)
        sys.setrecursionlimit(5000)
        sys.set_int_max_str_digits(0)
        os.environ["OWN"] = "1"
        os.environ.pop("PATH", None)
        decimal.getcontext().prec = 3
        random.seed(1)
        gc.disable()
        gc.callbacks.append(lambda *given: None)
        logging.getLogger("own").setLevel(1)
        logging.raiseExceptions = False
        warnings.simplefilter("error")
        sys.stdout = None
        atexit.register(report, "exit function")
        del atexit, builtins, collections, decimal, gc, logging, os, random, types, warnings
    """)
    worker.interpreter.run("usable = _worker.leave()")
    assert marshal.loads(os.read(worker._read, 1000)) == "exit function"
    assert worker.ask("report(usable)") is True
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        worker.enter()
    worker.interpreter.run("report((sorted(sys.modules), sorted(vars(sys)), sorted(vars(__builtins__))))")
    assert marshal.loads(os.read(worker._read, 1 << 16)) == before
    worker.interpreter.run("""
        import decimal, gc, os, warnings
        assert len([1]) == 1 and os.getcwd() != 7 and "/own" not in sys.path and print not in sys.path_hooks
        assert "OWN" not in os.environ and "PATH" in os.environ
        assert decimal.getcontext().prec == 28 and gc.isenabled() and not gc.callbacks and sys.gettrace() is None
        assert "own" not in sys.modules and len(sys.meta_path) == len({id(each) for each in sys.meta_path})
        assert "Finder" not in [type(each).__name__ for each in sys.meta_path]
        warnings.warn("no error")
        import logging
        assert logging.raiseExceptions and logging.getLogger("own").level == 0
    """)


@needs_interpreters
def test_an_interpreter_with_a_thread_that_goes_on_is_not_used_again():
    # In a process of its own: such an interpreter cannot be ended.
    run(
        PREFACE
        + """
        interpreter.run('''
        import _thread
        stop, started = _thread.allocate_lock(), _thread.allocate_lock()
        stop.acquire()
        started.acquire()
        _thread.start_new_thread(lambda: (started.release(), stop.acquire()), ())
        started.acquire()
        assert not _worker.leave()
        ''')
        os._exit(0)
        """
    )


@needs_interpreters
def test_an_executor_left_open_does_not_keep_an_interpreter(worker):
    worker.enter()
    worker.interpreter.run("""
        from concurrent.futures import ThreadPoolExecutor
        executor = ThreadPoolExecutor(2)
        assert list(executor.map(abs, [-1, -2, -3])) == [1, 2, 3]
    """)
    assert worker.leave()


@needs_interpreters
def test_an_exit_function_that_fails_says_so_at_home(worker):
    worker.enter()
    worker.interpreter.run("import atexit; atexit.register(lambda: 1 / 0)")
    assert worker.leave()
    assert b"ZeroDivisionError" in b"".join(payload for kind, payload in worker.said() if kind == STDERR)


@needs_interpreters
@pytest.mark.parametrize("calls", [("freeze",), ("unfreeze",), ("freeze", "unfreeze"), ("disable",)])
def test_what_a_pool_leaves_in_cycles_is_freed(capsys: pytest.CaptureFixture[str], calls: tuple[str, ...]) -> None:
    def leave_a_cycle() -> None:
        import gc

        class Node:
            def __del__(self) -> None:
                print("freed")

        node: Any = Node()
        node.own = node
        for call in calls:
            getattr(gc, call)()

    for _ in range(3):
        _, retired = _native.interpreter_counts()
        with SafeThreadPool(1, isolation="interpreter") as pool:
            pool.submit(leave_a_cycle).result()
            assert capsys.readouterr().out == ""
        assert capsys.readouterr().out == "freed\n"
        assert _native.interpreter_counts()[1] == retired


def test_the_same_values_are_the_same_objects():
    values = {"a": 1.5, "b": [], (): None}
    assert _native.same_values(values, dict(values))
    assert _native.same_values({}, {})
    assert not _native.same_values(values, values | {"b": []})  # equal, and another
    assert not _native.same_values(values, values | {"c": 1})
    assert not _native.same_values({"a": None}, {"b": None})
    for wrong in (([], {}), ({}, []), ({},)):
        with pytest.raises(TypeError):
            _native.same_values(*wrong)  # type: ignore[call-arg,arg-type]


def test_containers_are_copied_where_they_are_exactly_that():
    class Own(dict):  # type: ignore[type-arg]
        pass

    values = {"dict": {1: 2}, "list": [1], "set": {1}, "own": Own(), "tuple": (1,), "frozen": frozenset({1})}
    copies = _native.copy_containers(values)
    assert copies == {"dict": {1: 2}, "list": [1], "set": {1}}
    assert not any(copy is values[key] for key, copy in copies.items())
    with pytest.raises(TypeError):
        _native.copy_containers([])  # type: ignore[arg-type]


@needs_interpreters
def test_an_interpreter_does_not_grow_from_pool_to_pool(worker):
    def pages() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1])

    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc")
    for round_number in range(40):
        worker.enter()
        worker.interpreter.run("import collections, datetime, decimal, json, logging, random")
        assert worker.leave()
        if round_number == 10:
            before = pages()
    assert (pages() - before) * os.sysconf("SC_PAGESIZE") < 3 << 20


@needs_interpreters
def test_little_is_imported_in_a_worker(worker):
    worker.enter()
    found = worker.ask("report(sorted(sys.modules))")
    assert not {"typing", "logging", "threading", "asyncio", "re", "random", "pickle"} & set(found)  # type: ignore[call-overload]


@needs_interpreters
def test_workers_and_the_main_interpreter_import_at_once_without_harm():
    # In a process of its own: what goes wrong here ends the process, or its exit.
    run(
        PREFACE
        + """
        code = '''
        for _ in range(5):
            _worker.enter(environment, send, lambda kind, payload, timeout: b"")
            import asyncio, collections, datetime, decimal, json, re
            assert json.loads(json.dumps({"a": [1.5]})) == {"a": [1.5]}
            async def one(): return str(datetime.datetime.now() + datetime.timedelta(1)), decimal.Decimal(2).sqrt()
            asyncio.run(one())
            del asyncio, collections, datetime, decimal, json, re, one
            assert _worker.leave()
        '''
        import json, _asyncio, _ssl, _random, math, select, _struct, _bisect, _heapq, _contextvars, _socket, hashlib
        import _pickle, asyncio
        environment = _environment.capture()
        interpreter.close()
        def work():
            interpreter = Interpreter(null)
            interpreter.run(code, environment=environment)
            interpreter.close()
        threads = [threading.Thread(target=work) for _ in range(2)]
        [thread.start() for thread in threads]
        import csv, decimal, datetime, sqlite3, unittest.mock, xml.etree.ElementTree
        [thread.join() for thread in threads]
    """
    )


def encoded_in_many_ways() -> list[bytes]:
    names = [
        "cp1252",
        "koi8-r",
        "iso8859-15",
        "cp437",
        "mac-roman",
        "utf-7",
        "punycode",
        "idna",
        "utf-16",
        "shift_jis",
        "utf-8-sig",
    ]
    return ["a".encode(name) for name in names]


def with_codecs_of_its_own() -> tuple[bytes, bytes]:
    import codecs
    import encodings.latin_1

    codecs.register(lambda name: encodings.latin_1.getregentry() if name == "own_codec" else None)
    for name in "own_handler", "strict":
        codecs.register_error(name, lambda error: ("?", error.end))  # type: ignore[attr-defined]
    return "é".encode("own_codec"), "é".encode("ascii", "own_handler")


def what_is_known_of_them() -> list[str]:
    import codecs

    found = [codecs.lookup_error("strict").__name__]
    for encoding, errors in ("own_codec", "strict"), ("ascii", "own_handler"):
        try:
            "é".encode(encoding, errors)
        except LookupError as error:
            found.append(str(error))
    return found


@needs_interpreters
def test_codecs_of_a_pool_are_forgotten() -> None:
    def run_in_a_pool(function: Any) -> Any:
        with SafeThreadPool(1, isolation="interpreter") as pool:
            return pool.submit(function).result(60)

    _native.end_parked_interpreters()
    for _ in range(2):
        assert run_in_a_pool(encoded_in_many_ways) == encoded_in_many_ways()
        assert run_in_a_pool(with_codecs_of_its_own) == (b"\xe9", b"?")
        assert run_in_a_pool(what_is_known_of_them) == what_is_known_of_them()
    assert _native.interpreter_counts() == (1, 0)  # it was one and the same all the time


@needs_interpreters
def test_an_interpreter_with_an_audit_hook_is_not_used_again() -> None:
    program = """
def hooks():
    sys.addaudithook(lambda *_given: None)
with SafeThreadPool(1, isolation="interpreter") as pool:
    pool.submit(hooks).result(60)
print(pyferris._native.interpreter_counts())
"""
    assert run(program) == "(0, 1)"
