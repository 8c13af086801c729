"""``isolation="auto"`` for maps that an event loop waits for: a driver on a thread of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from .future import SafeFuture

if TYPE_CHECKING:
    import asyncio

    from ._auto import Driver
    from .map_result import MapResult

__all__ = ["Aside"]


class Aside:
    """A driver on a thread of its own, beside an event loop that waits for the map."""

    def __init__(self, driver: Driver, mapped: MapResult[Any], loop: asyncio.AbstractEventLoop) -> None:
        self._driver = driver
        self._mapped = mapped
        self._gone: SafeFuture[None] | None = None
        self._handle = loop.call_later(driver.limits.first_look, self._start)

    def _start(self) -> None:
        if self._mapped._finished == self._mapped._added:
            return
        self._gone = SafeFuture()
        threading.Thread(target=self._run, args=(self._gone,), name="safe_parallel_map-auto", daemon=True).start()

    def _run(self, gone: SafeFuture[None]) -> None:
        try:
            self._driver.run(self._mapped, shows=False)
        finally:
            gone.set_result(None)

    async def finish(self) -> None:
        """After the map."""
        self._handle.cancel()
        if self._gone is not None:
            await self._gone
        self._driver.close(True)

    def abort(self) -> None:
        self._handle.cancel()
        if self._gone is None:
            self._driver.close(False)
        else:
            self._gone.add_done_callback(lambda _: self._driver.close(False))
