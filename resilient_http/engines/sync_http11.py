"""HTTP/1.1, sync: see http11.py."""

from __future__ import annotations

from typing import Any, Self

from resilient_http.engines.http11 import READ, UNSEEN, Answer, Http11, Outgoing, WholeBody
from resilient_http.engines.response_parser import ResponseParser
from resilient_http.engines.wire import END, Head, chunked


class Http11Connection(Http11):
    """Sync. One request at a time; may be closed from any thread."""

    def handle_request(self, request: Outgoing) -> Answer:
        """Send it, and read the head of its answer.

        Raises:
            httpcore's: ConnectError, ConnectTimeout, WriteTimeout, ReadTimeout, ReadError, LocalProtocolError (a
                request that no server could be sent), RemoteProtocolError (what came is no answer).
        """
        head, body = self._written(request)
        limits = request.extensions.get("timeout", {})
        parser, sent = ResponseParser(request.method), True
        try:
            if self._stream is None:
                self._stream = self._connect(request, limits.get("connect"))
            try:
                self._send(request, head, body, limits.get("write"))
            except self._core.WriteError:
                sent = False
            step = self.step("receive_response_headers", request)
            with step:
                self._receive(parser, limits.get("read"))
                if step is not UNSEEN:
                    step.return_value = (parser.version, parser.status, parser.reason, parser.headers)
            clean = sent and not head.closes
            if parser.whole and step is UNSEEN and request.read_at_once():
                self.end(request, clean=clean and parser.reusable())
                return self._answer(parser, WholeBody(parser.take()))
            return self._answer(parser, SyncBody(self, request, parser, clean=clean))
        except BaseException:
            self.end(request, clean=False)
            raise

    def read(self, timeout: float | None) -> bytes:
        """More of the answer; nothing at its end."""
        data: bytes = self._stream.read(READ, timeout)
        return data

    def end(self, request: Outgoing, *, clean: bool) -> None:
        """An exchange has ended; law 3."""
        if not self._rest(clean=clean):
            self.close()
        with self.step("response_closed", request):
            pass

    def close(self) -> None:
        """Close it."""
        self._idle, self._closed = False, True
        if self._stream is not None:
            self._stream.close()

    def _connect(self, request: Outgoing, timeout: float | None) -> Any:
        scheme, raw_host, port = self._origin
        host = raw_host.decode("ascii")
        asked = {"host": host, "port": port, "local_address": None, "timeout": timeout, "socket_options": None}
        step = self.step("connect_tcp", request, **asked)
        with step:
            stream = self._network.connect_tcp(**asked)
            if step is not UNSEEN:
                step.return_value = stream
        if scheme != b"https":
            return stream
        name = request.extensions.get("sni_hostname") or host
        asked = {"ssl_context": self._context, "server_hostname": name, "timeout": timeout}
        step = self.step("start_tls", request, **asked)
        with step:
            stream = stream.start_tls(**asked)
            if step is not UNSEEN:
                step.return_value = stream
        return stream

    def _send(self, request: Outgoing, head: Head, body: bytes | None, timeout: float | None) -> None:
        first, rest = self._joined(request, head, body)
        with self.step("send_request_headers", request):
            self._stream.write(first, timeout)
        if rest is None:
            return
        with self.step("send_request_body", request):
            if body is None:
                self._send_stream(head, request.stream, timeout)
            elif rest:
                self._stream.write(rest, timeout)

    def _send_stream(self, head: Head, stream: Any, timeout: float | None) -> None:
        if head.length is None:
            for chunk in stream:
                self._stream.write(chunked(chunk), timeout)
            self._stream.write(END, timeout)
            return
        given = 0
        for chunk in stream:
            given += len(chunk)
            if given > head.length:
                break
            self._stream.write(chunk, timeout)
        if (wrong := self._unlike(head, given)) is not None:
            raise wrong

    def _receive(self, parser: ResponseParser, timeout: float | None) -> None:
        while not parser.status:
            self.check(parser)
            parser.feed(self.read(timeout))


class SyncBody:
    """A response's body that had not come whole with its head. Closing it twice does no harm."""

    def __init__(self, connection: Http11Connection, request: Outgoing, parser: ResponseParser, *, clean: bool) -> None:
        self._connection = connection
        self._request = request
        self._parser = parser
        self._clean = clean
        self._step: Any = None
        self._closed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            if self._step is None:
                self._step = self._connection.step("receive_response_body", self._request)
                self._step.__enter__()
            data = self._read()
        except BaseException as exc:
            self.close()
            self._step.__exit__(type(exc), exc, exc.__traceback__)
            raise
        if data:
            return data
        self._step.__exit__(None, None, None)
        raise StopIteration

    def close(self) -> None:
        """The exchange has ended; unless it has been read to its end, the connection is closed."""
        if not self._closed:
            self._closed = True
            self._connection.end(self._request, clean=self._clean and self._parser.reusable())

    def _read(self) -> bytes:
        """What comes next of it; nothing at its end."""
        parser = self._parser
        while not (data := parser.take()) and not parser.whole:
            self._connection.check(parser, closed=self._closed)
            parser.feed(self._connection.read(self._request.extensions.get("timeout", {}).get("read")))
        return data
