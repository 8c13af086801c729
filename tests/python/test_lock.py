"""SafeLock, SafeRLock and SafeCondition: threading's contracts."""

import os
import signal
import subprocess
import sys
import threading
import weakref

import own_process
import pytest

from pyferris.safe_thread import SafeCondition, SafeCounter, SafeLock, SafeQueue, SafeRLock, SafeThread

LOCKS = [SafeLock, SafeRLock]


@pytest.mark.parametrize("kind", LOCKS)
def test_acquire_and_release(kind):
    lock = kind()
    assert not lock.locked()
    assert lock.acquire()
    assert lock.locked()
    assert "locked" in repr(lock)
    lock.release()
    assert not lock.locked()
    with lock as taken:
        assert taken is True
        assert lock.locked()
    with pytest.raises(RuntimeError, match="acquire"):
        lock.release()


@pytest.mark.parametrize("kind", LOCKS)
def test_arguments_are_checked_as_threading_does(kind):
    lock = kind()
    with pytest.raises(ValueError, match="non-blocking"):
        lock.acquire(False, 1)
    with pytest.raises(ValueError, match="-2"):
        lock.acquire(timeout=-2)
    with pytest.raises(OverflowError, match="1e\\+100"):
        lock.acquire(timeout=1e100)
    with pytest.raises(TypeError, match="blok"):
        lock.acquire(blok=True)
    assert not lock.locked()


@pytest.mark.parametrize("kind", LOCKS)
def test_a_held_lock_is_not_given_to_another_thread(kind):
    lock = kind()

    def attempt():
        return lock.acquire(blocking=False), lock.acquire(timeout=0.01)

    with lock:
        thread = SafeThread(target=attempt)
        thread.start()
        assert thread.get_result() == (False, False)


@pytest.mark.parametrize("kind", LOCKS)
def test_many_threads_count_exactly(kind):
    lock, total = kind(), 0

    def add():
        nonlocal total
        for _ in range(20_000):
            with lock:
                before = total
                total = before + 1

    threads = [SafeThread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.get_result()
    assert total == 120_000
    assert not lock.locked()


@pytest.mark.parametrize("kind", LOCKS)
def test_waiters_that_time_out_lose_no_wake_up(kind):
    lock, got = kind(), []

    def wait(timeout):
        for _ in range(300):
            if lock.acquire(timeout=timeout):
                got.append(1)
                lock.release()

    threads = [SafeThread(target=wait, args=(0.0001 if i % 2 else -1,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.get_result(60)
    assert len(got) >= 900
    assert not lock.locked()


@pytest.mark.parametrize("kind", LOCKS)
def test_weak_references(kind):
    lock = kind()
    reference = weakref.ref(lock)
    del lock
    assert reference() is None


def test_another_thread_may_release_a_lock_but_not_an_rlock():
    plain, owned = SafeLock(), SafeRLock()
    plain.acquire()
    owned.acquire()
    thread = SafeThread(target=plain.release)
    thread.start()
    thread.join()
    assert not plain.locked()
    thread = SafeThread(target=owned.acquire, args=(False,))
    thread.start()
    assert thread.get_result() is False


def test_an_rlock_is_taken_again_by_its_holder():
    lock = SafeRLock()
    with lock, lock:
        assert lock._recursion_count() == 2
    assert not lock.locked()


@pytest.mark.parametrize("lock", [None, SafeLock, SafeRLock, threading.Lock, threading.RLock])
def test_a_condition_wakes_its_waiters(lock):
    condition = SafeCondition(lock and lock())
    ready, woken = [], []

    def wait():
        with condition:
            ready.append(1)
            condition.notify_all()
            condition.wait_for(lambda: "go" in woken)
            woken.append(1)

    threads = [SafeThread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    with condition:
        condition.wait_for(lambda: len(ready) == 3)
        woken.append("go")
        condition.notify_all()
    for thread in threads:
        thread.get_result(60)
    assert woken == ["go", 1, 1, 1]


def test_a_condition_without_its_lock_is_an_error():
    with pytest.raises(RuntimeError):
        SafeCondition().notify()


@pytest.mark.parametrize("lock", [SafeRLock, SafeLock, threading.RLock])
def test_a_condition_wakes_as_many_as_it_is_told_in_order(lock):
    condition, waiting, woken = SafeCondition(lock()), [], SafeQueue()

    def wait(number):
        with condition:
            waiting.append(number)
            woken.push((number, condition.wait(60)))

    threads = [SafeThread(target=wait, args=(number,)) for number in range(5)]
    for number, thread in enumerate(threads):
        thread.start()
        while True:
            with condition:
                if len(waiting) > number:
                    break
    with condition:
        assert len(condition._waiters) == 5
        condition.notify(0)
        condition.notify(2)
        assert len(condition._waiters) == 3
    assert sorted(woken.pop() for _ in range(2)) == [(0, True), (1, True)]
    with condition:
        condition.notify_all()
    for thread in threads:
        thread.get_result(60)
    assert sorted(woken.to_list()) == [(2, True), (3, True), (4, True)]


def test_waits_that_time_out_take_no_notification_with_them():
    condition, items, taken, over = SafeCondition(), [], SafeCounter(), []

    def take(timeout):
        with condition:
            while not over:
                if items:
                    items.pop()
                    taken.increment()
                else:
                    condition.wait(timeout)

    threads = [SafeThread(target=take, args=(0.0001 if i % 2 else None,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(2_000):
        with condition:
            items.append(1)
            condition.notify()
    while taken != 2_000:
        with condition:
            condition.wait(0.001)
            condition.notify()
    with condition:
        over.append(1)
        condition.notify_all()
    for thread in threads:
        thread.get_result(60)


def test_a_condition_checks_its_arguments_and_its_lock():
    condition = SafeCondition()
    assert isinstance(condition, threading.Condition)
    for call in (condition.wait, condition.notify, condition.notify_all):
        with pytest.raises(RuntimeError, match="un-acquired lock"):
            call()
    with condition:
        assert condition.wait(-1) is False
        assert condition.wait(0) is False
        with pytest.raises(TypeError):
            condition.wait("1")
        with pytest.raises(TypeError):
            condition.notify("1")
        assert condition._is_owned()
    assert "Condition" in repr(condition)


@pytest.mark.parametrize("lock", ["SafeRLock", "SafeLock"])
def test_a_wait_that_a_signal_ends_holds_the_lock_again(lock):
    own_process.run(f"""
        from pyferris.safe_thread import SafeCondition, {lock}
        condition = SafeCondition({lock}())
        with condition:
            try:
                ctrl_c_in_next_line()
                condition.wait()
            except KeyboardInterrupt:
                assert condition._is_owned() and len(condition._waiters) == 0
            else:
                raise AssertionError
    """)


CALLS = ["SafeLock(); x.acquire(); x.acquire()", "SafeQueue(); x.pop()", "SafeQueue(1, [1]); x.push(2)"]
CALLS += ["SafeCondition(); x.acquire(); x.wait()"]


@pytest.mark.parametrize("call", [*CALLS, "SafeQueue(initial=[1]); x.join()"])
def test_ctrl_c_ends_a_wait(call):
    program = (
        f"import signal; from pyferris.safe_thread import *; signal.setitimer(signal.ITIMER_REAL, 0.3); x = {call}"
    )
    handler = "import signal; signal.signal(signal.SIGALRM, signal.default_int_handler); "
    done = subprocess.run([sys.executable, "-c", handler + program], capture_output=True, timeout=60, check=False)
    assert b"KeyboardInterrupt" in done.stderr
    assert done.returncode in (-signal.SIGINT, 130, 1), done


def test_a_daemon_thread_that_waits_does_not_disturb_the_exit():
    program = """
from pyferris.safe_thread import *
lock, queue, inside = SafeLock(), SafeQueue(), SafeQueue()
lock.acquire()
for wait in (lock.acquire, queue.pop):
    SafeThread(target=lambda wait=wait: (inside.push(1), wait()), daemon=True).start()
    inside.pop()
"""
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


def test_a_forked_child_gets_a_free_lock_by_reinit():
    lock = SafeLock()
    lock.acquire()
    child = os.fork() if sys.version_info < (3, 12) else None
    if child == 0:
        lock._at_fork_reinit()
        os._exit(0 if lock.acquire(False) else 1)
    if child is None:
        lock._at_fork_reinit()
        assert lock.acquire(False)
        return
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("kind", LOCKS)
def test_timeouts_are_those_of_the_standard_library(kind):
    assert kind().acquire(timeout=threading.TIMEOUT_MAX)
    for timeout in (threading.TIMEOUT_MAX + 1, float("inf"), float("-inf")):
        with pytest.raises(OverflowError):
            kind().acquire(timeout=timeout)
    for timeout in (-2, float("nan")):
        with pytest.raises(ValueError, match=r"timeout|NaN"):
            kind().acquire(timeout=timeout)
