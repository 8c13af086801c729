"""The same program twice: with `threading` and `concurrent.futures`, then with pyferris.

It counts the words of the standard library's own modules. `with_stdlib` and `with_pyferris` can be read side by side.
"""

from __future__ import annotations

import asyncio
import queue
import sysconfig
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from pyferris.safe_thread import SafeDict, SafeQueue, SafeThread, SafeThreadPool

FILES = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:60]
WORKERS = 4


def words(path: Path) -> Counter[str]:
    return Counter(word for word in path.read_text("utf-8").split() if word.isidentifier())


# --- a pool


def pool_with_stdlib() -> Counter[str]:
    total: Counter[str] = Counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        for future in as_completed([pool.submit(words, path) for path in FILES]):
            total += future.result()
    return total


def pool_with_pyferris() -> Counter[str]:
    total: Counter[str] = Counter()
    with SafeThreadPool(WORKERS) as pool:  # the only line that changes: as_completed takes these futures, too
        for future in as_completed([pool.submit(words, path) for path in FILES]):
            total += future.result()
    return total


# --- threads that share data


def threads_with_stdlib() -> Counter[str]:
    work: queue.Queue[Path | None] = queue.Queue()
    for path in FILES:
        work.put(path)
    for _ in range(WORKERS):
        work.put(None)  # one for each thread: there is no more
    total: dict[str, int] = {}
    lock = threading.Lock()
    errors: list[Exception] = []

    def worker() -> None:
        try:
            while (path := work.get()) is not None:
                for word, count in words(path).items():
                    with lock:
                        total[word] = total.get(word, 0) + count
        except Exception as error:  # a thread has no other way to tell
            errors.append(error)

    threads = [threading.Thread(target=worker) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return Counter(total)


def threads_with_pyferris() -> Counter[str]:
    work: SafeQueue[Path] = SafeQueue()
    for path in FILES:
        work.push(path)
    work.close()  # the loops over it end once it is empty
    total: SafeDict[str, int] = SafeDict()

    def worker() -> None:
        for path in work:
            for word, count in words(path).items():
                total.increment(word, count)

    threads = [SafeThread(target=worker) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.get_result()  # raises what the thread raised
    return Counter(dict(total))


# --- from asyncio


async def asyncio_with_stdlib() -> Counter[str]:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(WORKERS) as pool:
        found = await asyncio.gather(*[loop.run_in_executor(pool, words, path) for path in FILES])
    return sum(found, Counter())


async def asyncio_with_pyferris() -> Counter[str]:
    async with SafeThreadPool(WORKERS) as pool:
        found = await pool.map(words, FILES)
    return sum(found, Counter())


def main() -> None:
    expected = sum(map(words, FILES), Counter())
    for name, found in (
        ("pool, concurrent.futures", pool_with_stdlib()),
        ("pool, pyferris", pool_with_pyferris()),
        ("threads, threading and queue", threads_with_stdlib()),
        ("threads, pyferris", threads_with_pyferris()),
        ("asyncio, run_in_executor", asyncio.run(asyncio_with_stdlib())),
        ("asyncio, pyferris", asyncio.run(asyncio_with_pyferris())),
    ):
        if found != expected:
            raise SystemExit(f"{name}: differs from the serial computation")
        print(f"{name:30} {found.total():,} words, {len(found):,} of them different")


if __name__ == "__main__":
    main()
