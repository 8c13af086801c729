"""What new interpreters find frozen rather than in files: the main interpreter's side of frozen_start.hpp.

Among it is a short ``site``: a worker has the paths of this interpreter, and what else ``site`` does can wait until it
is needed (``_worker_site``). Not so where code of others runs as an interpreter begins: a ``sitecustomize``, or a line
of a ``.pth`` file. Then workers have all of ``site`` from the first.
"""

from __future__ import annotations

import _imp
import marshal
import os
import sys
from _frozen_importlib_external import MAGIC_NUMBER
from typing import Any

from . import _native

__all__ = ["needed_by_imports", "read_code", "set_up"]

_GAP = b"which threads make interpreters"

# Other interpreters that begin meanwhile run the original. It goes by its own name when it is no longer replaced.
_SHORT_SITE = f"""
import _thread
if _thread.get_ident() not in memoryview({_GAP!r}).cast("L"):
    import _imp
    try:
        original = _imp.get_frozen_object("pyferris.site")
    except ImportError:
        original = _imp.get_frozen_object("site")
    exec(original, globals())
"""

# Files that add a finder of modules, each of one kind: the modules of a package that is installed to be edited, and
# distutils, which is setuptools' since Python 3.12.
_EDITABLE = "editable"
_DISTUTILS = ("_virtualenv.pth", "distutils-precedence.pth")

needed_by_imports = False  # a finder that site would add may be the one for a module that is not Python's own


def set_up() -> None:
    """Say what new interpreters find frozen. Once, before the first is made."""
    global needed_by_imports
    site = sys.modules.get("site")
    if site is None or getattr(site.__spec__, "origin", None) != "frozen":
        return  # as all of Python's own: it is not to be frozen here, or site was not to be imported
    files = _files_that_run(site)
    customized = "sitecustomize" in sys.modules or "usercustomize" in sys.modules
    short = not customized and all(_EDITABLE in file or file in _DISTUTILS for file in files)
    needed_by_imports = short and any(_EDITABLE in file for file in files)
    _native.set_frozen_start(list(_encodings()), *(_short_site() if short else (b"", b"", b"")))


def read_code(file: str, cached: str) -> bytes | None:
    """The code of a module, as marshal has it, from its bytecode file. None if there is none that is of ``file``."""
    try:
        source = os.stat(file)
        with open(cached, "rb", buffering=0) as stream:
            data = stream.read()
    except OSError:
        return None
    facts = (0, int(source.st_mtime) & 0xFFFFFFFF, source.st_size & 0xFFFFFFFF)
    begins = MAGIC_NUMBER + b"".join(fact.to_bytes(4, "little") for fact in facts)
    return data[16:] if data[:16] == begins else None


def _encodings() -> Any:
    """Of what is loaded of the package ``encodings``: name, code, whether it is the package."""
    for name, module in list(sys.modules.items()):
        if name == "encodings" or name.startswith("encodings."):
            spec = getattr(module, "__spec__", None)
            if spec is not None and spec.name == name and spec.origin is not None and spec.cached is not None:
                code = read_code(spec.origin, spec.cached)
                if code is not None:
                    yield name, code, name == "encodings"


def _short_site() -> tuple[bytes, bytes, bytes]:
    """Its code up to the bytes object that native code puts in, what follows, and the original."""
    code = marshal.dumps(compile(_SHORT_SITE, "<frozen site>", "exec", dont_inherit=True))
    before, _, after = code.partition(len(_GAP).to_bytes(4, "little") + _GAP)
    original: Any = _imp.find_frozen("site", withdata=True)
    return before, after, bytes(original[0])


def _files_that_run(site: Any) -> list[str]:
    """The ``.pth`` files that have a line of code."""
    found: list[str] = []
    directories: set[str] = set(site.getsitepackages())
    if site.ENABLE_USER_SITE:
        directories.add(site.getusersitepackages())
    for directory in directories:
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        files = [name for name in names if name.endswith(".pth")]
        found.extend(name for name in files if _has_code(os.path.join(directory, name)))
    return found


def _has_code(file: str) -> bool:
    try:
        with open(file, "rb", buffering=0) as stream:
            lines = stream.read().splitlines()
    except OSError:
        return False
    return any(line.removeprefix(b"\xef\xbb\xbf").startswith((b"import ", b"import\t")) for line in lines)
