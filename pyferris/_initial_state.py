"""What an initializer sets in globals, for the calls that come after it in its worker.

Each shipment has namespaces of its own, so that calls do not see each other's. An initializer is the exception.
"""

from __future__ import annotations

from . import _homes

TYPE_CHECKING = False  # typing is not imported in a worker
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["initialize", "pass_on"]

_written: dict[int, dict[str, Any]] = {}  # by the key of the namespace


def initialize(function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Call an initializer, of ``_wire.load_function``, and keep what it sets."""
    home = _homes.home_of(function)
    spaces: dict[int, Any] = {} if home is None else home.spaces
    before: dict[int, dict[str, Any]] = {key: dict(space.__dict__) for key, space in spaces.items()}
    function(*args, **kwargs)
    for key, space in spaces.items():
        now: dict[str, Any] = space.__dict__
        was = before.get(key, now)
        changed = {name: value for name, value in now.items() if was.get(name, _homes.MISSING) is not value}
        if changed:
            _written.setdefault(key, {}).update(changed)


def pass_on(function: object) -> None:
    """Let a function that has just been loaded see it."""
    home = _homes.home_of(function) if _written else None
    if home is None:
        return
    for key, values in _written.items():
        space: Any = home.spaces.get(key)
        if space is not None:
            space.__dict__.update(values)
            home.owned.setdefault(key, set()).update(values)
