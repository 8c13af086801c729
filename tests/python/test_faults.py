"""Pools under bad conditions: dropped, raced, failing; each in a process of its own."""

from __future__ import annotations

import pytest
from own_process import run


def test_pools_dropped_without_shutdown_leave_no_threads() -> None:
    program = """
        before = len(os.listdir("/proc/self/task"))
        files = len(os.listdir("/proc/self/fd"))
        for number in range(200):
            pool = SafeThreadPool(2)
            future = pool.submit(int, number)
            if number % 2:
                assert future.result() == number
            del pool
            assert future.result(30) == number
        gc.collect()
        deadline = time.monotonic() + 30
        while len(os.listdir("/proc/self/task")) > before and time.monotonic() < deadline:
            time.sleep(0.001)
        threads, files = len(os.listdir("/proc/self/task")) - before, len(os.listdir("/proc/self/fd")) - files
        print(threads, threading.active_count(), files)
        """
    assert run(program) == "0 1 0"


def test_a_pool_dropped_by_its_own_call() -> None:
    program = """
        def call(holder):
            holder.clear()
            gc.collect()
            return 5
        for _ in range(100):
            holder = [SafeThreadPool(1)]
            gate = threading.Event()
            future = holder[0].submit(lambda: gate.wait() and call(holder))
            gate.set()
            assert future.result(30) == 5
        print("end")
        """
    assert run(program) == "end"


def test_submit_races_with_shutdown() -> None:
    program = """
        for turn in range(300):
            pool = SafeThreadPool(2)
            accepted, ran = [], []
            barrier = threading.Barrier(3)
            def submit():
                barrier.wait()
                try:
                    while True:
                        accepted.append(pool.submit(ran.append, 1))
                except PoolClosed:
                    pass
            threads = [threading.Thread(target=submit) for _ in range(2)]
            for thread in threads:
                thread.start()
            barrier.wait()
            pool.shutdown(cancel_futures=bool(turn % 2))
            for thread in threads:
                thread.join()
            assert all(future.done() for future in accepted)
            assert sum(not future.cancelled() for future in accepted) == len(ran)
        print("end", threading.active_count())
        """
    assert run(program) == "end 1"


def test_shutdown_from_many_threads() -> None:
    program = """
        for _ in range(100):
            pool = SafeThreadPool(2)
            futures = [pool.submit(int, n) for n in range(20)]
            threads = [threading.Thread(target=pool.shutdown) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert [future.result(0) for future in futures] == list(range(20))
        print("end", threading.active_count(), len(os.listdir("/proc/self/task")))
        """
    assert run(program) == "end 1 1"


@pytest.mark.parametrize(
    "error", ["SystemExit(3)", "KeyboardInterrupt()", "GeneratorExit()", "StopIteration()", "MemoryError()"]
)
def test_every_exception_in_a_call_goes_into_its_future(error: str) -> None:
    program = f"""
        def fail():
            raise {error}
        with SafeThreadPool(1) as pool:
            name = pool.submit(threading.current_thread).result()
            for _ in range(20):
                assert type(pool.submit(fail).exception(30)) is type({error})
            assert pool.submit(threading.current_thread).result() is name
        print("end")
        """
    assert run(program) == "end"


def test_exceptions_in_callbacks_do_not_stop_the_worker() -> None:
    program = """
        import logging
        logging.disable()
        def fail(error):
            raise error
        with SafeThreadPool(1) as pool:
            for error in (ValueError, SystemExit, KeyboardInterrupt):
                gate = threading.Event()
                future = pool.submit(gate.wait)
                future.add_done_callback(lambda _, error=error: fail(error))
                gate.set()
                assert future.result(30)
            print(pool.submit(int).result(30))
        """
    assert run(program, error=None) == "0"


def test_deep_recursion_in_a_call() -> None:
    program = """
        def deep(n):
            return deep(n + 1)
        with SafeThreadPool(1) as pool:
            for _ in range(3):
                assert type(pool.submit(deep, 0).exception(30)) is RecursionError
            print(pool.submit(int).result(30))
        """
    assert run(program) == "0"


def test_destructors_that_call_back_into_the_pool() -> None:
    program = """
        seen = []
        class Late:
            def __del__(self):
                seen.append(pool.submit(int, 3))
        with SafeThreadPool(1) as pool:
            for _ in range(200):
                pool.submit(id, Late()).result(30)
                queued = pool.submit(id, Late())
                queued.cancel()
            while len(seen) < 400:
                pool.submit(int).result(30)
            assert all(future.result(30) == 3 for future in list(seen))
        print("end")
        """
    assert run(program) == "end"


def test_callbacks_that_call_back_into_the_future() -> None:
    program = """
        with SafeThreadPool(1) as pool:
            for _ in range(500):
                seen = []
                done = threading.Event()
                def callback(future):
                    seen.append(future.result(0))
                    future.cancel()
                    future.remove_done_callback(callback)
                    future.add_done_callback(lambda again: seen.append(again.done()))
                    pool.submit(done.set)
                pool.submit(int, 4).add_done_callback(callback)
                assert done.wait(30)
                assert seen == [4, True], seen
        print("end")
        """
    assert run(program) == "end"


def test_many_calls_leave_no_memory() -> None:
    program = """
        def pages():
            return int(open("/proc/self/statm").read().split()[1])
        def work():
            for _ in range(20):
                for future in [pool.submit(int, n) for n in range(2000)]:
                    future.result()
                list(pool.map(int, range(2000)))
                for n in range(500):
                    try:
                        pool.submit(int, "x").result()
                    except ValueError:
                        pass
        with SafeThreadPool(2) as pool:
            work()
            gc.collect()
            before = pages()
            work()
            work()
            gc.collect()
            growth = (pages() - before) * os.sysconf("SC_PAGE_SIZE")
        print(growth < 4_000_000 or growth)
        """
    assert run(program) == "True"
