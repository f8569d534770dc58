"""EagerSocket: a socket with a timeout that asks the kernel no more than it must.

Python's own sets the blocking mode whenever a timeout is set, and polls before it sends: six system calls for a request
and its answer, where three do, and each of them hands the interpreter's lock to another thread, if one waits. This one
never blocks in the kernel: it sends and receives at once, and polls only where that was too early.
"""

from __future__ import annotations

import math
import select
import socket


class EagerSocket(socket.socket):
    """A connected TCP socket. `settimeout`, `recv` and `send` are as a socket's; the others do not wait.

    Args:
        connected: The socket whose descriptor it takes over.
    """

    __slots__ = ("_limit",)

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(connected.family, connected.type, connected.proto, fileno=connected.detach())
        self.setblocking(False)
        self._limit: int | None = None

    def settimeout(self, seconds: float | None) -> None:
        """Seconds that an operation may wait, or None for as long as it takes."""
        if self.fileno() < 0:
            message = "the socket is closed"
            raise OSError(message)
        self._limit = None if seconds is None else math.ceil(seconds * 1000)

    def recv_now(self, size: int) -> bytes | None:
        """What is there; None where that is nothing yet."""
        try:
            return super().recv(size)  # where threads are many, an answer comes before the thread's turn does
        except BlockingIOError:
            return None

    def send_now(self, data: bytes) -> int:
        """How much the kernel takes at once."""
        try:
            return super().send(data)
        except BlockingIOError:
            return 0

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As a socket's."""
        try:
            return super().recv(size, flags)
        except BlockingIOError:
            return self.recv_later(size, flags)

    def recv_later(self, size: int, flags: int = 0) -> bytes:
        """As a socket's, for who knows that nothing is there yet."""
        self._wait(select.POLLIN)
        try:
            return super().recv(size, flags)
        except BlockingIOError as exc:
            raise TimeoutError from exc  # what had come was not for us after all; who has time left asks again

    def send(self, data: memoryview | bytes, flags: int = 0) -> int:  # type: ignore[override]  # of what we send
        """As a socket's."""
        try:
            return super().send(data, flags)
        except BlockingIOError:
            self._wait(select.POLLOUT)
        try:
            return super().send(data, flags)
        except BlockingIOError as exc:
            raise TimeoutError from exc

    def _wait(self, event: int) -> None:
        poll = select.poll()
        try:
            poll.register(self, event)
        except ValueError as exc:
            raise OSError(str(exc)) from exc  # it has been closed
        if not poll.poll(self._limit):
            message = "timed out"
            raise TimeoutError(message)
