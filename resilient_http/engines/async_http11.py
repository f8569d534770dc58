"""HTTP/1.1, async: see http11.py."""

from __future__ import annotations

from typing import Any, Self

from resilient_http.engines.http11 import READ, UNSEEN, Answer, Http11, Outgoing, WholeBody
from resilient_http.engines.response_parser import ResponseParser
from resilient_http.engines.wire import END, Head, chunked


class AsyncHttp11Connection(Http11):
    """Async. Of one event loop."""

    async def handle_async_request(self, request: Outgoing) -> Answer:
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
                self._stream = await self._connect(request, limits.get("connect"))
            try:
                await self._send(request, head, body, limits.get("write"))
            except self._core.WriteError:
                sent = False
            step = self.step("receive_response_headers", request)
            async with step:
                await self._receive(parser, limits.get("read"))
                if step is not UNSEEN:
                    step.return_value = (parser.version, parser.status, parser.reason, parser.headers)
            clean = sent and not head.closes
            if parser.whole and step is UNSEEN and request.read_at_once():
                await self.end(request, clean=clean and parser.reusable())
                return self._answer(parser, WholeBody(parser.take()))
            return self._answer(parser, AsyncBody(self, request, parser, clean=clean))
        except BaseException:
            await self.end(request, clean=False)
            raise

    async def read(self, timeout: float | None) -> bytes:
        """More of the answer; nothing at its end."""
        data: bytes = await self._stream.read(READ, timeout)
        return data

    async def end(self, request: Outgoing, *, clean: bool) -> None:
        """An exchange has ended; law 3."""
        if not self._rest(clean=clean):
            await self.aclose()
        async with self.step("response_closed", request):
            pass

    async def aclose(self) -> None:
        """Close it. Never suspends."""
        self._idle, self._closed = False, True
        if self._stream is not None:
            await self._stream.aclose()

    async def _connect(self, request: Outgoing, timeout: float | None) -> Any:
        scheme, raw_host, port = self._origin
        host = raw_host.decode("ascii")
        asked = {"host": host, "port": port, "local_address": None, "timeout": timeout, "socket_options": None}
        step = self.step("connect_tcp", request, **asked)
        async with step:
            stream = await self._network.connect_tcp(**asked)
            if step is not UNSEEN:
                step.return_value = stream
        if scheme != b"https":
            return stream
        name = request.extensions.get("sni_hostname") or host
        asked = {"ssl_context": self._context, "server_hostname": name, "timeout": timeout}
        step = self.step("start_tls", request, **asked)
        async with step:
            stream = await stream.start_tls(**asked)
            if step is not UNSEEN:
                step.return_value = stream
        return stream

    async def _send(self, request: Outgoing, head: Head, body: bytes | None, timeout: float | None) -> None:
        first, rest = self._joined(request, head, body)
        async with self.step("send_request_headers", request):
            await self._stream.write(first, timeout)
        if rest is None:
            return
        async with self.step("send_request_body", request):
            if body is None:
                await self._send_stream(head, request.stream, timeout)
            elif rest:
                await self._stream.write(rest, timeout)

    async def _send_stream(self, head: Head, stream: Any, timeout: float | None) -> None:
        if head.length is None:
            async for chunk in stream:
                await self._stream.write(chunked(chunk), timeout)
            await self._stream.write(END, timeout)
            return
        given = 0
        async for chunk in stream:
            given += len(chunk)
            if given > head.length:
                break
            await self._stream.write(chunk, timeout)
        if (wrong := self._unlike(head, given)) is not None:
            raise wrong

    async def _receive(self, parser: ResponseParser, timeout: float | None) -> None:
        while not parser.status:
            self.check(parser)
            parser.feed(await self.read(timeout))


class AsyncBody:
    """As SyncBody."""

    def __init__(
        self, connection: AsyncHttp11Connection, request: Outgoing, parser: ResponseParser, *, clean: bool
    ) -> None:
        self._connection = connection
        self._request = request
        self._parser = parser
        self._clean = clean
        self._step: Any = None
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            if self._step is None:
                self._step = self._connection.step("receive_response_body", self._request)
                await self._step.__aenter__()
            data = await self._read()
        except BaseException as exc:
            await self.aclose()
            await self._step.__aexit__(type(exc), exc, exc.__traceback__)
            raise
        if data:
            return data
        await self._step.__aexit__(None, None, None)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """The exchange has ended; unless it has been read to its end, the connection is closed."""
        if not self._closed:
            self._closed = True
            await self._connection.end(self._request, clean=self._clean and self._parser.reusable())

    async def _read(self) -> bytes:
        """What comes next of it; nothing at its end."""
        parser = self._parser
        while not (data := parser.take()) and not parser.whole:
            self._connection.check(parser, closed=self._closed)
            parser.feed(await self._connection.read(self._request.extensions.get("timeout", {}).get("read")))
        return data
