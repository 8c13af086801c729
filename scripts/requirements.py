"""Print the requirements that pyproject.toml names, one a line: `python scripts/requirements.py build progress`.

`build` stands for what the build back end needs, `run` for what the package does, any other argument for the extra of
that name. An extra that names another of ours (`pyferris[test]`) brings in its requirements, so that pip is never asked
to install pyferris itself.
"""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any


def requirements(pyproject: dict[str, Any], name: str) -> list[str]:
    """The requirements of `build`, of `run` or of one extra, in the order in which they are written."""
    if name == "build":
        listed = pyproject["build-system"]["requires"]
    elif name == "run":
        listed = pyproject["project"]["dependencies"]
    else:
        listed = pyproject["project"]["optional-dependencies"][name]
    found: list[str] = []
    for requirement in listed:
        own = re.fullmatch(r"pyferris\[([\w-]+)\]", requirement)
        found += requirements(pyproject, own[1]) if own else [requirement]
    return found


def main() -> None:
    pyproject = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    wanted = [requirement for name in sys.argv[1:] for requirement in requirements(pyproject, name)]
    print("\n".join(dict.fromkeys(wanted)))


if __name__ == "__main__":
    main()
