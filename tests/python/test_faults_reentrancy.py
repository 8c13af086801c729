"""User code that the library calls or sets off calls it again: `__del__`, `__eq__`, `__hash__`, callbacks."""

from __future__ import annotations

import pytest
from own_process import run

START = """
pool = SafeThreadPool(2)
table, queue, array = pyferris.SafeDict(), pyferris.SafeQueue(), pyferris.SafeArray([None] * 8)
counter, lock = pyferris.SafeCounter(), pyferris.SafeRLock()
busy = threading.local()
over = False
from queue import Empty

def touch_everything():
    # From inside user code: every container is used, and may not be locked natively by this thread.
    if over or getattr(busy, "on", False):
        return
    busy.on = True
    try:
        counter.increment()
        table["touched"] = table.get("touched", 0)
        table.increment("n")
        len(table), list(table.items())
        queue.push(1)
        queue.pop(block=False)
        array.set(7, array.get(0))
        array.to_list()
        with lock:
            pass
        pool.submit(int)
        SafeFuture().cancel()
    except (Empty, PoolClosed):
        pass
    finally:
        busy.on = False

class Loud:
    def __init__(self, number):
        self.number = number
    def __hash__(self):
        touch_everything()
        return self.number % 7
    def __eq__(self, other):
        touch_everything()
        return isinstance(other, Loud) and self.number == other.number
    def __del__(self):
        touch_everything()
"""


def check(program: str) -> None:
    """The program prints "done", and nothing goes wrong in a destructor either."""
    assert run(START + program) == "done"


WORK = {
    "dict": """
for number in range(200):
    table[Loud(number)] = Loud(number)
    table[Loud(number)] = Loud(number)
    Loud(number) in table
    table.update_value(Loud(number), lambda old: Loud(1), Loud(0))
    table.get_or_insert(Loud(number), Loud(2))
    table.compare_exchange(Loud(number), Loud(1), Loud(3))
    if number % 3 == 0:
        del table[Loud(number)]
copy = dict(table)
table == copy
table.clear()
""",
    "queue": """
for number in range(200):
    queue.push(Loud(number))
for number in range(100):
    queue.pop()
queue.to_list()
""",
    "array": """
for number in range(200):
    array.set(number % 8, Loud(number))
array.index(Loud(199)) if hasattr(array, "index") else None
Loud(199) in array
array == pyferris.SafeArray([Loud(1)] * 8)
""",
    "future": """
for number in range(200):
    future = pool.submit(Loud, number)
    future.add_done_callback(lambda done: touch_everything())
    assert future.result() == Loud(number)
    promise = SafeFuture()
    promise.add_done_callback(Loud(number).__eq__)
    promise.remove_done_callback(Loud(number))
    promise.set_result(Loud(number))
""",
    "arguments": """
for number in range(200):
    pool.submit(lambda one, two: None, Loud(number), two=Loud(number))
    pool.submit(Loud(number).__eq__, Loud(number)).cancel()
""",
    "map": """
result = pool.map(Loud, range(500))
assert next(result) == Loud(0)
assert sum(1 for _ in result) == 499
pool.map(lambda loud: loud, [Loud(number) for number in range(100)])
lazy = pool.map(Loud, range(500), buffersize=5)
next(lazy)
lazy.close()
""",
    "context": """
import contextvars
variable = contextvars.ContextVar("variable")
def call(number):
    variable.set(Loud(number))
list(pool.map(call, range(200)))
for number in range(200):
    pool.submit(call, number)
variable.set(Loud(0))
list(pool.map(call, range(200)))
""",
    "thread": """
for number in range(50):
    thread = pyferris.SafeThread(target=Loud, args=(number,))
    thread.start()
    assert thread.get_result() == Loud(number)
""",
    "cycle": """
for number in range(200):
    box = [Loud(number)]
    box.append(pool.submit(lambda box=box: box))
    table[number] = box
    table[number] = None
    queue.push(box)
    queue.pop()
box = None
while pool.active_tasks:
    sleep(0.001)
gc.collect()
""",
}


@pytest.mark.parametrize("what", WORK)
def test_destructors_and_comparisons_that_use_every_container(what: str) -> None:
    check(
        WORK[what]
        + """
table.clear()
gc.collect()
pool.shutdown()
assert counter.get() > 10
print("done")
over = True
"""
    )


@pytest.mark.parametrize("what", WORK)
def test_the_same_from_several_threads(what: str) -> None:
    body = "\n".join("    " + line for line in WORK[what].splitlines())
    check(
        f"""
def work():
    global variable
{body}

import contextvars
variable = contextvars.ContextVar("variable")
failed = []
def guarded():
    try:
        work()
    except (IndexError, KeyError, Empty) as error:
        failed.append(error)
threads = [pyferris.SafeThread(target=guarded) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.get_result(50)
pool.shutdown()
print("done")
over = True
"""
    )


def test_a_destructor_that_ends_the_pool_of_its_own_call() -> None:
    check("""
class Ends:
    def __del__(self):
        pool.shutdown(wait=False)
pool.submit(lambda ends: None, Ends())
while not pool._closed:
    gc.collect()
pool.shutdown()
print("done")
over = True
""")


def test_a_callback_that_submits_waits_and_cancels() -> None:
    check("""
order = []
def back(future):
    order.append(future.result())
    if len(order) < 500:
        pool.submit(int, len(order)).add_done_callback(back)
    else:
        enough.set()
enough = threading.Event()
pool.submit(int, 0).add_done_callback(back)
assert enough.wait(30)
assert order == list(range(500))
pool.shutdown()
print("done")
over = True
""")
