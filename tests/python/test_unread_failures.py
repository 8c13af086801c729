"""A failure that nobody looked at is reported once, whatever holds its future."""

from __future__ import annotations

import pytest
from own_process import run

REPORTS = """
import logging
class Reports(logging.Handler):
    def emit(self, record):
        seen.append(record.exc_info[0].__name__)
seen = []
logging.getLogger("pyferris").addHandler(Reports())
gc.disable()
def collect():
    for _ in range(3):
        gc.collect()
"""

FAIL = {
    "a call in its own traceback": """
def fail():
    mine = current_future()
    1 / 0
with SafeThreadPool(1) as pool:
    pool.submit(fail)
""",
    "a promise in a cycle": """
def fail():
    future = SafeFuture()
    error = ZeroDivisionError()
    error.mine = future
    future.set_exception(error)
fail()
""",
    "a promise that refers to itself": """
def fail():
    future = SafeFuture()
    future.mine = future
    future.set_exception(ZeroDivisionError())
fail()
""",
    "a promise that was dropped": """
SafeFuture().set_exception(ZeroDivisionError())
""",
    "the core's own class": """
def fail():
    future = pyferris._native.FutureCore()
    future.set_exception(ZeroDivisionError())
fail()
""",
    "a map in its own traceback": """
def fail():
    def call(_):
        mine = box
        1 / 0
    box = []
    with SafeThreadPool(1) as pool:
        box.append(pool.map(call, range(3)))
fail()
""",
    "a coroutine": """
async def fail():
    await asyncio.sleep(0)
    1 / 0
with SafeThreadPool(1) as pool:
    pool.submit(fail)
""",
}


@pytest.mark.parametrize("what", FAIL)
def test_it_is_reported_once(what: str) -> None:
    assert run(REPORTS + FAIL[what] + "collect()\nprint(seen)") == "['ZeroDivisionError']"


@pytest.mark.parametrize("what", ["a promise in a cycle", "a promise that refers to itself"])
def test_who_is_told_may_keep_the_failure(what: str) -> None:
    program = """
        kept = []
        logging.getLogger("pyferris").addFilter(lambda record: kept.append(record.exc_info[1]) or True)
        """
    after = "collect()\nprint(seen, len(kept), type(kept[0]).__name__)\nkept.clear()\ncollect()\nprint(seen)"
    program = REPORTS + "\n".join(line.strip() for line in program.splitlines()) + FAIL[what] + after
    assert run(program) == "['ZeroDivisionError'] 1 ZeroDivisionError\n['ZeroDivisionError']"


def test_a_traceback_that_leads_back_is_printed_whole() -> None:
    program = """
        import logging
        logging.basicConfig()
        def fail():
            mine = current_future()
            1 / 0
        gc.disable()
        pool = SafeThreadPool(1)
        pool.submit(fail)
        pool.shutdown()
        sys.stderr = sys.stdout
        logging.getLogger().handlers[0].setStream(sys.stdout)
        gc.collect()
        print("end")
        """
    printed = run(program)
    assert printed.startswith("ERROR:pyferris:a call failed in fail() and nobody looked at its outcome\nTraceback")
    assert printed.endswith("ZeroDivisionError: division by zero\nend")
    assert printed.count("Traceback") == 1


def test_a_coroutines_failure_is_reported_as_soon_as_it_is_dropped() -> None:
    program = """
async def fail():
    1 / 0
pool = SafeThreadPool(1)
future = pool.submit(fail)
pool.shutdown()
del future
print(seen)
"""
    assert run(REPORTS + program) == "['ZeroDivisionError']"
