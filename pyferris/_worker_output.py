"""What a worker interpreter says: prints, log records and warnings, sent to the main interpreter."""

from __future__ import annotations

import io
import marshal
from _thread import RLock

from ._messages import LOG, STDERR, STDERR_BYTES, STDOUT, STDOUT_BYTES, WARNING

TYPE_CHECKING = False  # typing is not imported in a worker
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Self

    Send = Callable[[int, bytes], object]
    Facts = tuple[str | None, str, bool, bool]

__all__ = ["Overhearing", "TextOutput", "hear_nothing", "send_warning", "set_up_logging"]

_ENOUGH = 8192  # characters that are sent although no line has ended
_PLAIN = (str, int, float, bool, type(None))


class Overhearing:
    """In its ``with`` block nothing that is said goes home; ``heard``: something was said. One at a time."""

    heard = False

    def __enter__(self) -> Self:
        global _overhearing
        _overhearing = self
        return self

    def __exit__(self, *_error: object) -> None:
        global _overhearing
        _overhearing = None


_overhearing: Overhearing | None = None


def hear_nothing() -> None:
    """At the start of a pool: a request to stop may have come in the end of a ``with`` block."""
    global _overhearing
    _overhearing = None


def _is_overheard() -> bool:
    if _overhearing is None:
        return False
    _overhearing.heard = True
    return True


class TextOutput(io.TextIOBase):
    """A text stream whose text is sent home: after each line if that is what the stream there does, else in lumps."""

    def __init__(self, number: int, facts: Facts, send: Send) -> None:
        self._kind, self._bytes_kind = (STDOUT, STDOUT_BYTES) if number == 1 else (STDERR, STDERR_BYTES)
        self._encoding, self._errors, self._terminal, by_line = facts
        self._by_line = by_line or self._terminal or number == 2
        self._send = send
        self._lock = RLock()  # user code may have several threads here
        self._parts: list[str] = []
        self._size = 0
        self.name = "<stdout>" if number == 1 else "<stderr>"
        self.mode = "w"
        self.buffer = _BinaryOutput(self)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return self._errors

    @property
    def line_buffering(self) -> bool:
        return self._by_line

    def write(self, text: str, /) -> int:
        """Take ``text``; raise what the stream at home would raise for it."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        if self._encoding is not None and not text.isascii():
            text.encode(self._encoding, self._errors)
        if _is_overheard():
            return len(text)
        with self._lock:
            self._parts.append(str(text))
            self._size += len(text)
            if self._size >= _ENOUGH or (self._by_line and "\n" in text):
                self.flush()
        return len(text)

    def flush(self) -> None:
        with self._lock:
            if self._parts:
                text = "".join(self._parts)
                self._parts = []
                self._size = 0
                self._send(self._kind, text.encode("utf-8", "surrogatepass"))

    def send_bytes(self, data: bytes) -> None:
        if _is_overheard():
            return
        with self._lock:
            self.flush()
            self._send(self._bytes_kind, data)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._terminal

    def reconfigure(self, *, line_buffering: bool | None = None, **_options: Any) -> None:
        """Change the buffering; what else a real stream can change is decided at home."""
        self.flush()
        if line_buffering is not None:
            self._by_line = line_buffering


class _BinaryOutput(io.RawIOBase):
    """``sys.stdout.buffer``: bytes go out at once, after the text written before."""

    def __init__(self, text: TextOutput) -> None:
        self._text = text

    def write(self, data: Any, /) -> int:
        data = bytes(data)
        self._text.send_bytes(data)
        return len(data)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._text.isatty()


# --- warnings


def send_warning(send: Send, message: Any) -> None:
    """Send a ``warnings.WarningMessage``, with the built-in bases of its category for one that is unknown at home."""
    if _is_overheard():
        return
    category = message.category
    bases = [base.__name__ for base in category.__mro__ if base.__module__ == "builtins"]
    line = None if message.line is None else str(message.line)
    text = _text(message.message)
    send(
        WARNING,
        marshal.dumps(
            (text, category.__module__, category.__qualname__, str(message.filename), int(message.lineno), line, bases)
        ),
    )


# --- logging, once user code has imported it


def set_up_logging(logging: Any, levels: dict[str, int] | None, disable: int, send: Send) -> None:
    """Give the loggers the parent's levels and the root a handler that sends records home."""

    class Handler(logging.Handler):  # type: ignore[misc]
        def emit(self, record: Any) -> None:
            if _is_overheard():
                return
            try:
                send(LOG, _encoded(record, logging))
            except Exception:
                self.handleError(record)

    root = logging.root
    for handler in list(root.handlers):
        if type(handler).__module__ == __name__:  # of the pool before, where logging is always imported
            root.removeHandler(handler)
    root.addHandler(Handler())
    for name, level in (levels or {}).items():
        (logging.getLogger(name) if name else root).setLevel(level)
    logging.disable(disable)


def _encoded(record: Any, logging: Any) -> bytes:
    attributes = dict(record.__dict__)
    attributes["msg"] = record.getMessage()
    attributes["args"] = None
    if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
        attributes["exc_text"] = logging.Formatter().formatException(record.exc_info)
    attributes["exc_info"] = None
    others = {name: value for name, value in attributes.items() if type(value) not in _PLAIN}
    plain = {name: value for name, value in attributes.items() if name not in others}
    return marshal.dumps((plain, dict(_pickled(others.items(), plain))))


def _pickled(items: Iterable[tuple[str, Any]], plain: dict[str, Any]) -> Iterable[tuple[str, bytes]]:
    """Pickle each value; one that cannot be is put into ``plain`` as text."""
    for name, value in items:
        try:
            import pickle

            data = pickle.dumps(value)
        except Exception:
            plain[name] = _text(value, repr)
        else:
            yield name, data


def _text(value: object, form: Callable[[object], str] = str) -> str:
    try:
        return str(form(value))
    except Exception:
        return f"<{type(value).__name__} without a text>"
