"""Service: one process of the demo, in a process group of its own, with a log file."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"


class Service:
    """A server of the demo.

    Args:
        name: What people call it.
        argv: Arguments for `python -m`; `{port}` stands for its port.
        environment: Beyond our own.
        log: Where its output goes; appended to.
    """

    def __init__(self, name: str, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.log = log
        self._argv = [argument.format(port=self.port) for argument in argv]
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process, which leads its group."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, on the same port each time."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._argv],
                cwd=ROOT,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C at the terminal is ours to handle, and what a server starts dies with its group.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - we have no threads
            )

    def kill(self) -> None:
        """SIGKILL, as when a machine dies. Waits until it is dead."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def ask_to_stop(self) -> None:
        """SIGTERM. Does not wait."""
        self._signal(signal.SIGTERM)

    def wait(self, until: float) -> bool:
        """Whether its whole group was gone before `until`, in monotonic seconds."""
        while self.lives:
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        return True

    @property
    def lives(self) -> bool:
        """Whether anything of its process group is left."""
        if self._process is None:
            return False
        self._process.poll()
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            # macOS says so of a group that has only zombies left.
            return False
        return True

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


def free_port() -> int:
    """A port that nobody listens on, from below the range that outgoing connections take theirs from.

    So nobody takes it while its server is down, and nobody can connect to himself on it. On Linux it is also claimed,
    by a name that lasts as long as this process: another one that asks meanwhile is given another port.
    """
    while True:
        port = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            if sys.platform == "linux":
                _claim(port)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port


def _claim(port: int) -> None:
    """Take the name of a port for as long as this process lives; OSError where another one has it."""
    with socket.socket(socket.AF_UNIX) as claim:
        claim.bind(f"\0resilient_http: port {port}")
        claim.detach()


def _die_with_parent() -> None:
    """Linux: have the kernel end the service when the demo itself is killed and cannot."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
