"""A node in a process of its own, that can be killed, stopped and started again on the same port: see NodeProcess.

    python -m tests.live.node_process PORT SECONDS

It answers every request with 200 after so many seconds, any number of them at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from example_project.service import free_port
from tests.live.servers import wait_until_listening

ROOT = Path(__file__).parents[2]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class NodeProcess:
    """One node; a context manager that ends it.

    Args:
        seconds: That it takes for an answer.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # Of those that no connection is given as its own, so that it is still free when the node comes back.
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns when it listens."""
        command = [sys.executable, "-m", "tests.live.node_process", str(self.port), str(self._seconds)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)
        wait_until_listening("127.0.0.1", self.port, timeout=20.0)

    def kill(self) -> None:
        """SIGKILL, as when its machine dies but for the resets that this one's kernel sends."""
        process = self._running
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()

    def suspend(self) -> None:
        """SIGSTOP: its port still takes connections and requests, and nobody answers."""
        self._running.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._running.send_signal(signal.SIGCONT)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it has not been started"
        return self._process

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._running.poll() is None:
            self.kill()


async def main(port: int, seconds: float) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(seconds)
                writer.write(ANSWER)
                await writer.drain()
        writer.transport.abort()

    ended = asyncio.Event()
    # Nobody writes there: it becomes readable when whoever started the node is gone, however that came.
    asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
    async with await asyncio.start_server(answer, "127.0.0.1", port, backlog=1024):
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
