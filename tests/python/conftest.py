"""A pool; where shipped functions are called, and applications that they come from."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from elsewhere import KINDS, App, Elsewhere, make
from interleaving import switching

from pyferris.safe_thread import SafeThreadPool

# A shell that runs the tests in the background has them ignore Ctrl-C, which some send, and programs that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def pool() -> Iterator[SafeThreadPool]:
    with SafeThreadPool(2) as pool:
        yield pool


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Let threads take turns as often as the interpreter can."""
    with switching(1e-6):
        yield


@pytest.fixture(scope="module", params=KINDS)
def there(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    elsewhere = make(request.param, tmp_path_factory.mktemp("elsewhere"))
    yield elsewhere
    elsewhere.close()


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.syspath_prepend(str(tmp_path))
    made = App(tmp_path)
    yield made
    made.forget()
