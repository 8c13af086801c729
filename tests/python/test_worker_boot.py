"""What a new interpreter imports: modules whose bytecode the main interpreter has read, without a look at files."""

from __future__ import annotations

import os
import py_compile
from pathlib import Path

import pytest
from interpreter_calls import LIMIT, needs_interpreters
from isolated_process import run

from pyferris import _frozen_start
from pyferris.thread_pool import SafeThreadPool

pytestmark = needs_interpreters


def test_all_that_a_worker_imports_is_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = """
from importlib.util import cache_from_source
from pyferris import _interpreters

def loaded():
    import __future__
    found = {}
    for name, module in sys.modules.items():
        if name.startswith("pyferris"):
            spec = module.__spec__
            package, _, own = name.rpartition(".")
            found[name] = (
                (module.__file__, spec.origin),
                (getattr(module, "__cached__", None), spec.cached),
                (module.__package__, spec.parent),
                (getattr(module, "__path__", None), spec.submodule_search_locations),
                (module.__loader__, spec.loader),
                (package and getattr(sys.modules[package], own), package and module),
                (spec.has_location, True),
                (spec.name, module.__name__),
            )
    return found, __future__.annotations.compiler_flag

def differ():
    found, _ = loaded()
    return [(name, one, other) for name, pairs in found.items() for one, other in pairs if one != other]

def facts():
    return {name: [str(one) for one, _ in pairs[:4]] for name, pairs in loaded()[0].items()}

ours = ["pyferris" if name == "__init__" else "pyferris." + name for name in _interpreters._MODULES]
complete = list(_interpreters._bytecode()) == ours
with isolated(2) as pool:
    found, differences = pool.submit(facts).result(50), pool.submit(differ).result(50)
print(complete, sorted(found) == sorted(ours), differences)
if complete:
    here = facts()
    for name, each in found.items():
        if name != "pyferris._native":  # one is not imported here: _worker and the like
            assert each == here.get(name, each), (name, each, here[name])
            assert each[1] == cache_from_source(each[0]), each
"""
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert run(program) == "False True []"  # there is nothing to read
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "")
    assert run(program) == "False True []"
    assert run(program) == "True True []"


def test_a_worker_finds_other_modules_of_the_package():
    def find():
        import pyferris.errors
        import pyferris.queue

        return pyferris.errors.PoolClosed.__name__, pyferris.queue.SafeQueue.__name__

    with SafeThreadPool(1, isolation="interpreter") as pool:
        assert pool.submit(find).result(LIMIT) == ("PoolClosed", "SafeQueue")


@pytest.mark.parametrize("checked", ["CHECKED_HASH", "UNCHECKED_HASH"])
def test_bytecode_counts_only_if_it_is_of_the_file_as_it_is(tmp_path: Path, checked: str) -> None:
    source, cached = tmp_path / "module.py", tmp_path / "module.pyc"
    source.write_text("a = 1\n")
    assert _frozen_start.read_code(str(source), str(cached)) is None
    py_compile.compile(str(source), str(cached), invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
    assert _frozen_start.read_code(str(source), str(cached)) == cached.read_bytes()[16:]
    facts = source.stat()
    source.write_text("a = 10\n")
    os.utime(source, (facts.st_atime, facts.st_mtime))
    assert _frozen_start.read_code(str(source), str(cached)) is None  # another size
    source.write_text("a = 2\n")
    os.utime(source, (facts.st_atime, facts.st_mtime))
    assert _frozen_start.read_code(str(source), str(cached)) is not None  # as for CPython
    os.utime(source, (facts.st_atime, facts.st_mtime + 10))
    assert _frozen_start.read_code(str(source), str(cached)) is None  # another time
    py_compile.compile(str(source), str(cached), invalidation_mode=getattr(py_compile.PycInvalidationMode, checked))
    assert _frozen_start.read_code(str(source), str(cached)) is None
    cached.write_bytes(b"")
    assert _frozen_start.read_code(str(source), str(cached)) is None
    source.unlink()
    assert _frozen_start.read_code(str(source), str(cached)) is None
