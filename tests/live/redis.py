"""A real Redis on a port of its own, which a test may kill and start again."""

import shutil
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis import Redis

from tests.live.servers import wait_until_listening


def find_redis() -> str | None:
    """The path of the command."""
    return shutil.which("redis-server")


class RedisServer:
    """One running Redis, without persistence.

    Args:
        command: Path of redis-server.
        root: A directory of its own.
        password: What clients have to know, or "".
    """

    def __init__(self, command: str, root: Path, password: str = "") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.password = password
        self._command = [
            command, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--dir", str(root), "--requirepass", password,
        ]  # fmt: skip
        self.start()

    @property
    def url(self) -> str:
        """With the password."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0" if self.password else self.open_url

    @property
    def open_url(self) -> str:
        """Without the password."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Any:
        """To look into it."""
        return Redis.from_url(self.url, decode_responses=True)

    def start(self) -> None:
        """Start it, empty."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until_listening("127.0.0.1", self.port)

    def kill(self) -> None:
        """SIGKILL: as a node dies."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, and nobody answers."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process.poll() is None:
            self.kill()
