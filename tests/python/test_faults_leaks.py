"""A thousand pools, threads, loops and waits leave no thread, no descriptor and no memory."""

from __future__ import annotations

import pytest
from own_process import run

COUNT = """
def counts():
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")), threading.active_count()

def pages():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

def settle(before):
    # A thread is gone a moment after it was joined, a pool after its last call; the test's time limit ends the wait.
    while any(now > then for now, then in zip(counts(), before)):
        gc.collect()
        time.sleep(0.001)

def check(work, rounds, least=4_000_000):
    work(rounds // 5)  # what is made once, and the allocator's reserves
    gc.collect()
    settled = counts()
    work(rounds)
    settle(settled)
    middle = pages()
    work(rounds)
    settle(settled)
    grown = (pages() - middle) * os.sysconf("SC_PAGE_SIZE")
    print(grown < least or grown)
"""

WORK = {
    "pools that were shut": """
def work(rounds):
    for number in range(rounds):
        with SafeThreadPool(2) as pool:
            assert pool.submit(int, number).result() == number
""",
    "pools that were dropped": """
def work(rounds):
    for number in range(rounds):
        assert SafeThreadPool(1).submit(int, number).result(30) == number
""",
    "pools that never ran anything": """
def work(rounds):
    for number in range(rounds):
        SafeThreadPool(3)
""",
    "pools in cycles": """
def work(rounds):
    for number in range(rounds):
        pool = SafeThreadPool(1)
        pool.myself = [pool]
        pool.submit(int)
""",
    "pools with coroutines": """
async def late(number):
    await asyncio.sleep(0)
    return number
def work(rounds):
    for number in range(rounds // 5):
        with SafeThreadPool(1) as pool:
            assert pool.submit(late, number).result() == number
""",
    "maps that were left": """
def work(rounds):
    with SafeThreadPool(2) as pool:
        for number in range(rounds):
            results = pool.map(lambda item: [item], range(50))
            next(results)
            if number % 2:
                results.close()
            next(pool.map(lambda item: [item], range(50), buffersize=5))
""",
    "threads": """
def work(rounds):
    for number in range(rounds):
        thread = pyferris.SafeThread(target=lambda: [number])
        thread.start()
        assert thread.get_result() == [number]
        thread.join()
""",
    "threads that fail": """
threading.excepthook = lambda args: None
def fail():
    raise ValueError([0] * 100)
def work(rounds):
    for number in range(rounds):
        thread = pyferris.SafeThread(target=fail)
        thread.start()
        assert thread.get_exception() is not None
        thread.join()
""",
    "threads that were never started": """
def work(rounds):
    for number in range(rounds):
        pyferris.SafeThread(target=lambda: number)
""",
    "threads that are no worker's and wait": """
queue, lock = pyferris.SafeQueue(), pyferris.SafeLock()
def work(rounds):
    for number in range(rounds):
        lock.acquire()
        def wait():
            with lock:
                queue.push(number)
        thread = threading.Thread(target=wait)
        thread.start()
        lock.release()
        assert queue.pop() == number
        thread.join()
""",
    "loops with calls that nobody awaits": """
async def leave(pool):
    asyncio.ensure_future(wait(pool.submit(int)))
    await asyncio.sleep(0)
async def wait(future):
    await future
def work(rounds):
    with SafeThreadPool(1) as pool:
        for number in range(rounds):
            asyncio.run(leave(pool))
""",
    "loops that were closed with calls pending": """
async def wait(future):
    await future
def work(rounds):
    with SafeThreadPool(1) as pool:
        for number in range(rounds):
            gate = threading.Event()
            future = pool.submit(gate.wait).detach()
            loop = asyncio.new_event_loop()
            task = loop.create_task(wait(future))
            loop.call_soon(loop.stop)
            loop.run_forever()
            loop.close()
            gate.set()
            assert future.result(30)
            task._log_destroy_pending = False
""",
    "waits that time out": """
future, queue, lock = SafeFuture(), pyferris.SafeQueue(), pyferris.SafeLock()
lock.acquire()
def work(rounds):
    for number in range(rounds):
        for wait in (future.result, queue.pop):
            try:
                wait(timeout=0.00001)
            except Exception:
                pass
        lock.acquire(timeout=0.00001)
        concurrent.futures.wait([future], 0)
""",
    "calls that were cancelled": """
def work(rounds):
    with SafeThreadPool(1) as pool:
        for number in range(rounds):
            gate = threading.Event()
            pool.submit(gate.wait)
            queued = [pool.submit(list, range(100)) for _ in range(3)]
            for future in queued:
                future.add_done_callback(lambda done: None)
                assert future.cancel()
            gate.set()
""",
    "futures with callbacks that fail": """
import logging
logging.disable()
def fail(future):
    raise ValueError([0] * 100)
def work(rounds):
    with SafeThreadPool(1) as pool:
        for number in range(rounds):
            future = pool.submit(int)
            future.add_done_callback(fail)
            concurrent.futures.wait([future])
""",
    "containers in cycles": """
def work(rounds):
    for number in range(rounds):
        table, queue, array = pyferris.SafeDict(), pyferris.SafeQueue(), pyferris.SafeArray([None])
        future = SafeFuture()
        table["all"] = [table, queue, array, future, [0] * 100]
        queue.push(table)
        array.set(0, table)
        future.set_result(table)
""",
}


@pytest.mark.parametrize("what", WORK)
def test_a_thousand_leave_nothing(what: str) -> None:
    assert run(f"\n{COUNT}{WORK[what]}check(work, 1000)\n") == "True"
