"""Ctrl-C in every blocking call, and signals that come all the time."""

from __future__ import annotations

import pytest
from own_process import run


@pytest.mark.parametrize(
    "block",
    [
        "future.result()",
        "future.result(1000)",
        "future.exception()",
        "concurrent.futures.wait([future])",
        "list(concurrent.futures.as_completed([future]))",
        "next(pool.map(lambda _: gate.wait(), [1]))",
        "pool.map(lambda _: gate.wait(), [1])[0]",
        "pool.map(lambda _: gate.wait(), [1]) == []",
        "pyferris.safe_parallel_map(lambda _: gate.wait(), [1])",
        "held.acquire()",
        "held.acquire(timeout=1000)",
        "held_again.acquire()",
        "condition.wait()",
        "condition.wait_for(lambda: False)",
        "empty.pop()",
        "empty.get(timeout=1000)",
        "next(iter(empty))",
        "full.put(1)",
        "full.join()",
        "thread.join()",
        "thread.get_result()",
        "thread.get_exception(1000)",
        "pool.shutdown()",
        "sleep(1000)",
        "asyncio.run(wait(future))",
    ],
)
def test_ctrl_c_ends_a_blocking_call(block: str) -> None:
    program = f"""
        gate = threading.Event()
        pool = SafeThreadPool(2)
        future = pool.submit(gate.wait)
        async def wait(future):
            await future
        held, held_again = pyferris.SafeLock(), pyferris.SafeRLock()
        held.acquire()
        other = threading.Thread(target=held_again.acquire)
        other.start()
        other.join()
        condition = pyferris.SafeCondition()
        condition.acquire()
        empty, full = pyferris.SafeQueue(), pyferris.SafeQueue(1)
        full.put(0)
        thread = pyferris.SafeThread(target=gate.wait)
        thread.start()
        try:
            ctrl_c_in_next_line()
            {block}
        except KeyboardInterrupt:
            print("interrupted")
        gate.set()
        """
    assert run(program) == "interrupted"


def test_ctrl_c_in_a_with_block_ends_the_program() -> None:
    program = """
        try:
            with SafeThreadPool(1) as pool:
                future = pool.submit(sleep, 1000)
                queued = pool.submit(os.write, 1, b"queued")
                ctrl_c_in_next_line()
                future.result()
        except KeyboardInterrupt:
            print(future.cancelled(), queued.cancelled())
        """
    assert run(program) == "True True"


def test_ctrl_c_ends_a_map_of_cheap_items() -> None:
    program = """
        lock = threading.Lock()
        def enter(n):  # in a worker, as it may wait
            lock.acquire()
            lock.release()
            return n
        items = [0] * 10_000_000
        try:
            press_when(lambda: True)
            pyferris.safe_parallel_map(enter, items)
        except KeyboardInterrupt:
            print("interrupted")
        """
    assert run(program) == "interrupted"


def test_a_condition_is_held_again_after_ctrl_c() -> None:
    program = """
        condition = pyferris.SafeCondition()
        with condition:
            try:
                ctrl_c_in_next_line()
                condition.wait()
            except KeyboardInterrupt:
                other = pyferris.SafeThread(target=condition.acquire, args=(False,))
                other.start()
                print(other.get_result())
        print(condition.acquire(False))
        """
    assert run(program) == "False\nTrue"


def test_a_signal_storm_loses_nothing() -> None:
    program = """
        hits = []
        signal.signal(signal.SIGALRM, lambda *_: hits.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        with SafeThreadPool(2) as pool:
            for number in range(3000):
                assert pool.submit(int, number).result() == number
            pool.submit(time.sleep, 0.1).result()
            assert list(pool.map(int, range(3000))) == list(range(3000))
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(len(hits) > 10)
        """
    assert run(program) == "True"


def test_a_signal_storm_loses_no_lock_item_or_thread() -> None:
    program = """
        hits = []
        signal.signal(signal.SIGALRM, lambda *_: hits.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        lock, ping, pong = pyferris.SafeLock(), pyferris.SafeQueue(1), pyferris.SafeQueue(1)
        condition, turn, count = pyferris.SafeCondition(), 0, 0
        def echo():
            global count
            for item in ping:
                with lock:
                    count += 1
                pong.put(item)
        def even():
            global turn
            for _ in range(1000):
                with condition:
                    assert condition.wait_for(lambda: turn % 2 == 0, 30)
                    turn += 1
                    condition.notify()
        thread = pyferris.SafeThread(target=echo)
        thread.start()
        for number in range(3000):
            ping.put(number)
            assert pong.pop(timeout=30) == number
            with lock:
                count += 1
        ping.close()
        thread.join()
        thread = pyferris.SafeThread(target=even)
        thread.start()
        for _ in range(1000):
            with condition:
                assert condition.wait_for(lambda: turn % 2 == 1, 30)
                turn += 1
                condition.notify()
        assert thread.get_result(30) is None
        async def main():
            pool = SafeThreadPool(1)
            for number in range(1000):
                assert await pool.submit(int, number) == number
            pool.shutdown()
        asyncio.run(main())
        assert sleep(0.05) is None
        while len(hits) <= 10:
            sleep(0.001)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(count, turn)
        """
    assert run(program) == "6000 2000"


def test_a_handler_that_raises_loses_no_item() -> None:
    """What was interrupted can be done again: nothing was taken or left half done."""
    program = """
        class Alarm(Exception):
            pass
        def ring(*_):
            raise Alarm
        queue, taken, alarms = pyferris.SafeQueue(), [], 0
        def produce():
            for number in range(2000):
                queue.put(number)
            queue.close()
        signal.signal(signal.SIGALRM, ring)
        producer = pyferris.SafeThread(target=produce)
        producer.start()
        ended = False
        while not ended:
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0003)
                    while True:
                        taken.append(queue.pop())
                except pyferris.ShutDown:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    ended = True
            except Alarm:  # also one that comes while the end is noted: then it is met again
                alarms += 1
        print(len(taken) + alarms >= 2000, len(set(taken)) == len(taken), taken == sorted(taken))
        """
    assert run(program) == "True True True"


def test_a_signal_at_the_very_start_of_a_wait_is_heard() -> None:
    """It comes after the interpreter last looked and before the thread sleeps: many moments are tried."""
    program = """
        class Alarm(Exception):
            pass
        def ring(*_):
            raise Alarm
        signal.signal(signal.SIGALRM, ring)
        future, heard = SafeFuture(), 0
        for number in range(400):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + number % 60))
                future.result()
            except Alarm:
                heard += 1
        print(heard)
        """
    assert run(program) == "400"
