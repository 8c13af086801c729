"""A TCP server on the loopback that hashes what clients send in a pool, and clients that check its answers.

A message is its length, four bytes, then so many bytes; the answer is their SHA-256, 32 bytes. The loop reads and
writes, the pool's workers hash, and a heartbeat shows how late the loop was at worst.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import struct
import time

from pyferris.safe_thread import SafeCounter, SafeThreadPool

LENGTH = struct.Struct("!I")
LARGEST = 4 << 20
CLIENTS = 8
MESSAGES = 6  # of each client


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class HashService:
    """Answers each client in order, all clients at the same time."""

    def __init__(self, pool: SafeThreadPool) -> None:
        self.served = SafeCounter()
        self._pool = pool

    async def serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while header := await reader.read(LENGTH.size):
                header += await reader.readexactly(LENGTH.size - len(header))
                (size,) = LENGTH.unpack(header)
                if size > LARGEST:
                    return  # more than we take: hang up
                data = await reader.readexactly(size)
                writer.write(await self._pool.submit(digest, data))
                await writer.drain()
                self.served.increment()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away in the middle of a message
        finally:
            writer.close()


async def run_client(port: int, seed: int) -> int:
    """Send messages, check the answers; return how many bytes were sent."""
    numbers = random.Random(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = 0
    for _ in range(MESSAGES):
        data = numbers.randbytes(numbers.randrange(1 << 20))
        writer.write(LENGTH.pack(len(data)) + data)
        await writer.drain()
        if await reader.readexactly(32) != hashlib.sha256(data).digest():
            raise SystemExit(f"client {seed}: the server's hash is wrong")
        sent += len(data)
    writer.close()
    await writer.wait_closed()
    return sent


async def beat(gaps: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.01)
        gaps.append(time.perf_counter() - before)


async def main() -> None:
    gaps: list[float] = []
    heart = asyncio.create_task(beat(gaps))
    async with SafeThreadPool(4, "hash") as pool:
        service = HashService(pool)
        server = await asyncio.start_server(service.serve_client, "127.0.0.1", 0)
        async with server:
            port: int = server.sockets[0].getsockname()[1]
            sent = await asyncio.gather(*[run_client(port, seed) for seed in range(CLIENTS)])
    heart.cancel()
    if service.served.get() != CLIENTS * MESSAGES:
        raise SystemExit(f"the server counted {service.served.get()} messages")
    print(f"{CLIENTS} clients, {service.served} messages, {sum(sent):,} bytes: every hash is right")
    print(f"{len(gaps)} heartbeats meanwhile, the slowest after {max(gaps, default=0.0) * 1e3:.0f} ms")


if __name__ == "__main__":
    asyncio.run(main())
