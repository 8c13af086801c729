"""The examples run, each in a process of its own with a time limit, and print what they should."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

# Executes the notebook argv[1], writes it to argv[2].
EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
nbformat.validate(notebook)
NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""

# In a kernel: prints the text of the streams that two cells got, of which the first one's call prints while the second
# one runs.
LATE_PRINT = """
import json
import jupyter_client.manager

FIRST = '''
from pyferris.safe_thread import SafeThreadPool, sleep
import threading
go = threading.Event()
pool = SafeThreadPool(1)
pool.submit(print, "warm", flush=True).result()
late = pool.submit(lambda: (go.wait(30), print("from the call", flush=True)))
'''
SECOND = '''
print("from the cell", flush=True)
go.set()
late.result()
pool.shutdown()
'''
manager, client = jupyter_client.manager.start_new_kernel(kernel_name="python3")
try:
    cells = [client.execute(FIRST), client.execute(SECOND)]
    texts = {cell: "" for cell in cells}
    idle = set()
    while len(idle) < 2 or "from the call" not in "".join(texts.values()):
        message = client.get_iopub_msg(timeout=30)
        parent = message["parent_header"].get("msg_id")
        if message["msg_type"] == "stream" and parent in texts:
            texts[parent] += message["content"]["text"]
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle" and parent in texts:
            idle.add(parent)
    print(json.dumps([texts[cell] for cell in cells]))
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
"""


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_example_has_a_test() -> None:
    tested = {
        "asyncio_service.py",
        "cpu_bound.py",
        "first_steps.ipynb",
        "migrate.py",
        "safe_threading_demo.py",
        "web_app.py",
    }
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == tested


def test_demo() -> None:
    found = run("-W", "error", str(EXAMPLES / "safe_threading_demo.py"))
    parts = [line for line in found.splitlines() if " tokens in " in line]
    assert len(parts) == 12
    # Each part found the same.
    assert len({re.sub(r"^.*?(\d+ files, \S+ lines, \S+ tokens).*$", r"\1", line) for line in parts}) == 1
    header, *rows = found.split("\n\n")[-1].strip().splitlines()
    assert header.split() == ["work", "serial", "stdlib", "pyferris", "serial/pyferris", "stdlib/pyferris"]
    assert len(rows) == 5
    assert all(row.endswith("x") for row in rows)
    assert rows[0].startswith(f"count the files ({'interpreters' if sys.version_info >= (3, 12) else 'processes'})")


def test_asyncio_service() -> None:
    found = run("-W", "error", str(EXAMPLES / "asyncio_service.py"))
    assert re.search(r"^8 clients, 48 messages, [\d,]+ bytes: every hash is right$", found, re.MULTILINE)
    assert re.search(r"^[1-9]\d* heartbeats meanwhile", found, re.MULTILINE)


def test_cpu_bound() -> None:
    found = run("-W", "error", str(EXAMPLES / "cpu_bound.py"))
    assert len(re.findall(r"^    isolated .*x$", found, re.MULTILINE)) == 2
    assert re.search(r"^safe_parallel_map: \w+, \d+ workers, ", found, re.MULTILINE)


def test_web_app() -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    found = run(str(EXAMPLES / "web_app.py"), "--check")
    assert re.search(r"^17984 primes below 200000$", found, re.MULTILINE)
    assert re.search(r"^[1-9]\d* light answers meanwhile", found, re.MULTILINE)


def test_migrate() -> None:
    lines = run("-W", "error", str(EXAMPLES / "migrate.py")).splitlines()
    assert len(lines) == 6
    assert len({line[30:] for line in lines}) == 1


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What each code cell of the executed notebook printed: id, then stream, then text."""
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    target = tmp_path_factory.mktemp("notebook") / "executed.ipynb"
    run("-c", EXECUTE, str(EXAMPLES / "first_steps.ipynb"), str(target))
    printed: dict[str, dict[str, str]] = {}
    for cell in json.loads(target.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            streams: dict[str, str] = {}
            output: dict[str, Any]
            for output in cell["outputs"]:
                if output["output_type"] == "stream":
                    streams[output["name"]] = streams.get(output["name"], "") + "".join(output["text"])
            printed[cell["id"]] = streams
    return printed


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("open-pool", ""),
        ("top-level-await", "awaited: 1024\n"),
        ("print-in-call", "hello, notebook\nlength: 8\n"),
        ("blocking-result", "blocked: 5050\n"),
        ("map-progress", "sum of squares: 332833500\n"),
        ("stop-a-call", "stopped: True\n"),
        ("close-pool", "closed: True\n"),
    ],
)
def test_notebook_cell(cells: dict[str, dict[str, str]], cell: str, text: str) -> None:
    assert cells[cell].get("stdout", "") == text


def test_notebook_has_no_untested_cell(cells: dict[str, dict[str, str]]) -> None:
    assert len(cells) == 7


def test_notebook_shows_progress(cells: dict[str, dict[str, str]]) -> None:
    assert "1000/1000" in cells["map-progress"].get("stderr", "")


def test_a_late_print_appears_in_the_cell_that_submitted_it() -> None:
    pytest.importorskip("ipykernel")
    first, second = json.loads(run("-c", LATE_PRINT))
    assert first == "warm\nfrom the call\n"
    assert second == "from the cell\n"
