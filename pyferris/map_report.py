"""MapReport: how the list of a safe_parallel_map came about."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

__all__ = ["ExplainedList", "MapReport"]

R = TypeVar("R")


class MapReport(NamedTuple):
    """How a ``safe_parallel_map`` was carried out."""

    mode: str
    """``"threads"``, ``"interpreters"``, ``"processes"`` or ``"inline"``."""
    reason: str
    """Why that mode."""
    items: int
    chunks: int
    """Runs of consecutive items, each by one worker."""
    workers: int
    """Workers that ran any; 0 for the caller."""
    seconds: float
    """From the call to the last result."""

    @property
    def speed(self) -> float:
        """Items a second."""
        return self.items / self.seconds if self.seconds else 0.0


class ExplainedList(list[R]):
    """The list of results, with how it came about in ``report``."""

    report: MapReport
