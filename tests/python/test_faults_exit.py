"""The interpreter ends while pools and threads are at work."""

from __future__ import annotations

import pytest
from own_process import run


def test_exit_runs_queued_calls() -> None:
    program = """
        pool = SafeThreadPool(2)
        for number in range(200):
            pool.submit(lambda: (time.sleep(0.0005), os.write(1, b".")))
        """
    assert run(program) == "." * 200


def test_exit_waits_for_a_running_call_and_its_children() -> None:
    program = """
        pool = SafeThreadPool(1)
        started = threading.Event()
        def call():
            started.set()
            time.sleep(0.05)
            os.write(1, str(pool.submit(pow, 2, 3).result()).encode())
        pool.submit(call)
        started.wait()
        """
    # As with the standard library's: submitting while the interpreter ends may be refused, never hang.
    assert run(program, error=None) in ("8", "")


@pytest.mark.parametrize("work", ["while True: pass", "while True: time.sleep(0.001)", "time.sleep(1000)"])
def test_exit_does_not_wait_for_a_daemon_pool(work: str) -> None:
    program = f"""
        heap = [[number] for number in range(200_000)]
        pool = SafeThreadPool(2, daemon=True)
        started = threading.Barrier(3)
        def call():
            started.wait()
            {work}
        futures = [pool.submit(call) for _ in range(5)]
        started.wait()
        print("end")
        """
    assert run(program) == "end"


def test_exit_with_a_sleeping_daemon_call_and_a_blocked_one() -> None:
    program = """
        pool = SafeThreadPool(3, daemon=True)
        started = threading.Barrier(4)
        def call(wait):
            started.wait()
            wait()
        never = SafeFuture()
        pool.submit(call, lambda: sleep(1000))
        pool.submit(call, never.result)
        pool.submit(call, threading.Event().wait)
        started.wait()
        print("end")
        """
    assert run(program) == "end"


def test_exit_with_coroutines_of_a_daemon_pool_running() -> None:
    program = """
        pool = SafeThreadPool(1, daemon=True)
        started = threading.Event()
        async def call():
            started.set()
            await asyncio.sleep(1000)
        future = pool.submit(call)
        started.wait()
        print("end")
        """
    assert run(program, error=None) == "end"


def test_exit_finishes_coroutines() -> None:
    program = """
        pool = SafeThreadPool(1)
        async def call():
            await asyncio.sleep(0.05)
            os.write(1, b"end")
        pool.submit(call)
        """
    assert run(program) == "end"


def test_exit_with_pending_futures_and_an_unread_failure_is_silent() -> None:
    program = """
        promise = SafeFuture()
        pool = SafeThreadPool(1)
        failed = pool.submit(lambda: 1 / 0)
        concurrent.futures.wait([promise], 0)
        sys.cycle = [promise, failed, pool]
        sys.cycle.append(sys.cycle)
        print("end")
        """
    assert run(program) == "end"


def test_sys_exit_in_the_main_thread_with_a_live_pool() -> None:
    assert run("pool = SafeThreadPool(1); pool.submit(time.sleep, 0.05); sys.exit(7)", code=7) == ""


def test_exit_inside_a_with_block_stops_the_calls() -> None:
    program = """
        with SafeThreadPool(1) as pool:
            started = threading.Event()
            def call():
                started.set()
                sleep(1000)
            future = pool.submit(call)
            pool.submit(os.write, 1, b"queued")
            started.wait()
            sys.exit(3)
        """
    assert run(program, code=3) == ""


def test_use_of_pools_from_atexit_and_del() -> None:
    program = """
        import atexit
        pool = SafeThreadPool(1)
        pool.submit(int).result()
        class Late:
            def __del__(self):
                try:
                    pool.submit(int)
                except BaseException:
                    pass
        sys.late = Late()
        def late():
            try:
                pool.submit(int).result(10)
            except RuntimeError:
                pass
            print("end")
        atexit.register(late)
        """
    assert run(program) == "end"


@pytest.mark.parametrize("kind", ["pyferris.SafeThread(target=burn, daemon=True).start()", "pool.submit(burn)"])
def test_exit_with_computing_daemons_and_a_large_heap(kind: str) -> None:
    program = f"""
        class Node:
            def __init__(self, other):
                self.other = other
        heap = None
        for _ in range(400_000):
            heap = Node(heap) if _ % 100 else Node(None)
            globals().setdefault("nodes", []).append(heap)
        started = threading.Barrier(3)
        def burn():
            started.wait()
            mine = [[number] for number in range(300_000)]
            while True:
                mine[:1000] = [[number] for number in range(1000)]
        pool = SafeThreadPool(2, daemon=True)
        {kind}
        {kind}
        started.wait()
        print("end")
        """
    assert run(program) == "end"


@pytest.mark.parametrize("_again", range(8))  # the reader has to be stopped at a late moment of the exit
def test_exit_while_a_daemon_map_runs_and_is_read(_again: int) -> None:
    program = """
        pool = SafeThreadPool(2, daemon=True)
        result = pool.map(lambda number: sum(range(1000)), range(10_000_000 // 10))
        def read():
            try:
                list(result)
            except concurrent.futures.CancelledError:  # what is queued in a daemon pool is cancelled at exit
                pass
        threading.Thread(target=read, daemon=True).start()
        next(result)
        print("end")
        """
    assert run(program) == "end"


def test_exit_finishes_a_map_that_nobody_reads() -> None:
    program = """
        SafeThreadPool(2).map(lambda number: os.write(1, b"."), range(100))
        """
    assert run(program) == "." * 100


@pytest.mark.parametrize(
    "work",
    [
        "pool.submit(pow, 2, 3)",
        "pool.submit(late)",
        "pool.map(abs, range(3))",
        "pyferris.SafeThreadPool(1, isolation='inline').submit(late)",
        "pyferris.safe_thread.safe_parallel_map(abs, range(3), isolation='none')",
    ],
)
@pytest.mark.parametrize("used", [False, True])
def test_a_pool_made_after_the_end_refuses_work(work: str, used: bool) -> None:
    program = f"""
        import atexit
        if {used}:
            SafeThreadPool(1).submit(pow, 2, 3)
        async def late():
            return 5
        @atexit.register
        def at_exit():
            pool = SafeThreadPool(1)
            print(pool._closed)
            try:
                {work}
            except PoolClosed as error:
                print(error)
            with SafeThreadPool(1, isolation="inline") as inline:
                print(inline.submit(pow, 2, 3).result())
        """
    assert run(program) == "True\ncannot submit to this pool: the interpreter is shutting down\n8"


def test_a_call_that_runs_while_the_interpreter_ends_may_use_a_pool_of_its_own() -> None:
    program = """
        pool = SafeThreadPool(1)
        def call():
            while not pool._closed:
                time.sleep(0.001)
            own = SafeThreadPool(1)
            own.submit(lambda: (time.sleep(0.01), os.write(1, b"ran")))
        pool.submit(call)
        """
    assert run(program) == "ran"
