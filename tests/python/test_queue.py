"""SafeQueue: the contract of queue.Queue, and closing."""

import gc
import queue
import weakref

import pytest

from pyferris.safe_thread import SafeQueue, SafeThread, ShutDown


def test_first_in_first_out():
    items = SafeQueue()
    for i in range(100):
        items.push(i)
    assert (items.qsize(), len(items), items.empty(), items.full()) == (100, 100, False, False)
    assert items.to_list() == list(range(100))
    assert [items.pop() for _ in range(100)] == list(range(100))
    assert items.empty()
    assert bool(items)


def test_the_names_of_the_standard_library():
    items = SafeQueue[int](maxsize=1)
    items.put(1, timeout=1)
    assert items.maxsize == 1
    assert items.full()
    with pytest.raises(queue.Full):
        items.put_nowait(2)
    with pytest.raises(queue.Full):
        items.put(2, True, 0.01)
    assert items.get(block=False) == 1
    with pytest.raises(queue.Empty):
        items.get_nowait()
    with pytest.raises(queue.Empty):
        items.pop(timeout=0.01)


def test_bad_arguments():
    items = SafeQueue()
    with pytest.raises(ValueError, match="-1"):
        items.pop(timeout=-1)
    with pytest.raises(TypeError, match="timeout"):
        items.pop(timeout="soon")
    with pytest.raises(TypeError, match="item"):
        items.push()
    with pytest.raises(TypeError, match="blok"):
        items.pop(blok=1)
    with pytest.raises(ValueError, match="maxsize 1"):
        SafeQueue(1, [1, 2])
    with pytest.raises(ValueError, match="task_done"):
        items.task_done()


def test_a_closed_queue_is_drained_and_then_ends():
    items = SafeQueue(initial="ab")
    items.close()
    with pytest.raises(ShutDown):
        items.push("c")
    assert list(items) == ["a", "b"]
    with pytest.raises(ShutDown):
        items.pop()


def test_closing_wakes_those_who_wait():
    empty, full = SafeQueue(), SafeQueue(1, [0])

    def expect(call, *args):
        with pytest.raises(ShutDown):
            call(*args)

    threads = [SafeThread(target=expect, args=call) for call in ((empty.pop,), (empty.pop,), (full.push, 1))]
    for thread in threads:
        thread.start()
    empty.close()
    full.close()
    for thread in threads:
        thread.get_result(60)


def test_shutdown_immediate_drops_the_items():
    items = SafeQueue(initial=[1, 2])
    items.shutdown(immediate=True)
    with pytest.raises(ShutDown):
        items.pop()
    items.join()


def test_join_waits_for_task_done():
    items = SafeQueue(initial=range(10))
    thread = SafeThread(target=items.join)
    thread.start()
    for _ in range(10):
        assert thread.is_alive()
        items.pop()
        items.task_done()
    thread.get_result(60)


@pytest.mark.parametrize("maxsize", [0, 1, 7])
def test_many_threads_lose_and_double_nothing(maxsize):
    items, count = SafeQueue(maxsize), 4_000

    def produce(start):
        for i in range(start, start + count):
            items.push(i)

    producers = [SafeThread(target=produce, args=(n * count,)) for n in range(3)]
    consumers = [SafeThread(target=list, args=(items,)) for _ in range(3)]
    for thread in producers + consumers:
        thread.start()
    for thread in producers:
        thread.get_result(60)
    items.close()
    taken = [thread.get_result(60) for thread in consumers]
    assert sorted(item for part in taken for item in part) == list(range(3 * count))
    for part in taken:  # what one producer put comes out in its order
        for n in range(3):
            mine = [item for item in part if item // count == n]
            assert mine == sorted(mine)


def test_a_cycle_through_a_queue_is_collected():
    items = SafeQueue()
    items.push(items)
    reference = weakref.ref(items)
    del items
    gc.collect()
    assert reference() is None


def test_a_destructor_may_use_the_queue():
    items = SafeQueue()

    class Pusher:
        def __del__(self):
            items.push("last words")

    items.push(Pusher())
    items.pop()
    assert items.pop(timeout=10) == "last words"
