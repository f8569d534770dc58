"""One request at a FaultServer, and the means to answer it, well or badly.

Nothing here waits longer than the connection lives: when the client goes away, or the server stops, every method raises
`Gone`, and the thread of the connection ends.
"""

import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

PHRASES = {status.value: status.phrase for status in HTTPStatus}

# SO_LINGER on, with no time to linger: close() sends RST.
_RESET = struct.pack("ii", 1, 0)


class Gone(ConnectionError):
    """The client closed the connection, or the server stops."""


@dataclass(frozen=True)
class Request:
    """What the server received.

    Attributes:
        headers: As pairs, in the order and the spelling of the wire.
        connection: Number of the connection, from 1; two requests with the same number shared it.
        received_at: Monotonic seconds.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int
    received_at: float = field(default_factory=time.monotonic)

    def header(self, name: str) -> str | None:
        """The value of the first header of that name, in any spelling."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True)
class Behaviour:
    """How the server treats one request; see `tests.live.behaviours` for the ready ones."""

    act: Callable[["Exchange"], None]


class Exchange:
    """A request together with the connection that it came on."""

    def __init__(self, connection: "Connection", request: Request) -> None:
        self.request = request
        self._connection = connection

    def send(self, data: bytes) -> None:
        """Put bytes on the wire as they are."""
        self._connection.send(data)

    def send_head(self, status: int, headers: Headers = ()) -> None:
        """Send the status line and the headers, with the blank line after them."""
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        lines = [status_line(status), *(f"{name}: {value}\r\n".encode("latin-1") for name, value in pairs)]
        self.send(b"".join(lines) + b"\r\n")

    def wait(self, seconds: float | None = None) -> None:
        """Let time pass; without a number until the connection ends, which raises `Gone`."""
        self._connection.wait(seconds)

    def wait_for(self, gate: threading.Event) -> None:
        """Let time pass until the test opens the gate."""
        while not gate.is_set():
            self._connection.wait(0.005)

    def drop_next(self) -> None:
        """Take the next request off the wire, and hang up."""
        self._connection.read_request(read_body=True)
        self.close()

    def relay(self, target: socket.socket) -> None:
        """Pass bytes to and fro until either end hangs up, which raises `Gone`."""
        self._connection.relay(target)

    def close(self) -> None:
        """Hang up: FIN."""
        self._connection.close()

    def reset(self) -> None:
        """Slam the door: RST."""
        self._connection.reset()


class Connection:
    """The server's end of one TCP or TLS connection."""

    def __init__(self, sock: socket.socket, number: int, stopping: threading.Event) -> None:
        self.sock = sock
        self.number = number
        self.closed = False
        self._stopping = stopping
        self._buffer = b""

    def read_request(self, *, read_body: bool) -> Request:
        """The next request on this connection; raises `Gone` when there is none."""
        head = self._read_until(b"\r\n\r\n").decode("latin-1")
        start, *lines = head.split("\r\n")
        method, target, _version = start.split(" ", 2)
        headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
        received = Request(method, target, headers, b"", self.number)
        return Request(method, target, headers, self._read_body(received), self.number) if read_body else received

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def wait(self, seconds: float | None) -> None:
        until = float("inf") if seconds is None else time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            readable, _, _ = select.select([self.sock], [], [], min(left, 60.0))
            if readable and not self._peek():
                raise Gone
            # The client may have sent more than we read; then the end of the connection cannot be selected for.
            if self._stopping.wait(min(left, 0.01) if readable else 0):
                raise Gone

    def relay(self, target: socket.socket) -> None:
        target.setblocking(False)
        unsent = b""  # to the target, which may read slowly
        while not self._stopping.is_set():
            # What TLS has decrypted already cannot be selected for.
            decrypted = isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()
            readers, writers = ([target], [target]) if unsent else ([target, self.sock], [])
            readable, writable, _ = select.select(readers, writers, [], 0 if decrypted else 0.05)
            if target in readable:
                self.sock.sendall(_some(target))
            if target in writable:
                unsent = unsent[target.send(unsent) :]
            elif not unsent and (decrypted or self.sock in readable):
                unsent = _some(self.sock)
        raise Gone

    def close(self) -> None:
        self.closed = True
        self.sock.close()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()

    def interrupt(self) -> None:
        """Wake the thread that reads, writes or waits on this connection; called from the stopping thread."""
        try:
            # Not SSLSocket's own: that one would take the TLS state away from under the thread that uses it.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
        except OSError:
            # The connection has ended already, which is all that was wanted.
            return

    def _peek(self) -> bytes:
        # Not SSLSocket's own: that one refuses flags.
        return socket.socket.recv(self.sock, 1, socket.MSG_PEEK)

    def _read_body(self, request: Request) -> bytes:
        if "chunked" in (request.header("Transfer-Encoding") or "").lower():
            chunks = []
            while size := int(self._read_until(b"\r\n"), 16):
                chunks.append(self._read_exactly(size + 2)[:-2])
            self._read_exactly(2)
            return b"".join(chunks)
        return self._read_exactly(int(request.header("Content-Length") or 0))

    def _read_until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._receive()
        found, self._buffer = self._buffer.split(mark, 1)
        return found

    def _read_exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def _receive(self) -> None:
        self._buffer += _some(self.sock)


def _some(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise Gone
    return data


def status_line(status: int) -> bytes:
    """The first line of an answer, with the registered phrase where there is one."""
    phrase = PHRASES.get(status, "")
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()
