"""Own-GIL interpreters made with the standard library's private modules, for tests of what runs in a worker."""

from __future__ import annotations

import sys
import textwrap
from typing import Any

SUPPORTED = sys.version_info >= (3, 12)

_modules: Any = None
if sys.version_info >= (3, 13):
    import _interpreters as _modules
elif sys.version_info >= (3, 12):
    import _xxsubinterpreters as _modules

# What a worker does first: `said` collects what it sends home, `home` is the descriptor where `report` writes.
BOOT = """
import sys
sys.path[:] = {path!r}
from pyferris import _worker
class Said(list):
    pass  # no container that `leave` brings back to what it was
said = Said()
def send(kind, payload):
    said.append((kind, payload))
def report(value):
    import marshal, os
    os.write({home}, marshal.dumps(list(value) if value is said else value))
"""


class Interpreter:
    """One with a GIL of its own; ``run`` executes code there, in one namespace, and raises what it raises."""

    def __init__(self, home: int) -> None:
        self._id = _modules.create("isolated") if sys.version_info >= (3, 13) else _modules.create(isolated=True)
        self.run(BOOT.format(path=sys.path, home=home))

    def run(self, code: str, **given: object) -> None:
        """Run ``code`` with the names ``given``, values with a repr that can be read."""
        code = "\n".join(f"{name} = {value!r}" for name, value in given.items()) + "\n" + textwrap.dedent(code)
        if sys.version_info >= (3, 13):
            problem = _modules.exec(self._id, code)
            if problem is not None:
                raise RuntimeError(problem.errdisplay)
        else:
            _modules.run_string(self._id, code)

    def close(self) -> None:
        _modules.destroy(self._id)
