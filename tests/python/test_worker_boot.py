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
from pyferris import _interpreters
names = {"pyferris" if name == "__init__" else f"pyferris.{name}" for name in _interpreters._MODULES}

def loaded():
    found = {}
    for name, module in sys.modules.items():
        if name.startswith("pyferris") or name == "__future__":
            spec = module.__spec__
            found[name] = (module.__file__, spec.origin, getattr(module, "__path__", None), vars(spec.loader))
    return found

complete = set(_interpreters._bytecode()) == names | {"__future__"}
with isolated(2) as pool:
    found = pool.submit(loaded).result(50)
print(complete, set(found) == names | {"__future__", "pyferris._native"})
if complete:
    for name, (file, origin, path, loader) in found.items():
        assert file == origin, name
        assert path == (list(pyferris.__path__) if name == "pyferris" else None), name
        assert loader == {"name": name, "path": file}, name  # nothing is left of how it was loaded
"""
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert run(program) == "False True"  # there is nothing to read
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "")
    assert run(program) == "False True"
    assert run(program) == "True True"


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
