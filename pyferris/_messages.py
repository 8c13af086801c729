"""The kinds of message that a worker sends home: both sides import this, and nothing else in common."""

from __future__ import annotations

__all__ = ["EXTENSION", "LOG", "STDERR", "STDERR_BYTES", "STDOUT", "STDOUT_BYTES", "WARNING"]

STDOUT = 1  # text for the submitter's sys.stdout
STDERR = 2
LOG = 3  # one log record: marshal of ({plain attribute: value}, {other attribute: its pickle})
WARNING = 4  # one warning: marshal of (text, category's module, category's name, file, line number, line, bases)
STDOUT_BYTES = 5  # what was written to sys.stdout.buffer
STDERR_BYTES = 6
EXTENSION = 7  # a request: marshal of (module, its file); the answer is empty, or says what went wrong
