"""What a worker interpreter has for native code: its module ``worker`` (interpreter.cpp).

Imported before the first ``enter``, so that every pool finds it.
"""

from __future__ import annotations

import time

from . import _native, _wire
from ._wire import dumps_error, load_function, loads
from ._wire import dumps_result as dumps
from ._worker import enter, flush, leave
from ._worker_calls import call_each

__all__ = ["call_each", "dumps", "dumps_error", "enter", "flush", "leave", "load_function", "loads"]

_native.set_shared_codec(_wire.dumps, _wire.loads_element)
time.sleep = _native.sleep  # which a request to stop ends
