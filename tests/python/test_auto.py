"""isolation="auto": never another answer than a loop gives, whoever runs the items."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import auto_corpus
import pytest

from pyferris import _auto
from pyferris.isolation import HAS_INTERPRETERS

HERE = Path(__file__).parent
needs_interpreters = pytest.mark.skipif(not HAS_INTERPRETERS, reason="this Python has no isolated interpreters")


def compare(group: int) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(HERE / "auto_corpus.py"), str(group)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)])},
    )
    assert done.returncode == 0, done
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("group", range(len(auto_corpus.GROUPS)))
def test_every_answer_is_that_of_a_loop(group: int) -> None:
    found = compare(group)
    pure = {case.name for case in auto_corpus.GROUPS[group] if case.pure}
    assert len(found) == len(auto_corpus.GROUPS[group])
    for name, outcome in found.items():
        assert outcome["differs"] == [], (name, outcome)
        if name in pure and HAS_INTERPRETERS:
            assert outcome["mode"] == "interpreter", (name, outcome)
        if name not in pure and name not in auto_corpus.PURE_ENOUGH:
            assert outcome["mode"] == "threads", (name, outcome)


def test_the_corpus_is_large() -> None:
    assert len(auto_corpus.CASES) >= 60
    assert _auto.LIMITS.patient is False
