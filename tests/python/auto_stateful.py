"""Functions that see or change state: ``isolation="auto"`` gives what a loop gives."""

from __future__ import annotations

import builtins
import contextlib
import contextvars
import copy
import datetime
import decimal
import functools
import importlib.util
import io
import logging
import math
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

Made = tuple[Any, ...]

counter = 0
factor = 3
seen: list[int] = []
MISSING = object()
mode = contextvars.ContextVar("mode", default="none")
local = threading.local()


def work(n: int) -> int:
    return sum(range(n + 20000))


def counting(n: int) -> int:
    global counter
    counter += 1
    return work(n)


def case_counts_calls_in_a_global() -> Made:
    global counter
    counter = 0
    return counting, range(60), lambda items, results: counter


def case_rebound_global() -> Made:
    global factor
    factor += 1
    factor -= 1
    return lambda n: work(n) * factor, range(60)


def case_global_rebound_to_something_else() -> Made:
    global factor
    factor = 1000

    def restore() -> None:
        global factor
        factor = 3

    return lambda n: work(n) * factor, range(60), lambda *_: None, restore


def patched(target: str, replacement: Any, function: Any) -> Made:
    patch = mock.patch(target, replacement)
    patch.start()
    return function, range(60), lambda *_: None, patch.stop


def case_patched_module_attribute() -> Made:
    return patched("math.sqrt", lambda x: x + 1000, lambda n: work(n) + math.sqrt(4))


def case_mocked_module_attribute() -> Made:
    return patched("math.floor", mock.Mock(return_value=77), lambda n: work(n) + math.floor(4.2))


def case_patched_helper() -> Made:
    return patched(f"{__name__}.work", lambda n: n - sum(range(20000)), lambda n: work(n) + 1)


def case_patched_builtin() -> Made:
    return patched("builtins.abs", lambda n: -7, lambda n: work(n) + abs(n))


def case_patched_dict_of_globals() -> Made:
    patch = mock.patch.dict(globals(), {"factor": 50})
    patch.start()
    return lambda n: work(n) * factor, range(60), lambda *_: None, patch.stop


def case_decimal_context() -> Made:
    before = decimal.getcontext().prec
    decimal.getcontext().prec = 5

    def restore() -> None:
        decimal.getcontext().prec = before

    return lambda n: (work(n), str(decimal.Decimal(n) / 7)), range(60), lambda *_: None, restore


def case_random() -> Made:
    random.seed(5)
    return lambda n: (work(n), random.random() < 2), range(60)


def case_random_of_its_own() -> Made:
    return lambda n: (work(n), random.Random(n).random()), range(60)


def case_cached_function() -> Made:
    @functools.lru_cache(None)
    def cached(n: int) -> int:
        return work(n)

    return cached, [n % 10 for n in range(600)], lambda *_: cached.cache_info().currsize


def case_cached_helper() -> Made:
    @functools.cache
    def cached(n: int) -> int:
        return work(n)

    return lambda n: cached(n) + work(n), [n % 10 for n in range(100)], lambda *_: cached.cache_info().currsize


def case_list_is_changed() -> Made:
    def change(item: list[int]) -> int:
        item.append(work(item[0]))
        return len(item)

    return change, [[n] for n in range(100)]


def case_list_is_sorted_in_place_and_returned() -> Made:
    def arrange(item: list[int]) -> list[int]:
        item.sort()
        work(item[0])
        return item

    return arrange, [[n, -n, 5] for n in range(100)]


def case_nested_dict_is_changed() -> Made:
    def change(item: dict[str, dict[str, int]]) -> int:
        item["deep"]["count"] += 1
        return work(item["deep"]["count"])

    return change, [{"deep": {"count": n}} for n in range(100)]


def case_only_some_items_are_changed() -> Made:
    def change(item: list[int]) -> int:
        if item[0] % 40 == 39:
            item.append(1)
        return work(item[0])

    return change, [[n] for n in range(120)]


def case_item_itself_is_returned() -> Made:
    return lambda item: item if work(item["n"]) else None, [{"n": n} for n in range(100)]


def case_part_of_the_item_is_returned() -> Made:
    def look(items: list[Any], results: list[Any]) -> list[bool]:
        return [result is item["list"] for item, result in zip(items, results, strict=True)]

    return lambda item: item["list"] if work(1) else None, [{"list": [n]} for n in range(100)], look


def case_sentinel_by_identity() -> Made:
    return (
        lambda n: MISSING if work(n) % 2 else n,
        range(60),
        lambda items, results: [each is MISSING for each in results],
    )


def case_sentinel_in_a_default() -> Made:
    def call(n: int, missing: Any = MISSING) -> bool:
        return work(n) > 0 and missing is MISSING

    return call, range(60)


def case_identity_of_the_item() -> Made:
    known = [str(n) * 50 for n in range(60)]
    return lambda text: work(1) and any(text is each for each in known), known


class Settings:
    rate = 1

    def __init__(self, rate: int) -> None:
        self.own = rate

    def apply(self, n: int) -> int:
        return work(n) * self.own * self.rate

    @classmethod
    def made(cls, n: int) -> int:
        return work(n) * cls.rate

    def __repr__(self) -> str:
        return f"Settings({self.own})"


def case_class_attribute_set_at_run_time() -> Made:
    Settings.rate = 9

    def restore() -> None:
        Settings.rate = 1

    return lambda n: work(n) * Settings.rate, range(60), lambda *_: None, restore


def case_method() -> Made:
    return Settings(4).apply, range(60)


def case_class_method() -> Made:
    return Settings.made, range(60)


def case_class_as_the_function() -> Made:
    return Settings, range(3000)


def case_callable_object() -> Made:
    class Adder:
        total = 0

        def __call__(self, n: int) -> int:
            self.total += n
            return work(n)

    adder = Adder()
    return adder, range(60), lambda *_: adder.total


def case_prints_under_redirect() -> Made:
    stack = contextlib.ExitStack()
    text = stack.enter_context(contextlib.redirect_stdout(io.StringIO()))

    def call(n: int) -> int:
        print(work(n))
        return n

    return call, range(60), lambda *_: sorted(text.getvalue().split()), stack.close


def case_reads_the_environment() -> Made:
    os.environ["PYFERRIS_CORPUS"] = "here"
    return lambda n: (work(n), os.environ.get("PYFERRIS_CORPUS")), range(60)


def case_changes_the_environment() -> Made:
    def call(n: int) -> int:
        os.environ[f"PYFERRIS_CORPUS_{n}"] = "1"
        return work(n)

    return call, range(60), lambda *_: sorted(each for each in os.environ if each.startswith("PYFERRIS_CORPUS_"))


def descend(n: int) -> int:
    return 0 if n == 0 else 1 + descend(n - 1)


def case_depth_of_recursion() -> Made:
    def call(n: int) -> Any:
        try:
            return work(n) + descend(n * 100)
        except RecursionError:
            return "too deep"

    return call, [1, 2, 3, 1000] * 30


def case_recursion_without_end() -> Made:
    def call(n: int) -> int:
        return work(1) if n % 20 else call(n)

    return call, range(1, 100), lambda items, results: [type(each) for each in results]


def case_contextvar() -> Made:
    token = mode.set("set")
    return lambda n: (work(n), mode.get()), range(60), lambda *_: None, lambda: mode.reset(token)


def case_contextvar_is_set() -> Made:
    def call(n: int) -> str:
        work(n)
        mode.set(f"call {n}")
        return mode.get()

    return call, range(60)


def case_closure_over_a_list() -> Made:
    kept: list[int] = []

    def call(n: int) -> int:
        kept.append(n)
        return work(n)

    return call, range(60), lambda *_: sorted(kept)


def case_closure_over_a_list_that_is_read() -> Made:
    table = [5, 6, 7]
    return lambda n: work(n) + table[n % 3], range(60)


def case_closure_counts() -> Made:
    count = 0

    def call(n: int) -> int:
        nonlocal count
        count += 1
        return work(n)

    return call, range(60), lambda *_: count


def case_global_list() -> Made:
    seen.clear()
    return lambda n: seen.append(n) or work(n), range(60), lambda *_: sorted(seen)


def case_mutable_default() -> Made:
    def call(n: int, memory: list[int] = []) -> int:  # noqa: B006
        memory.append(n)
        return work(n)

    return call, range(60), lambda *_: sorted(call.__defaults__[0])  # type: ignore[index]


def case_generator_function() -> Made:
    def numbers(n: int) -> Iterator[int]:
        yield work(n)
        yield n

    def look(items: list[Any], results: list[Any]) -> list[Any]:
        found = [list(each) for each in results]
        results.clear()
        return found

    return functools.partial(numbers), range(3000), look


def case_items_of_a_generator() -> Made:
    return work, (n for n in range(60))


def case_iterator_results() -> Made:
    def look(items: list[Any], results: list[Any]) -> list[Any]:
        found = [list(each) for each in results]
        results.clear()
        return found

    return lambda n: iter([work(n), n]), range(60), look


if importlib.util.find_spec("numpy") is not None:

    def case_numpy() -> Made:
        import numpy

        return lambda n: (work(n), numpy.arange(n).sum()), range(60)

    def case_numpy_items() -> Made:
        import numpy

        return lambda row: work(1) + int(row.sum()), list(numpy.arange(300).reshape(60, 5))


def case_attributes_of_the_function() -> Made:
    def call(n: int) -> int:
        call.calls += 1  # type: ignore[attr-defined]
        return work(n)

    call.calls = 0  # type: ignore[attr-defined]
    return call, range(60), lambda *_: call.calls  # type: ignore[attr-defined]


def case_thread_local() -> Made:
    local.value = 5
    return lambda n: (work(n), hasattr(threading, "local")), range(60)


def case_clock() -> Made:
    return lambda n: work(n) if time.time() > 0 else None, range(60)


def case_dates() -> Made:
    return lambda n: (work(n), datetime.date(2024, 1, 1) + datetime.timedelta(n)), range(60)


def case_not_a_number() -> Made:
    nan = float("nan")
    return lambda n: [work(n), nan * n], range(60), lambda items, results: [each[1] == each[1] for each in results]


def case_objects_as_items() -> Made:
    return lambda item: work(item.own), [Settings(n) for n in range(60)]


def case_subclasses_as_results() -> Made:
    class Name(str):
        pass

    return lambda n: Name(work(n)), range(60), lambda items, results: [type(each) is Name for each in results]


def case_logs() -> Made:
    stream = io.StringIO()
    logger = logging.getLogger("auto_corpus")
    logger.propagate = False
    logger.setLevel("INFO")
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)

    def call(n: int) -> int:
        logger.info("%d", work(n))
        return n

    return (
        call,
        range(60),
        lambda *_: sorted(stream.getvalue().split()),
        lambda: logger.removeHandler(handler),
    )


def case_import_inside() -> Made:
    def call(n: int) -> Any:
        import fractions

        return work(n), fractions.Fraction(n, 7)

    return call, range(60)


def case_code_is_replaced() -> Made:
    def call(n: int) -> int:
        return work(n)

    def other(n: int) -> int:
        return work(n) + 1

    call.__code__ = other.__code__
    return call, range(60)


def case_one_list_many_times() -> Made:
    def call(item: list[int]) -> int:
        item[0] += 1
        return work(0)

    return call, [[0]] * 60


def case_evaluates() -> Made:
    return lambda n: work(n) + eval("n + 1", {"n": n}), range(60)


def case_identity_number() -> Made:
    return lambda n: work(n) + (id(builtins) > 0), range(60)


def case_deep_copies() -> Made:
    template = {"list": [1, 2]}
    return lambda n: [work(n), copy.deepcopy(template)], range(60)


def case_interrupt_like_errors() -> Made:
    class Stop(Exception):
        def __init__(self, n: int) -> None:
            super().__init__(n)
            self.n = n

    def call(n: int) -> int:
        if work(n) and n % 30 == 29:
            raise Stop(n)
        return n

    return call, range(60), lambda items, results: [each.n for each in results if isinstance(each, Stop)]


def case_interned_text() -> Made:
    return lambda n: sys.intern("text" * (1 + n % 2)) is sys.intern("text" * (1 + n % 2)), range(9000)
