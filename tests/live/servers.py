"""Servers on loopback that misbehave as they are told, and addresses where nobody answers.

with FaultServer([answer(503), drip_body(0.1)]) as server:
    httpx.get(server.url)          # 503
    httpx.get(server.url)          # drips, as does every further request
assert len(server.requests) == 2
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Self

from tests.live.behaviours import (
    answer,
    break_off_body,
    close_before_answer,
    close_idle,
    delay,
    drip_body,
    drip_headers,
    echo,
    gated,
    hang,
    raw,
    redirect,
    reset,
    tunnel,
)
from tests.live.exchange import Behaviour, Connection, Exchange, Gone, Request

__all__ = [
    "Behaviour",
    "Exchange",
    "FaultServer",
    "Request",
    "Script",
    "answer",
    "break_off_body",
    "close_before_answer",
    "close_idle",
    "delay",
    "drip_body",
    "drip_headers",
    "echo",
    "full_backlog",
    "gated",
    "hang",
    "raw",
    "redirect",
    "refused_url",
    "reset",
    "tunnel",
    "wait_until_listening",
]

Script = Behaviour | Sequence[Behaviour] | Callable[[Request], Behaviour]
"""One behaviour for all requests, one for each in turn (the last one stays), or a function that chooses."""

_STOP_WITHIN = 5.0


class FaultServer:
    """An HTTP/1.1 server with keep-alive and a thread per connection, scripted by the test.

    A plain server that is asked for https hangs in the TLS handshake.

    Args:
        script: What to do with the requests; `play` changes it while the server runs.
        port: 0 chooses a free one; the port of a stopped server brings that one back to life.
        tls: Serves TLS. The context is the server's own from then on (it gets the server's `sni_callback`).
        read_body: False leaves request bodies on the wire, so that a big upload blocks.

    Attributes:
        requests: What was received, complete with its body, in order of arrival.
        connections: How many were accepted; those that failed in TLS too.
        server_names: The SNI name of each TLS connection, or None where the client sent none.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        read_body: bool = True,
    ) -> None:
        self.requests: list[Request] = []
        self.server_names: list[str | None] = []
        self.connections = 0
        self._read_body = read_body
        self._tls = tls
        if tls is not None:
            tls.sni_callback = lambda _socket, name, _context: self.server_names.append(name)
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._open: dict[Connection, threading.Thread] = {}
        self.play(script if script is not None else answer())
        self._listener = _listen(host, port, backlog=128)
        self.host, self.port = self._listener.getsockname()[:2]
        self._acceptor = threading.Thread(target=self._accept, name=f"fault-server-{self.port}", daemon=True)
        self._acceptor.start()

    @property
    def url(self) -> str:
        """Without a path: `http://127.0.0.1:49152`."""
        return f"{'http' if self._tls is None else 'https'}://{self.host}:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many connections are open now, idle ones too."""
        with self._changed:
            return len(self._open)

    def play(self, script: Script) -> None:
        """Treat the requests that arrive from now on as this script says."""
        choose = _chooser(script)
        with self._changed:
            self._choose = choose

    def wait_for_requests(self, count: int, timeout: float = 5.0) -> None:
        """Return when that many requests have been received in all."""
        self._wait_until(lambda: len(self.requests) >= count, timeout, f"{count} requests")

    def wait_for_open_connections(self, count: int, timeout: float = 5.0) -> None:
        """Return when exactly that many connections are open."""
        self._wait_until(lambda: len(self._open) == count, timeout, f"{count} open connections")

    def stop(self) -> None:
        """Close the port and all connections, and wait for the threads. A second stop does nothing."""
        self._stopping.set()
        with suppress(OSError):
            # Wakes accept(); the second stop finds the listener closed.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(_STOP_WITHIN)
        with self._changed:
            under_way = dict(self._open)
            for connection in under_way:
                connection.interrupt()
        for thread in under_way.values():
            thread.join(_STOP_WITHIN)
        if self._acceptor.is_alive() or any(thread.is_alive() for thread in under_way.values()):
            raise RuntimeError(f"{self.url} did not stop within {_STOP_WITHIN} s")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_until(self, reached: Callable[[], bool], timeout: float, what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(reached, timeout):
                raise TimeoutError(
                    f"{self.url} did not see {what} within {timeout} s: it has received {len(self.requests)} requests "
                    f"and has {len(self._open)} connections open"
                )

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                sock, _address = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                # The handshake belongs to the connection's thread: a client that stalls in it holds up nobody else.
                sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            with self._changed:
                self.connections += 1
                connection = Connection(sock, self.connections, self._stopping)
                thread = threading.Thread(
                    target=self._serve,
                    args=(connection,),
                    name=f"{self._acceptor.name}-{self.connections}",
                    daemon=True,
                )
                self._open[connection] = thread
            thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            # A client that breaks off, in whatever state, ends its connection and nothing else.
            with suppress(OSError, Gone):
                if isinstance(connection.sock, ssl.SSLSocket):
                    connection.sock.do_handshake()
                while not connection.closed:
                    self._serve_one(connection)
        finally:
            with self._changed:
                del self._open[connection]
                connection.close()
                self._changed.notify_all()

    def _serve_one(self, connection: Connection) -> None:
        request = connection.read_request(read_body=self._read_body)
        with self._changed:
            self.requests.append(request)
            behaviour = self._choose(request)
            self._changed.notify_all()
        behaviour.act(Exchange(connection, request))
        if not self._read_body or (request.header("Connection") or "").lower() == "close":
            connection.close()


def _chooser(script: Script) -> Callable[[Request], Behaviour]:
    if isinstance(script, Behaviour):
        return lambda _request: script
    if callable(script):
        return script
    waiting = list(script)
    if not waiting:
        raise ValueError("an empty script says nothing about the first request")
    return lambda _request: waiting.pop(0) if len(waiting) > 1 else waiting[0]


def _listen(host: str, port: int, *, backlog: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def refused_url() -> Iterator[str]:
    """The URL of a port that refuses connections, and that nobody else can take meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def full_backlog() -> Iterator[str]:
    """The URL of a port on which a connect hangs, as with a host that does not answer."""
    with ExitStack() as cleanup:
        listener = cleanup.enter_context(_listen("127.0.0.1", 0, backlog=0))
        address = listener.getsockname()
        while True:
            filler = cleanup.enter_context(socket.socket())
            filler.settimeout(0.1)
            try:
                filler.connect(address)
            except TimeoutError:
                break
        yield f"http://127.0.0.1:{address[1]}"


def wait_until_listening(host: str, port: int, timeout: float = 5.0) -> None:
    """Return when somebody accepts connections there."""
    until = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((host, port), timeout=1.0).close()
        except OSError as error:
            if time.monotonic() > until:
                raise TimeoutError(f"nobody listens on {host}:{port} after {timeout} s") from error
            time.sleep(0.01)
        else:
            return
