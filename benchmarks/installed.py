"""The package as users have it, for what only a new process can show.

An editable install makes each new interpreter import the finder that leads to the source tree: a sixth of its start.
"""

from __future__ import annotations

import atexit
import compileall
import functools
import importlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NEEDED = ("pyferris", "cloudpickle", "loky")


@functools.cache
def python() -> str:
    """A Python that has the package, with what it needs and bytecode files, in its own site-packages; gone at exit."""
    folder = Path(tempfile.mkdtemp(prefix="pyferris-installed-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    packages = next(folder.glob("lib/python3*/site-packages"))
    for name in NEEDED:
        module = importlib.import_module(name)
        shutil.copytree(Path(str(module.__file__)).parent, packages / name)
    native = importlib.import_module("pyferris._native")
    shutil.copy(str(native.__file__), packages / "pyferris")
    compileall.compile_dir(packages, quiet=1)
    return str(folder / "bin" / "python")
