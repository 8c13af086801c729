"""SafeThread: a threading.Thread that has a result."""

import asyncio
import threading

import pytest

from pyferris.safe_thread import SafeThread, SafeThreadPool, check_cancelled, current_future, sleep


def test_it_is_a_thread_with_a_result():
    thread = SafeThread(target=lambda a, b: (a, b, threading.current_thread()), args=(1,), kwargs={"b": 2}, name="mine")
    assert isinstance(thread, threading.Thread)
    with pytest.raises(RuntimeError, match="start"):
        thread.get_result()
    thread.start()
    assert thread.get_result() == (1, 2, thread)
    thread.join()
    assert (thread.name, thread.is_alive(), thread.get_exception()) == ("mine", False, None)
    with pytest.raises(RuntimeError, match="once"):
        thread.start()


def test_an_exception_goes_to_the_hook_and_to_the_reader(monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    thread = SafeThread(target=lambda: 1 / 0)
    thread.start()
    with pytest.raises(ZeroDivisionError) as caught:
        thread.get_result()
    assert isinstance(thread.get_exception(), ZeroDivisionError)
    assert "<lambda>" in [entry.name for entry in caught.traceback]
    thread.join()
    assert [(args.exc_type, args.thread) for args in seen] == [(ZeroDivisionError, thread)]


def test_system_exit_is_silent(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda args: pytest.fail("not for SystemExit"))

    def leave():
        raise SystemExit(3)

    thread = SafeThread(target=leave)
    thread.start()
    with pytest.raises(SystemExit):
        thread.get_result()


def test_an_overridden_run_has_a_result_as_well():
    class Mine(SafeThread):
        def run(self):
            return "mine", super().run()

    thread = Mine(target=lambda: "target")
    thread.start()
    assert thread.get_result() == ("mine", "target")


def test_a_subclass_that_forgets_init_is_told():
    class Forgetful(SafeThread):
        def __init__(self):
            self.x = 1

    with pytest.raises(RuntimeError, match="__init__"):
        Forgetful().start()


def test_time_out():
    gate = threading.Event()
    thread = SafeThread(target=gate.wait)
    thread.start()
    with pytest.raises(TimeoutError):
        thread.get_result(0.01)
    gate.set()
    assert thread.get_result() is True


def test_cancel_asks_it_to_stop():
    inside = threading.Event()

    def body():
        assert current_future() is thread.future
        inside.set()
        while True:
            sleep(3600)
            check_cancelled()

    thread = SafeThread(target=body)
    with pytest.raises(RuntimeError, match="start"):
        thread.cancel()
    thread.start()
    inside.wait()
    thread.cancel()
    thread.join(60)
    assert not thread.is_alive()
    assert thread.future.cancelled()


def test_awaiting_does_not_stop_it():
    gate = threading.Event()

    async def main():
        thread = SafeThread(target=gate.wait)
        thread.start()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await thread
        assert not thread.future._stop_requested()
        gate.set()
        return await thread

    assert asyncio.run(main()) is True


def test_inline_runs_in_the_caller():
    thread = SafeThread(target=threading.current_thread, isolation="inline")
    thread.start()
    assert thread.get_result() is threading.current_thread()
    thread.join()
    assert not thread.is_alive()
    with pytest.raises(ValueError, match="'inline'"):
        SafeThread(isolation="interpreter")


def test_an_inline_one_has_an_ident_and_stops():
    thread = SafeThread(target=int, name="started", isolation="inline")
    assert "initial" in repr(thread)
    thread.start()
    assert thread.ident == threading.get_ident()
    assert isinstance(thread.native_id, int)
    assert repr(thread) == f"<SafeThread(started, stopped {thread.ident})>"


def test_what_the_target_was_given_is_let_go_of():
    class Argument:
        pass

    argument = Argument()
    import weakref

    reference = weakref.ref(argument)
    thread = SafeThread(target=id, args=(argument,))
    del argument
    thread.start()
    thread.join()
    assert reference() is None


def test_a_thread_may_use_a_pool():
    with SafeThreadPool(2) as pool:
        thread = SafeThread(target=lambda: pool.submit(pow, 2, 3).result())
        thread.start()
        assert thread.get_result() == 8
