"""Caches of functions, for ``_purity``: what ``functools.lru_cache`` makes."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import functools
import gc
from typing import Any

from . import _reach
from ._known import MOST_DATA
from ._native import is_small_data

__all__: list[str] = []

CACHED: Any = type(functools.lru_cache(len))
_OF_CACHES = [each for each in gc.get_referents(functools.lru_cache(len)) if type(each) in (type, object)]
_ELEMENT = next(each for each in _OF_CACHES if getattr(each, "__name__", None) == "_lru_list_elem")
_CACHE_ATTRIBUTES = frozenset(functools.lru_cache(lambda: None).__dict__) | {"__type_params__"}
_MOST_CACHED = 300  # results of a cache of limited size that are gone through


def cached_by(cache: Any) -> Any:
    """The function whose results an ``lru_cache`` keeps. None if that is not sure to be a plain function, what it keeps
    is no data, or so much that finding out takes long; or if the cache has attributes that others gave it.
    """
    attributes, info = cache.__dict__, CACHED.cache_info(cache)
    if not _CACHE_ATTRIBUTES.issuperset(attributes) or (info.maxsize is not None and info.currsize > _MOST_CACHED):
        return None
    functions, kept = list[Any](), list[Any]()
    for each in gc.get_referents(cache):
        if type(each) is _reach.Function:
            functions.append(each)
        elif type(each) is dict and each and set(map(type, each.values())) == {_ELEMENT}:
            kept += each  # the keys; what they lead to, the cache has as well
        elif each is not attributes and not any(each is other for other in _OF_CACHES):
            kept.append(each)
    wrapped = attributes.get("__wrapped__")
    return wrapped if functions == [wrapped] and is_small_data(kept, MOST_DATA) else None
