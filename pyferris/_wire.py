"""Objects as bytes, between interpreters and processes. The first byte says how: M marshal, P pickle; R, F functions.

Used in workers as well: imports nothing but built-in modules until something asks for it.
"""

from __future__ import annotations

import marshal

from . import _native, _rebuild

TYPE_CHECKING = False  # as in typing, which workers shall not have to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import Any

__all__: list[str] = []

_SCALARS = frozenset({int, float, complex, str, bytes, bool, type(None), type(...)})


def _plain(value: Any, depth: int = 0) -> bool:
    kind = type(value)
    if kind in _SCALARS:
        return True
    if depth > 100:
        return False
    depth += 1
    if kind is dict:
        return all(_plain(key, depth) and _plain(item, depth) for key, item in value.items())
    return kind in (list, tuple, set, frozenset) and all(_plain(item, depth) for item in value)


def _encode_plain(value: object) -> bytes | None:
    return marshal.dumps(value) if _plain(value) else None


encode_plain: Callable[[object], bytes | None] = getattr(_native, "encode_plain", _encode_plain)

_code_bytes: dict[tuple[CodeType, str], bytes] = {}


def code_bytes(code: CodeType) -> bytes:
    """Code by marshal; the same bytes each time, which marshal alone does not promise."""
    key = (code, code.co_filename)  # code is equal to the same code of another file
    found = _code_bytes.get(key)
    if found is None:
        found = marshal.dumps(code)
        if len(_code_bytes) >= 2048:
            _code_bytes.clear()
        _code_bytes[key] = found
    return found


def dumps(value: object, what: str | None = "an argument") -> bytes:
    """Bytes for ``loads``. ``TypeError`` that names what cannot travel and ``what`` it is of."""
    data = encode_plain(value)
    if data is not None:
        return b"M" + data
    from . import _by_value

    return _by_value.dumps(value, what or "a value")


def dumps_result(value: object, what: str | None = "a result") -> bytes:
    """As ``dumps``, for where a call has come from: its own classes and functions go back by their tokens."""
    data = encode_plain(value)
    if data is not None:
        return b"M" + data
    from . import _by_value

    return _by_value.dumps(value, what or "a result", result=True)


def loads(data: bytes, function: object = None) -> Any:
    """What ``dumps`` was given; classes that ``function``, of ``load_function``, has brought are those it knows."""
    tag = data[:1]
    if tag == b"M":
        return marshal.loads(memoryview(data)[1:])
    if tag != b"P":
        raise ValueError(f"not a message of this package: its first byte is {tag!r}")
    home = None if function is None else _rebuild.home_of(function)
    with _rebuild.Loading(home):
        return _unpickle(data)


def _unpickle(data: bytes) -> Any:
    import _pickle

    return _pickle.loads(memoryview(data)[1:])[0]


def load_function(blob: bytes) -> Any:
    """The callable of a shipment. Each call makes a new one, with namespaces of its own."""
    tag = blob[:1]
    if tag == b"F":
        return _rebuild.load_plain(memoryview(blob)[1:])
    if tag == b"R":
        return _rebuild.reference(*marshal.loads(memoryview(blob)[1:]))
    if tag != b"P":
        raise ValueError(f"not a shipped function: its first byte is {tag!r}")
    with _rebuild.Loading(_rebuild.Home()) as home:
        function = _unpickle(blob)
    _rebuild.keep_home(function, home)
    return function


def dumps_error(error: BaseException) -> bytes:
    """An exception with its traceback as text, for ``loads_error``. Never fails."""
    from . import _remote

    return _remote.dumps_error(error)


def loads_error(data: bytes) -> BaseException:
    """The exception; its ``__cause__`` shows the traceback. Never fails."""
    from . import _remote

    return _remote.loads_error(data)
