"""What tests of pools of interpreters have called there, and wait for here."""

from __future__ import annotations

import sys

import pytest

from pyferris import _native

needs_interpreters = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="interpreters with a GIL of their own need Python 3.12"
)

LIMIT = 60  # seconds that nothing here takes


def count(number):
    total = 0
    for i in range(number):
        total = (total * 5 + i) & 1023
    return total


def add(one, other=0):
    return one + other


def fail(text):
    raise ValueError(text, 7)


def forever(started):
    started.push(1)
    while True:
        pass


def wait_for(queue):
    return queue.pop(timeout=LIMIT)


def started(queue, count=1):
    for _ in range(count):
        queue.pop(timeout=LIMIT)


def other_interpreter():
    return not _native.in_main_interpreter()
