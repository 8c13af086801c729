"""The tree keeps its shape: who may include and import whom, and what a concept's files are called."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "native"
LONGEST_FILE = 450  # lines
LONGEST_TEST = 650
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)


def sources(folder: Path, *kinds: str) -> list[Path]:
    found = [path for path in sorted(folder.rglob("*")) if path.suffix in kinds]
    assert found
    return found


def includes(path: Path) -> list[str]:
    return INCLUDE.findall(path.read_text())


def test_public_headers_know_neither_python_nor_uv() -> None:
    for path in sources(NATIVE / "include", ".hpp"):
        for name in includes(path):
            assert "Python" not in name, (path, name)
            assert "pybind11" not in name, (path, name)
            assert name != "uv.h", (path, name)
            assert "detail/" not in name, (path, name)


def test_the_core_knows_no_python() -> None:
    bindings = {path.name for path in sources(NATIVE / "bindings", ".hpp")}
    for path in sources(NATIVE / "src", ".cpp", ".hpp"):
        for name in includes(path):
            assert "Python" not in name, (path, name)
            assert "pybind11" not in name, (path, name)
            assert name not in bindings, (path, name)
        assert "PyObject" not in path.read_text(), path


def test_bindings_reach_uv_only_through_the_core() -> None:
    for path in sources(NATIVE / "bindings", ".cpp", ".hpp"):
        names = includes(path)
        assert "uv.h" not in names, path
        assert not [name for name in names if "detail/" in name], path


def test_each_native_concept_has_its_test() -> None:
    for path in sources(NATIVE / "include", ".hpp"):
        assert (ROOT / "tests" / "native" / f"test_{path.stem}.cpp").exists(), path
    for path in (NATIVE / "src").glob("*.cpp"):
        assert (NATIVE / "include" / "pyferris" / f"{path.stem}.hpp").exists(), path


def test_each_bound_type_is_registered_under_its_files_name() -> None:
    declared = set(re.findall(r"bool register_(\w+)\(", (NATIVE / "bindings" / "module_state.hpp").read_text()))
    files = {path.stem.removeprefix("bind_"): path for path in (NATIVE / "bindings").glob("bind_*.cpp")}
    assert declared == set(files)
    for name, path in files.items():
        assert f"bool register_{name}(" in path.read_text()


# What has no test of its own, and which one it is part of.
TESTED_ELSEWHERE = {
    "errors": "test_thread_pool.py",
    "isolation": "test_thread_pool.py",
    "locks": "test_lock.py",
    "map_report": "test_parallel_map.py",
    "map_result": "test_map.py",
    "safe_thread": "test_readme.py",
}


def test_each_public_module_has_its_test() -> None:
    folder = ROOT / "tests" / "python"
    for path in (ROOT / "pyferris").glob("[!_]*.py"):
        assert (folder / TESTED_ELSEWHERE.get(path.stem, f"test_{path.stem}.py")).exists(), path


def imports(path: Path) -> Iterator[str]:
    """What a module of the package imports of it when it is itself imported."""
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            if node.module is None:
                yield from (alias.name for alias in node.names)
            else:
                yield node.module.split(".")[0]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert not [name for name in names if name.split(".")[0] == "pyferris"], f"{path}: import relatively"


def test_modules_import_each_other_in_one_direction() -> None:
    graph = {path.stem: set(imports(path)) for path in (ROOT / "pyferris").glob("*.py") if path.stem != "__init__"}
    assert "_native" in graph["future"]
    order: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"{' -> '.join((*path, name))} is a circle"
        if name in order or name not in graph:
            return
        for needed in sorted(graph[name]):
            visit(needed, (*path, name))
        order.append(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("folder", ["native", "pyferris", "tests", "benchmarks", "examples"])
def test_files_are_short_enough_to_be_read(folder: str) -> None:
    longest = LONGEST_TEST if folder == "tests" else LONGEST_FILE
    for path in sources(ROOT / folder, ".py", ".cpp", ".hpp"):
        lines = path.read_text().count("\n")
        assert lines <= longest, f"{path} has {lines} lines"
