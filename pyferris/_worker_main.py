"""What a worker interpreter has for native code: its module ``worker`` (interpreter.cpp).

Imported before the first ``enter``, so that every pool finds it.
"""

from __future__ import annotations

import time

from . import _auto_worker as _auto_worker  # which worker calls import late, in processes
from . import _native, _wire
from ._initial_state import initialize, pass_on
from ._wire import dumps_error, loads
from ._wire import dumps_result as dumps
from ._worker import end, enter, flush, leave
from ._worker_calls import call_each

TYPE_CHECKING = False  # typing is not imported in a worker
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "call_each",
    "dumps",
    "dumps_error",
    "end",
    "enter",
    "flush",
    "initialize",
    "leave",
    "load_function",
    "loads",
]

_native.set_shared_codec(_wire.dumps, _wire.loads_element)
time.sleep = _native.sleep  # type: ignore[assignment]  # which a request to stop ends


def load_function(blob: bytes) -> Any:
    """The callable of a shipment, which sees what the pool's initializer has set in globals."""
    function = _wire.load_function(blob)
    pass_on(function)
    return function
