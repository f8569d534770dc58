"""EagerSocket: a socket with a timeout that asks the kernel no more than it must.

Python's own sets the blocking mode whenever a timeout is set, and polls before it sends: six system calls for a request
and its answer, and each of them hands the interpreter's lock to another thread, if one waits. This one sends at once,
and receives in one system call, which waits by a timeout of the kernel's own. That one is coarse, and always the same:
what is not there after a moment is polled for.
"""

from __future__ import annotations

import _socket
import math
import select
import socket
import struct
import sys
from typing import Self

MOMENT = 0.25  # seconds
_IN_KERNEL = struct.pack("@ll", int(MOMENT), int(MOMENT % 1 * 1e6))
_NEVER = bytes(len(_IN_KERNEL))
NOW = getattr(socket, "MSG_DONTWAIT", 0)


class EagerSocket(socket.socket):
    """A connected TCP socket. `settimeout`, `recv` and `send` are as a socket's; the others do not wait.

    Args:
        connected: The socket whose descriptor it takes over.
    """

    __slots__ = ("_blocks", "_limit")

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(connected.family, connected.type, connected.proto, fileno=connected.detach())
        self.setblocking(False)
        self._blocks: bool | None = None  # in the kernel; None before it was asked to
        self._limit: int | None = None

    def settimeout(self, seconds: float | None) -> None:
        """Seconds that an operation may wait, or None for as long as it takes."""
        if self.fileno() < 0:
            message = "the socket is closed"
            raise OSError(message)
        self._limit = None if seconds is None else math.ceil(seconds * 1000)

    def recv_soon(self, size: int) -> bytes | None:
        """What comes within a moment; None where nothing does."""
        if self._blocks is None:
            self._blocks = self._may_block()
            if self._blocks:
                self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _IN_KERNEL)
                self.setblocking(True)
        try:
            return super().recv(size)
        except BlockingIOError:
            return None

    def recv_now(self, size: int) -> bytes | None:
        """What is there; None where that is nothing yet."""
        try:
            return super().recv(size, NOW)
        except BlockingIOError:
            return None

    def send_now(self, data: bytes) -> int:
        """How much the kernel takes at once."""
        try:
            return super().send(data, NOW)
        except BlockingIOError:
            return 0

    def never_blocks(self) -> Self:
        """The same, for who polls it himself from now on."""
        if self._blocks:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _NEVER)
            self.setblocking(False)
        self._blocks = False
        return self

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As a socket's."""
        try:
            return super().recv(size, flags | NOW)
        except BlockingIOError:
            return self.recv_later(size, flags)

    def recv_later(self, size: int, flags: int = 0) -> bytes:
        """As a socket's, for who knows that nothing is there yet."""
        self._wait(select.POLLIN)
        try:
            return super().recv(size, flags | NOW)
        except BlockingIOError as exc:
            raise TimeoutError from exc  # what had come was not for us after all; who has time left asks again

    def send(self, data: memoryview | bytes, flags: int = 0) -> int:  # type: ignore[override]  # of what we send
        """As a socket's."""
        try:
            return super().send(data, flags | NOW)
        except BlockingIOError:
            self._wait(select.POLLOUT)
        try:
            return super().send(data, flags | NOW)
        except BlockingIOError as exc:
            raise TimeoutError from exc

    def _may_block(self) -> bool:
        """Whether a thread is one of the system's. gevent puts a socket of its own there, now or before we came."""
        base = EagerSocket.__base__
        return sys.platform == "linux" and base is socket.socket and base.recv is _socket.socket.recv

    def _wait(self, event: int) -> None:
        poll = select.poll()
        try:
            poll.register(self, event)
        except ValueError as exc:
            raise OSError(str(exc)) from exc  # it has been closed
        if not poll.poll(self._limit):
            message = "timed out"
            raise TimeoutError(message)
