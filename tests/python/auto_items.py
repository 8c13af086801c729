"""Functions whose answers hang on what their items share, for ``isolation="auto"``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

Made = tuple[Any, ...]


def work(n: int) -> int:
    return sum(range(n + 20000))


def case_items_share_a_list() -> Made:
    log: list[int] = []

    def notes(item: tuple[int, list[int]]) -> int:
        if item[0] % 20 == 19:
            item[1].append(item[0])
        return len(item[1]) + work(item[0])

    return notes, [(n, log) for n in range(60)], lambda *_: log


def case_names_are_numbered_in_a_shared_dict() -> Made:
    ids: dict[str, int] = {}
    items = [(str(n // 10), ids) for n in range(60)]
    return lambda item: work(1) and item[1].setdefault(item[0], len(item[1])), items, lambda *_: list(ids)


def case_neighbours_are_mended_in_place() -> Made:
    def mends(pair: tuple[list[int], list[int]]) -> int:
        one, before = pair
        if one[0] < 0:
            one[0] = -one[0]
        return one[0] + before[0] + work(1)

    rows = [[-n if n % 25 == 24 else n] for n in range(60)]
    return mends, list(zip(rows, [[0], *rows], strict=False)), lambda *_: rows


def case_one_item_many_times() -> Made:
    row = [0]

    def counts(item: list[int]) -> int:
        item[0] += 1
        return item[0]

    return counts, [row] * 60, lambda *_: row


class Part:
    def __init__(self, source: Iterator[int]) -> None:
        self._source = source

    def __iter__(self) -> Iterator[int]:
        return itertools.islice(self._source, 100)

    def __repr__(self) -> str:
        return "Part()"


def case_items_that_take_from_one_source() -> Made:
    source = iter(range(6000))
    return lambda item: sum(item) + work(1), [Part(source) for _ in range(60)]


def case_globals_without_a_name() -> Made:
    space: dict[str, Any] = {"work": work}
    exec("def function(n):\n    return __name__ if n >= 30 else work(n)", space)
    return space["function"], range(60)
