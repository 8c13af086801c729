"""Says which object of a message cannot travel. Used when pickling has failed; never fails itself."""

from __future__ import annotations

from typing import Any

__all__: list[str] = []

LONGEST = 80  # characters of an object's repr


def short(value: object) -> str:
    """The repr of anything, on one line and short."""
    try:
        text = repr(value)
    except BaseException:
        text = f"<{type(value).__name__} whose repr fails>"
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def name(function: Any) -> str:
    found = getattr(function, "__qualname__", None)
    return f"{found}()" if isinstance(found, str) else short(function)


def explain(value: object, what: str, error: BaseException) -> str:
    return (
        f"{what} cannot be sent to an isolated worker: {short(value)} ({type(value).__qualname__}) cannot be pickled "
        f'({error}); make it in the worker, send plain data instead, or use isolation="none"'
    )
