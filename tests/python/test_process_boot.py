"""How worker processes begin: their program, what they import and where they find it, what of multiprocessing works."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import site
import subprocess
import sys
from multiprocessing import shared_memory
from pathlib import Path

import own_process
import pytest

import pyferris
from pyferris import _worker_process
from pyferris.safe_thread import SafeThreadPool


def loaded(*names: str) -> list[str]:
    return [name for name in names if name in sys.modules]


def settings() -> tuple[str | None, ...]:
    return os.environ.get("PYTHONPATH"), os.environ.get("PYTHONSAFEPATH"), *sys.path


def test_a_worker_imports_neither_loky_nor_asyncio() -> None:
    with SafeThreadPool(1, isolation="process") as pool:
        assert pool.submit(loaded, "loky", "asyncio", "inspect", "argparse", "pyferris._runtime").result() == [
            "pyferris._runtime"
        ]


def test_what_a_start_needs_of_the_environment_is_gone_for_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_worker_process, "_environment_of_start", lambda: {"PYTHONSAFEPATH": "1", "PYTHONPATH": "/x"})
    with SafeThreadPool(1, isolation="process") as pool:
        assert pool.submit(settings).result() == settings()


def test_the_package_is_found_where_only_the_program_knows_it(tmp_path: Path) -> None:
    package = tmp_path / "vendored" / "pyferris"
    shutil.copytree(Path(pyferris.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(str(pyferris._native.__file__), package)  # type: ignore[attr-defined]
    for name in ("loky", "cloudpickle"):
        __import__(name)
        shutil.copytree(Path(sys.modules[name].__file__ or "").parent, package.parent / name)
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import sys
sys.path.append({str(package.parent)!r})
import pyferris.safe_thread
if __name__ == "__main__":
    with pyferris.safe_thread.SafeThreadPool(1, isolation="process") as pool:
        print(pool.submit(lambda: __import__("pyferris").__file__).result())
"""
    )
    # A Python without the site-packages that this package is installed in.
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True, timeout=own_process.LIMIT)
    done = subprocess.run(
        [bare / "bin" / "python", program], capture_output=True, text=True, timeout=own_process.LIMIT, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(package / "__init__.py")), done


@pytest.mark.parametrize("before", [None, "/a:/b"])
def test_the_path_of_a_start(monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if before is not None:
        monkeypatch.setenv("PYTHONPATH", before)
    root = str(Path(pyferris.__file__).parents[1])
    monkeypatch.setattr(site, "getsitepackages", list)
    assert _worker_process._environment_of_start() == {
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": root if before is None else f"{before}:{root}",
    }
    monkeypatch.setattr(site, "getsitepackages", lambda: [root])
    assert _worker_process._environment_of_start() == {"PYTHONSAFEPATH": "1"}


def fill(name: str) -> bytes:
    block = shared_memory.SharedMemory(name)
    block.buf[:3] = b"abc"
    block.close()
    return bytes(multiprocessing.current_process().authkey)


def test_shared_memory_that_a_worker_opens_outlives_it() -> None:
    block = shared_memory.SharedMemory(create=True, size=16)
    try:
        with SafeThreadPool(1, isolation="process") as pool:
            assert pool.submit(fill, block.name).result() == bytes(multiprocessing.current_process().authkey)
        assert bytes(block.buf[:3]) == b"abc"
        shared_memory.SharedMemory(block.name).close()
    finally:
        block.close()
        block.unlink()


def test_a_worker_may_start_processes_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "nested.py").write_text(
        """
import multiprocessing
def child(connection):
    connection.send(multiprocessing.current_process().name)
def start():
    ours, theirs = multiprocessing.Pipe()
    started = multiprocessing.Process(target=child, args=(theirs,), name="nested")
    started.start()
    theirs.close()
    try:
        return ours.recv(), multiprocessing.current_process().name, multiprocessing.get_start_method()
    finally:
        started.join()
"""
    )
    said = own_process.run(
        f"""
sys.path.insert(0, {str(tmp_path)!r})
import nested
with SafeThreadPool(1, "outer", isolation="process") as pool:
    print(*pool.submit(nested.start).result())
""",
        error=None,  # from Python 3.12 on, a warning where the platform's way is fork
    )
    assert said == f"nested outer {multiprocessing.get_start_method()}"


def test_threads_of_a_worker_and_what_they_print_come_before_its_end() -> None:
    said = own_process.run(
        """
def call():
    import sys, threading
    def later():
        threading.main_thread().join()
        sys.__stdout__.write("the last word")
    threading.Thread(target=later).start()
with SafeThreadPool(1, isolation="process") as pool:
    pool.submit(call).result()
"""
    )
    assert said == "the last word"


def test_what_exit_functions_print_has_come_home_when_the_pool_is_closed() -> None:
    said = own_process.run(
        """
def call():
    import atexit, sys, threading
    atexit.register(print, "from an exit function")
    def later():
        threading.main_thread().join()
        print("from a thread", "é" * 100_000)
    threading.Thread(target=later).start()
import io
with SafeThreadPool(1, isolation="process") as pool:
    pool.submit(call).result()
    before, sys.stdout = sys.stdout, io.StringIO()
seen, sys.stdout = sys.stdout.getvalue(), before
print(len(seen), seen.replace("é", "").split())
"""
    )
    assert said == "100037 ['from', 'a', 'thread', 'from', 'an', 'exit', 'function']"


def test_a_process_that_does_not_end_is_ended() -> None:
    said = own_process.run(
        """
from pyferris import _worker_process
_worker_process.LAST_WORDS = 0.3
def call():
    import threading
    threading.Thread(target=threading.Event().wait).start()
    return os.getpid()
with SafeThreadPool(1, isolation="process") as pool:
    pid = pool.submit(call).result()
try:
    os.kill(pid, 0)
except ProcessLookupError:
    print("gone")
"""
    )
    assert said == "gone"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_program_without_standard_streams(stream: str) -> None:
    own_process.run(
        f"""
before, sys.{stream} = sys.{stream}, None
with SafeThreadPool(1, isolation="process") as pool:
    assert pool.submit(abs, -1).result() == 1
sys.{stream} = before
"""
    )


def test_a_working_directory_that_is_gone_is_named() -> None:
    said = own_process.run(
        """
import tempfile
directory = tempfile.mkdtemp()
os.chdir(directory)
os.rmdir(directory)
with SafeThreadPool(1, isolation="process") as pool:
    try:
        pool.submit(abs, -1).result()
    except FileNotFoundError as error:
        print(error)
os.chdir("/")
"""
    )
    assert "the working directory is gone" in said


def test_descriptors_that_run_out_are_an_error_of_the_system() -> None:
    said = own_process.run(
        """
import resource
with SafeThreadPool(1, isolation="process") as pool:
    pool.submit(abs, -1).result()  # what is imported and started once
with SafeThreadPool(1, isolation="process") as pool:
    for free in range(12):
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        opened = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (opened + free, limits[1]))
        try:
            print(pool.submit(abs, -1).result())
            break
        except OSError as error:
            assert error.errno == 24, error
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
"""
    )
    assert said == "1"
