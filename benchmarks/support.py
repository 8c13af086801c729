"""What the benchmarks share: clocks, checks, and the sections of RESULTS.md."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pyferris._version import __version__

RESULTS = Path(__file__).with_name("RESULTS.md")


def identity(value: Any) -> Any:
    return value


def check(found: object, expected: object) -> None:
    if found != expected:
        raise SystemExit("a benchmark gave a wrong result")


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def circumstances(packages: Iterable[str]) -> str:
    """Date, machine and versions, also of `packages`, as a line."""
    versions = "".join(f"{name} {importlib.metadata.version(name)}, " for name in packages)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    today = datetime.datetime.now(datetime.UTC)
    machine = f"{python}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return f"{today:%Y-%m-%d}; {machine}; {versions}pyferris {__version__}."


def write_section(name: str, lines: Iterable[str]) -> None:
    """Put the section of RESULTS.md that has this name, of this Python, in the place of its last one, or at the end."""
    title = f"## {name}, CPython {platform.python_version()}"
    text = RESULTS.read_text() if RESULTS.exists() else ""
    sections = [each.strip() for each in re.split(r"^(?=## )", text, flags=re.MULTILINE) if each.startswith("## ")]
    made = "\n".join([title, "", *lines]).strip()
    places = [place for place, each in enumerate(sections) if each.partition("\n")[0] == title]
    if places:
        sections[places[0]] = made
    else:
        sections.append(made)
    RESULTS.write_text("\n\n".join(["# Results", *sections]) + "\n")
