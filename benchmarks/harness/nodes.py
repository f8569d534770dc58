"""Nodes: small servers in processes of their own, that take as long, hold as much and misbehave as a benchmark says.

    python -m harness.nodes PORT KIND '{"name": "node 1", ...}'

They speak just enough HTTP/1.1 to be called over kept connections, and keep account; every kind answers

    /_account       JSON of what it has counted
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import signal
import sys
import time
from collections import Counter, deque
from typing import Any

REASONS = {200: b"OK", 503: b"Service Unavailable"}
Answer = tuple[int, bytes]


class Node:
    """A server of kept connections. A kind serves; it may also write to the connection itself, or raise Gone."""

    def __init__(self) -> None:
        self.requests = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def serve(self, path: str, writer: asyncio.StreamWriter) -> Answer:
        raise NotImplementedError

    def account(self) -> dict[str, Any]:
        return {"requests": self.requests}

    async def listen(self, port: int) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port, backlog=1024)

    async def leave(self) -> None:
        """Close the port and all connections, as a node that dies."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            # A caller that goes away ends its connection, and no work that has begun.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, Gone):
                while True:
                    await self._exchange(reader, writer)
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode()
        if (length := _content_length(head)) > 0:
            await reader.readexactly(length)
        if path == "/_account":
            status, body = 200, json.dumps(self.account()).encode()
        else:
            self.requests += 1
            status, body = await self.serve(path, writer)
        writer.write(b"HTTP/1.1 %d %b\r\n" % (status, REASONS[status]))
        writer.write(b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()


class Gone(Exception):
    """The node has hung up."""


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


class Tail(Node):
    """Takes a time that depends on the path alone, so that whoever is compared meets the same slow requests.

    /usual/KEY       lognormal around 10 ms, and in 2 of 100 a Pareto tail from 100 ms on: each node by itself
    /work/KEY        the same, but alike on all nodes: the work is slow, not the node
    /one/KEY         /usual, and the node that is `slow` takes ten times as long
    /together/KEY    lognormal around 10 ms, and all nodes stand still together for 0.15 s every 3 s
    """

    MEDIAN, SIGMA = 0.010, 0.3
    SHARE, FROM, ALPHA, CAP = 0.02, 0.1, 1.2, 3.0
    EVERY, STANDSTILL = 3.0, 0.15

    def __init__(self, name: str, *, slow: bool = False) -> None:
        super().__init__()
        self._name, self._slow = name, slow

    async def serve(self, path: str, writer: asyncio.StreamWriter) -> Answer:
        _, kind, key = path.split("/")
        share = 0.0 if kind == "together" else self.SHARE
        seconds = self.takes(key if kind == "work" else f"{self._name} {key}", share)
        if kind == "one" and self._slow:
            seconds *= 10
        if kind == "together" and (into := time.time() % self.EVERY) < self.STANDSTILL:
            seconds += self.STANDSTILL - into
        await asyncio.sleep(seconds)
        return 200, b"{}"

    def takes(self, seed: str, share: float) -> float:
        rng = random.Random(seed)
        if rng.random() < share:
            return min(self.CAP, self.FROM * rng.paretovariate(self.ALPHA))
        return rng.lognormvariate(math.log(self.MEDIAN), self.SIGMA)


class Uneven(Node):
    """Takes around 10 ms, lognormal, times its `factor`; and fails a share of its requests, at once, with 503."""

    MEDIAN, SIGMA = 0.010, 0.3

    def __init__(self, name: str, *, factor: float = 1.0, fails: float = 0.0) -> None:
        super().__init__()
        self._rng, self._factor, self._fails = random.Random(name), factor, fails

    async def serve(self, path: str, writer: asyncio.StreamWriter) -> Answer:
        if self._rng.random() < self._fails:
            return 503, b"{}"
        await asyncio.sleep(self._factor * self._rng.lognormvariate(math.log(self.MEDIAN), self.SIGMA))
        return 200, b"{}"


class Limited(Node):
    """Serves so many requests at a time and lets others wait, in a queue that ends; beyond it it answers 503 at once.

    It serves what it has taken in, whether anybody still waits for it or not, as most servers do.

    /_outage/503     from now on it answers 503 at once
    /_outage/hang    from now on nothing is served; the queue fills
    /_outage/none    from now on it serves again, and first what stands in the queue
    """

    def __init__(self, slots: int, seconds: float, queue: int) -> None:
        super().__init__()
        self._seconds, self._most = seconds, queue
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._work = asyncio.Semaphore(0)
        self._outage = "none"
        self._serves = asyncio.Event()
        self._serves.set()
        self._arrived: Counter[int] = Counter()
        self._slots = [asyncio.ensure_future(self._slot()) for _ in range(slots)]

    async def serve(self, path: str, writer: asyncio.StreamWriter) -> Answer:
        if path.startswith("/_outage/"):
            self._outage = path.rpartition("/")[2]
            self._serves.clear() if self._outage == "hang" else self._serves.set()
            return 200, b"{}"
        self._arrived[int(time.time() * 10)] += 1
        if self._outage == "503" or len(self._waiting) >= self._most:
            return 503, b"{}"
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._work.release()
        await done
        return 200, b"{}"

    def account(self) -> dict[str, Any]:
        # By tenths of a second of wall-clock time.
        return {"arrived": dict(self._arrived), "waiting": len(self._waiting)}

    async def _slot(self) -> None:
        while True:
            await self._work.acquire()
            await self._serves.wait()
            done = self._waiting.popleft()
            await asyncio.sleep(self._seconds)
            done.set_result(None)


class Moody(Node):
    """Does what the path asks for.

    /ok /503 /reset /drip /slow /big     and
    /_down/SECONDS                       hangs up on everybody, and refuses connections for so long
    """

    DRIP, SLOW, BIG = 0.05, 0.5, b"x" * 200_000

    async def serve(self, path: str, writer: asyncio.StreamWriter) -> Answer:
        mood = path.split("/")[1]
        if mood == "_down":
            self._down = asyncio.ensure_future(self._away(float(path.split("/")[2])))
        elif mood == "reset":
            raise Gone
        elif mood == "drip":
            await self._drip(writer)
        elif mood == "slow":
            await asyncio.sleep(self.SLOW)
        return (503 if mood == "503" else 200), (self.BIG if mood == "big" else b"{}")

    async def _drip(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(self.DRIP)
        raise Gone

    async def _away(self, seconds: float) -> None:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        await asyncio.sleep(0.05)  # for the answer to whoever asked
        await self.leave()
        await asyncio.sleep(seconds)
        await self.listen(port)


KINDS = {"tail": Tail, "uneven": Uneven, "limited": Limited, "moody": Moody}


async def main() -> None:
    port, kind, options = sys.argv[1:]
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    # Nobody writes there: it becomes readable when whoever started the node is gone, however that came.
    loop.add_reader(sys.stdin, ended.set)
    node = KINDS[kind](**json.loads(options))
    await node.listen(int(port))
    await ended.wait()
    await node.leave()


if __name__ == "__main__":
    asyncio.run(main())
