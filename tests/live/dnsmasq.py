"""Name servers: a real dnsmasq on a port of its own, and one that answers as badly as it is told."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dns.message
import dns.query

_CONFIG = """
port={port}
no-daemon
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
local=/test/
local-ttl={ttl}
addn-hosts={hosts}
user={user}
{lines}
"""


def find_dnsmasq() -> str | None:
    """The path of the command, which Debian keeps off the PATH of ordinary users."""
    return shutil.which("dnsmasq", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


class Dnsmasq:
    """One running dnsmasq, that knows names under "test".

    Args:
        command: Path of dnsmasq.
        root: An empty directory of its own.
        hosts: Name to its addresses.
        lines: More of its configuration, like srv-host=...
        ttl: Of all answers, seconds.
    """

    def __init__(
        self, command: str, root: Path, hosts: dict[str, Sequence[str]], lines: Sequence[str] = (), ttl: int = 1
    ) -> None:
        self.port = _free_port()
        self._command = command
        self._root = root
        self._ttl = ttl
        self._process: subprocess.Popen[bytes] | None = None
        self.tell(hosts)
        self.start(lines)

    @property
    def address(self) -> str:
        """Where to ask it."""
        return f"127.0.0.1:{self.port}"

    def tell(self, hosts: dict[str, Sequence[str]]) -> None:
        """These are the addresses from now on."""
        text = "".join(f"{address} {name}\n" for name, addresses in hosts.items() for address in addresses)
        (self._root / "hosts").write_text(text)
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def start(self, lines: Sequence[str] = ()) -> None:
        """Start it, or start it anew with other lines, and wait until it answers."""
        self.stop()
        config = _CONFIG.format(
            port=self.port, ttl=self._ttl, hosts=self._root / "hosts", user=getpass.getuser(), lines="\n".join(lines)
        )
        (self._root / "conf").write_text(config)
        log = (self._root / "log").open("wb")
        with log:
            self._process = subprocess.Popen([self._command, "-C", str(self._root / "conf")], stdout=log, stderr=log)
        until = time.monotonic() + 10.0
        while not self._answers():
            assert time.monotonic() < until, (self._root / "log").read_text()

    def stop(self) -> None:
        """SIGKILL; a second one does nothing."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            dns.query.udp(dns.message.make_query("there.test", "A"), "127.0.0.1", timeout=0.2, port=self.port)
        except (OSError, dns.exception.DNSException):
            time.sleep(0.02)
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


class BadNameServer:
    """Answers each question as the function says, over UDP: with a message, or None for nothing.

    Attributes:
        asked: The questions so far, as text.
    """

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, sender = self._socket.recvfrom(4096)
            if not data:
                return
            question = dns.message.from_wire(data)
            self.asked.append(str(question.question[0]))
            answer = self.answer(question)
            if answer is not None:
                self._socket.sendto(answer.to_wire(), sender)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


def _free_port() -> int:
    """One that is free for both UDP and TCP."""
    while True:
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
