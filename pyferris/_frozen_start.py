"""What new interpreters find frozen rather than in files: the main interpreter's side of frozen_start.hpp.

Among it is a short ``site``: a worker has the paths of this interpreter, and what else ``site`` does can wait until it
is used (``_worker_site``). Not so where code of others runs as an interpreter begins: a ``sitecustomize``, or a line of
a ``.pth`` file. Then workers have all of ``site`` from the first.
"""

from __future__ import annotations

import _imp
import codecs
import marshal
import os
import sys
from _frozen_importlib_external import MAGIC_NUMBER
from typing import TYPE_CHECKING, Any

from . import _native

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

__all__ = ["finds_distutils", "read_code", "set_up"]

# The code of the functions with a name in capitals is that of modules: to compile some text in their place took as
# long as a tenth of an interpreter.


def _SITE() -> None:  # noqa: N802
    """Of the threads that make interpreters here, the short ``site``: nothing.

    Other interpreters that begin meanwhile run the original. It goes by its own name when it is no longer replaced.
    """
    import _thread

    if _thread.get_ident() not in memoryview(b"which threads make interpreters").cast("L"):
        import _imp

        try:
            original = _imp.get_frozen_object("pyferris.site")
        except ImportError:
            original = _imp.get_frozen_object("site")
        exec(original, globals())


def _AS_OF_FILE() -> None:  # noqa: N802
    """A module that is frozen here and says, wherever it is run, that it is from its file."""
    from _frozen_importlib_external import SourceFileLoader, spec_from_file_location

    loader = SourceFileLoader(__name__, "its file")
    places: Any = "its places"
    spec: Any = spec_from_file_location(__name__, "its file", loader=loader, submodule_search_locations=places)
    globals().update(__loader__=loader, __spec__=spec, __file__=spec.origin, __cached__=spec.cached)
    exec("its code", globals())


def _module_code(code: CodeType, name: str, constants: dict[str, object]) -> CodeType:
    """A function's code as that of the frozen module ``name``, with other objects in the places of some strings."""
    consts = tuple(constants.get(each, each) if type(each) is str else each for each in code.co_consts)
    return code.replace(co_filename=f"<frozen {name}>", co_name="<module>", co_qualname="<module>", co_consts=consts)


# Each adds a finder for distutils, which is setuptools' since Python 3.12, and is needed for nothing else.
_OF_DISTUTILS = ("_virtualenv.pth", "distutils-precedence.pth")

finds_distutils = False
"""Workers without ``site`` miss a finder for ``distutils``."""


def set_up() -> None:
    """Say what new interpreters find frozen. Once, before the first is made."""
    global finds_distutils
    site = sys.modules.get("site")
    if site is None or getattr(site.__spec__, "origin", None) != "frozen":
        return  # as all of Python's own: it is not to be frozen here, or site was not to be imported
    files = _files_that_run(site)
    customized = "sitecustomize" in sys.modules or "usercustomize" in sys.modules
    short = not customized and all(file in _OF_DISTUTILS or _is_ours(file) for file in files)
    finds_distutils = short and any(file in _OF_DISTUTILS for file in files)
    _native.set_frozen_start(list(_encodings()), *(_short_site() if short else (b"", b"", b"")))


def _is_ours(file: str) -> bool:
    """Whether it is for this package, installed to be edited: workers have its modules without a finder."""
    return "editable" in file and "pyferris" in file


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


def _encodings() -> Iterator[tuple[str, bytes, bool]]:
    """Of the package ``encodings``, what an interpreter begins with: name, code, whether it is the package."""
    of_files = codecs.lookup(sys.getfilesystemencoding()).name.replace("-", "_")
    for name in {"encodings", "encodings.aliases", "encodings.utf_8", f"encodings.{of_files}"}:
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if spec is None or spec.name != name or spec.origin is None or spec.cached is None:
            continue
        code = read_code(spec.origin, spec.cached)
        if code is not None:
            own = {
                "its file": spec.origin,
                "its places": spec.submodule_search_locations,
                "its code": marshal.loads(code),
            }
            yield name, marshal.dumps(_module_code(_AS_OF_FILE.__code__, name, own)), name == "encodings"


def _short_site() -> tuple[bytes, bytes, bytes]:
    """Its code up to the bytes object that native code puts in, what follows, and the original."""
    code = _module_code(_SITE.__code__, "site", {})
    gap = next(each for each in code.co_consts if type(each) is bytes)
    before, _, after = marshal.dumps(code).partition(len(gap).to_bytes(4, "little") + gap)
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
