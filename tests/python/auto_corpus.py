"""Functions for ``isolation="auto"``: pure ones, which are to be isolated, and ones with state, which are not.

Each case makes a function, its items, and, where it has some, a look at the state that calls leave behind. Run as a
program it compares serial and automatic maps of a group, and prints what differs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import auto_items
import auto_patched
import auto_pure
import auto_stateful

from pyferris import _auto
from pyferris.safe_thread import safe_parallel_map

SMALL = 5  # cases a process


class Case(NamedTuple):
    name: str
    pure: bool
    make: Callable[[], tuple[Any, ...]]


CASES = [
    *(Case(name, True, make) for name, make in vars(auto_pure).items() if name.startswith("case_")),
    *(Case(name, False, make) for name, make in vars(auto_stateful).items() if name.startswith("case_")),
    *(Case(name, False, make) for name, make in vars(auto_patched).items() if name.startswith("case_")),
    *(Case(name, False, make) for name, make in vars(auto_items).items() if name.startswith("case_")),
]
# Without state, but with items or results that are not to be copied: those are thrown away, item by item.
NAMES = """rebound_global global_rebound_to_something_else patched_helper patched_dict_of_globals list_is_changed
list_is_sorted_in_place_and_returned nested_dict_is_changed only_some_items_are_changed item_itself_is_returned
part_of_the_item_is_returned recursion_without_end items_of_a_generator one_list_many_times
code_is_replaced operators_of_dict_views operator_module_of_dict_views
monitored_by_a_tool address_in_few_results few_items_warn errors_in_a_generators_end"""
PURE_ENOUGH = frozenset(f"case_{name}" for name in NAMES.split())
# Pure, but of sets, which another process walks through in another order.
IN_ANOTHER_ORDER = frozenset({"case_sets", "case_nested_results"})
GROUPS = [CASES[start : start + SMALL] for start in range(0, len(CASES), SMALL)]

# Whatever the machine does meanwhile: isolate all that may be.
EAGER = _auto.Limits(
    first_look=0,
    own_look=0,
    between_looks=0,
    held=-1,
    busy=0,
    worth_threads=0,
    worth_warm=0,
    worth_cold=0,
    worth_first=0,
    worth_process=0,
    least_item=0,
    slower=0,
    gain=0,
    patient=True,
)


def show(results: list[Any]) -> list[str]:
    return [f"{type(each).__name__} {each!r}" for each in results]


def compare(case: Case) -> dict[str, Any]:
    """The mode and reason of the automatic map, and what differs from the serial one."""
    outcomes = []
    report = None
    for automatic in (False, True):
        function, items, *after = case.make()
        items = list(items) * (4 if case.pure else 1)
        try:
            if automatic:
                results = safe_parallel_map(function, items, 2, return_exceptions=True, explain=True)
                report = results.report
            else:
                results = [call(function, item) for item in items]
        except BaseException as error:
            results = [error]
        same = [result is item for result, item in zip(results, items, strict=False) if isinstance(item, list | dict)]
        state = after[0](items, results) if after and after[0] is not None else None
        outcomes.append((show(results), [repr(item) for item in items], same, repr(state)))
        if len(after) > 1:
            after[1]()
    names = ("results", "items", "identities", "state")
    differs = [
        f"{name}: {serial!r:.300} != {auto!r:.300}"
        for name, serial, auto in zip(names, *outcomes, strict=True)
        if serial != auto
    ]
    assert report is not None
    return {"mode": report.mode, "reason": report.reason, "differs": differs}


def call(function: Callable[[Any], Any], item: Any) -> Any:
    try:
        return function(item)
    except Exception as error:
        return error


if __name__ == "__main__":
    _auto.LIMITS = EAGER
    sys.setswitchinterval(1e-4)
    stdout, sys.stdout = sys.stdout, sys.stderr
    found = {case.name: compare(case) for case in GROUPS[int(sys.argv[1])]}
    stdout.write(json.dumps(found))
