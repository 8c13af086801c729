"""Objects as bytes, between interpreters and processes. The first byte says how: M marshal, P pickle; R, F functions.

Used in workers as well: imports nothing but built-in modules until something asks for it.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false
from __future__ import annotations

import marshal

from . import _homes, _rebuild
from ._native import encode_plain, is_sealed, seal

TYPE_CHECKING = False  # as in typing, which workers shall not have to import
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any

__all__: list[str] = []


def unseal(data: bytes, tags: bytes) -> tuple[int, memoryview]:
    """Tag and content. ``ValueError`` unless it is a whole message with one of these tags."""
    view = memoryview(data)
    if len(view) < 5 or data[0] not in tags:
        raise ValueError(f"not a message of this kind: it begins with {bytes(view[:5])!r}")
    if not is_sealed(view):  # decoders of garbage can crash
        raise ValueError("a damaged message")
    return data[0], view[5:]


def loads_element(data: bytes) -> Any:
    """An element of shared data: of ``dumps``, or pickled when there was no pool of interpreters yet."""
    if data[:1] == b"\x80":
        import pickle

        return pickle.loads(data)
    return loads(data)


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
        return seal(b"M", data)
    from . import _by_value

    return _by_value.dumps(value, what or "a value")


def dumps_result(value: object, what: str | None = "a result") -> bytes:
    """As ``dumps``, for where a call has come from: its own classes and functions go back by their tokens."""
    data = encode_plain(value)
    if data is not None:
        return seal(b"M", data)
    from . import _by_value

    return _by_value.dumps(value, what or "a result", result=True)


def loads(data: bytes, function: object = None) -> Any:
    """What ``dumps`` was given; classes that ``function``, of ``load_function``, has brought are those it knows."""
    tag, content = unseal(data, b"MP")
    if tag == MARSHALLED:
        return marshal.loads(content)
    with _homes.Loading(None if function is None else _homes.home_of(function)):
        return _unpickle(content)


MARSHALLED, PLAIN, REFERENCE = b"MFR"


def _unpickle(content: memoryview) -> Any:
    import _pickle

    return _pickle.loads(content)[0]


def load_function(blob: bytes) -> Any:
    """The callable of a shipment. Each call makes a new one, with namespaces of its own."""
    tag, content = unseal(blob, b"FRP")
    if tag == PLAIN:
        return _rebuild.load_plain(content)
    if tag == REFERENCE:
        return _rebuild.reference(*marshal.loads(content))
    with _homes.Loading(_homes.Home()) as home:
        function = _unpickle(content)
    _homes.keep_home(function, home)
    return function


def dumps_error(error: BaseException) -> bytes:
    """An exception with its traceback as text, for ``loads_error``. Never fails."""
    from . import _remote

    return _remote.dumps_error(error)


def loads_error(data: bytes) -> BaseException:
    """The exception; its ``__cause__`` shows the traceback. Never fails."""
    from . import _remote

    return _remote.loads_error(data)
