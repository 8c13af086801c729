"""Exceptions as bytes, with their tracebacks as text."""

from __future__ import annotations

from typing import Any

from . import _by_value, _wire

__all__ = ["RemoteTraceback"]


class RemoteTraceback(Exception):
    """The cause of an exception that was raised in a worker: shows the traceback of there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return self.text


def dumps_error(error: BaseException) -> bytes:
    import traceback

    text = "".join(traceback.format_exception(error))
    return _by_value.dumps((error, text), "an exception")


def loads_error(data: bytes) -> BaseException:
    error: Any
    error, text = _wire.loads(data)
    error.__cause__ = RemoteTraceback(text)
    return error
