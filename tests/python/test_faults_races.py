"""Shutting down, closing and dropping while others submit: every future ends, or the submit raised."""

from __future__ import annotations

import pytest
from own_process import run

START = """
async def late(number):
    await asyncio.sleep(0)
    return number

def results(pool, number):
    return pool.map(int, [number, number + 1])

# What is submitted, and what gives its outcome.
def submit_call(pool, number):
    future = pool.submit(int, number)
    return lambda: future.result(30) == number
def submit_coroutine(pool, number):
    future = pool.submit(late, number)
    return lambda: future.result(30) == number
def submit_map(pool, number):
    results = pool.map(int, [number, number + 1], timeout=30)
    return lambda: list(results) == [number, number + 1]
def submit_lazy_map(pool, number):
    results = pool.map(int, [number, number + 1], timeout=30, buffersize=4)
    return lambda: list(results) == [number, number + 1]

def ends(outcome):
    try:
        assert outcome()
    except (concurrent.futures.CancelledError, PoolClosed):
        return "cancelled"
    return "done"
"""


@pytest.mark.parametrize("how", ["wait=True", "wait=False", "cancel_futures=True", "wait=False, cancel_futures=True"])
@pytest.mark.parametrize("what", ["call", "coroutine", "map", "lazy_map"])
def test_submits_race_with_shutdown(what: str, how: str) -> None:
    program = f"""{START}
cancels = "cancel" in {how!r}
for turn in range(60):
    pool = SafeThreadPool(2)
    barrier, accepted, refused = threading.Barrier(3), [[], []], 0
    def submit(mine):
        global refused
        barrier.wait()
        for number in range(100_000):
            try:
                mine.append(submit_{what}(pool, number))
            except PoolClosed:
                refused += 1
                return
            while len(mine) > 200 and not pool._closed:
                time.sleep(0)
    threads = [pyferris.SafeThread(target=submit, args=(mine,)) for mine in accepted]
    for thread in threads:
        thread.start()
    barrier.wait()
    while turn % 3 and len(accepted[0]) < turn // 3:
        time.sleep(0)
    pool.shutdown({how})
    for thread in threads:
        thread.get_result(30)
    outcomes = {{ends(outcome) for mine in accepted for outcome in mine}}
    assert outcomes <= ({{"done", "cancelled"}} if cancels or {what!r} == "lazy_map" else {{"done"}}), outcomes
    assert refused == 2
    assert pool.shutdown(timeout=30)
    assert pool.active_tasks == 0
del pool
gc.collect()
while len(os.listdir("/proc/self/task")) > 1:
    time.sleep(0.001)
print("done")
"""
    assert run("\n" + program) == "done"


def test_a_pool_that_is_dropped_while_its_calls_run_and_are_awaited() -> None:
    program = """
        async def main():
            async def one(number):
                pool = SafeThreadPool(1)
                future = pool.submit(lambda: time.sleep(0.001) or number)
                del pool
                return await future
            assert await asyncio.gather(*[one(number) for number in range(100)]) == list(range(100))
        for _ in range(3):
            asyncio.run(main())
        gc.collect()
        while len(os.listdir("/proc/self/task")) > 1:
            time.sleep(0.001)
        print("done")
        """
    assert run(program) == "done"


def test_loops_that_close_while_their_calls_end() -> None:
    """The call ends on the worker at the very moment its loop goes: nothing is lost but the loop's wake-up."""
    program = """
        async def wait(future):
            await future
        with SafeThreadPool(2) as pool:
            for turn in range(300):
                gate = threading.Event()
                futures = [pool.submit(lambda: (gate.wait(), 7)[1]).detach() for _ in range(4)]
                loop = asyncio.new_event_loop()
                tasks = [loop.create_task(wait(future)) for future in futures]
                loop.call_soon(loop.stop)
                loop.run_forever()
                gate.set()
                for _ in range(turn % 20):
                    pass
                loop.close()
                for task in tasks:
                    task._log_destroy_pending = False
                assert [future.result(30) for future in futures] == [7] * 4
                assert asyncio.run(asyncio.wait_for(pool.submit(int, turn), 30)) == turn
            del tasks, loop
        gc.collect()
        print("done")
        """
    assert run(program) == "done"


def test_a_promise_is_completed_by_many_threads_at_once() -> None:
    program = """
        import random
        for turn in range(300):
            future, barrier, won = SafeFuture(), threading.Barrier(5), []
            seen = []
            future.add_done_callback(seen.append)
            def complete(how):
                barrier.wait()
                try:
                    if how == 0:
                        won.append(future.set_result(1))
                    elif how == 1:
                        won.append(future.set_exception(ValueError()))
                    elif future.cancel():
                        won.append(None)
                except concurrent.futures.InvalidStateError:
                    pass
            threads = [pyferris.SafeThread(target=complete, args=(how % 3,)) for how in range(4)]
            for thread in threads:
                thread.start()
            barrier.wait()
            try:
                future.result(30)
            except (ValueError, concurrent.futures.CancelledError):
                pass
            for thread in threads:
                thread.get_result(30)
            assert seen == [future] and (len(won) == 1 or future.cancelled())
        print("done")
        """
    assert run(program) == "done"
