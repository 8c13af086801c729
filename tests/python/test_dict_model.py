"""SafeDict against dict: the same steps, the same results, the same order."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pyferris.safe_thread import SafeDict


class Same:
    """A key whose hash all of its kind share, so that each look-up compares."""

    def __init__(self, name: object) -> None:
        self.name = name

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.name == other.name

    def __repr__(self) -> str:
        return f"Same({self.name!r})"


KEYS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from(["", "a", "b", "\u20ac"]),
    st.sampled_from([0.0, 1.0, 2.5, True, False, None, b"a", b"", (), ("a", 1)]),
    st.builds(Same, st.integers(0, 4)),
)
STEPS = st.one_of(
    st.tuples(st.just("set"), KEYS, st.integers()),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("pop"), KEYS),
    st.tuples(st.just("popitem")),
    st.tuples(st.just("setdefault"), KEYS, st.integers()),
    st.tuples(st.just("get"), KEYS),
    st.tuples(st.just("in"), KEYS),
    st.tuples(st.just("update"), st.dictionaries(KEYS, st.integers(), max_size=20)),
    st.tuples(st.just("increment"), KEYS, st.integers()),
    st.tuples(st.just("exchange"), KEYS, st.integers(0, 1), st.integers(0, 1)),
    st.tuples(st.just("copy")),
    st.tuples(st.just("clear")),
)


def apply(target: Any, name: str, *args: Any) -> Any:
    """One step on a dict or a SafeDict: what it returned, or its KeyError."""
    is_shared = isinstance(target, SafeDict)
    try:
        match name, args:
            case "set", (key, value):
                target[key] = value
                return None
            case "delete", (key,):
                del target[key]
                return None
            case "in", (key,):
                return key in target
            case "increment", (key, amount):
                if is_shared:
                    return target.increment(key, amount)
                target[key] = target.get(key, 0) + amount
                return target[key]
            case "exchange", (key, expected, new):
                if is_shared:
                    return target.compare_exchange(key, expected, new)
                if key not in target or target[key] != expected:
                    return False
                target[key] = new
                return True
            case "copy", ():
                return dict(target.copy())
        return getattr(target, name)(*args)
    except KeyError as error:
        return type(error) if name == "popitem" else repr(error)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_does_what_a_dict_does(steps: list[tuple[Any, ...]]) -> None:
    shared: SafeDict[Any, Any] = SafeDict()
    model: dict[Any, Any] = {}
    for step in steps:
        assert apply(shared, *step) == apply(model, *step)
        assert list(shared.items()) == list(model.items())
        assert len(shared) == len(model)
