"""Control: plain requests to a registry, beside the calls: no policies, no redirects, no proxy of the environment.

Whatever waits in a request ends at once when another thread closes this: its connection is shut down.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from resilient_http.settings.network import TlsSettings
from resilient_http.upstreams.sources.source import SourceFailed

# A peer that vanished without a word is noticed by the kernel in 30 s.
KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4))
        if hasattr(socket, name)
    ),
)

GOOD = (200,)
MOST = 50_000_000  # bytes of an answer
PLAIN = "identity"  # what is compressed may be a thousand times as long


class Control:
    """Requests to one registry, which may have several addresses: when one fails, the next one is asked. One thread's.

    Args:
        library: httpx, or httpx2.
        urls: Its addresses.
        tls: How they are verified.
        timeout: Seconds without a byte.

    Attributes:
        silence: What is raised when no byte of a body came for so long.
    """

    def __init__(self, library: Any, urls: Sequence[str], tls: TlsSettings, timeout: float) -> None:
        self._library = library
        self.silence: type[Exception] = library.ReadTimeout
        self._urls = list(urls)
        self._timeout = timeout
        self._streams: list[Any] = []
        secure = any(url.startswith("https") for url in urls)
        transport = library.HTTPTransport(
            # Reading the authorities costs some 90 ms, and is done even where no TLS is spoken.
            verify=_context(library, tls) if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            limits=library.Limits(max_connections=2, keepalive_expiry=2.0),
            socket_options=KEEPALIVE,
        )
        self._client = library.Client(transport=transport, trust_env=False, follow_redirects=False, timeout=timeout)
        self._client.headers["accept-encoding"] = PLAIN

    @contextlib.contextmanager
    def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        wait: float = 0.0,
        quiet: float | None = None,
        good: Collection[int] = GOOD,
        **options: Any,
    ) -> Iterator[Any]:
        """A response with a good status, its body not read yet.

        Args:
            method: Of the request.
            path: Of the request.
            headers: Of the request.
            wait: Seconds for which it may keep us waiting for the answer, beyond the timeout.
            quiet: Seconds between two bytes of the body; None for the timeout.
            good: Statuses that are good.
            options: As httpx has them: params, json.

        Raises:
            SourceFailed: There is no answer, or another status. The address is the next one from now on.
        """
        patience = self._library.Timeout(self._timeout, read=self._timeout + wait)
        try:
            with self._client.stream(
                method,
                self._urls[0] + path,
                headers=headers,
                timeout=patience,
                extensions={"trace": self._note},
                **options,
            ) as response:
                _check(response, good)
                # httpcore asks for it once more when the body begins.
                response.request.extensions["timeout"]["read"] = self._timeout if quiet is None else quiet
                yield response
        except self._library.TimeoutException:
            self._elsewhere()
            raise SourceFailed("it did not answer in time") from None
        except (self._library.HTTPError, self._library.StreamError, ssl.SSLError, OSError) as exc:
            self._elsewhere()
            raise SourceFailed(f"it cannot be reached ({type(exc).__name__})") from None
        except SourceFailed:
            self._elsewhere()
            raise

    def json(self, method: str, path: str, *, headers: Mapping[str, str], **options: Any) -> Any:
        """The body of an answer, read as JSON. Arguments as ask()."""
        with self.ask(method, path, headers=headers, **options) as response:
            return parsed(self.body(response))

    def body(self, response: Any, most: int = MOST) -> bytes:
        """The body of an answer, as a whole within the timeout.

        Args:
            response: The answer.
            most: Bytes that it may have.

        Raises:
            SourceFailed: It is longer, or takes longer.
        """
        content, until = bytearray(), time.monotonic() + self._timeout
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > most:
                raise SourceFailed(f"it answered with more than {most} bytes")
            if time.monotonic() > until:
                raise SourceFailed("it did not answer in time")
        return bytes(content)

    def close(self) -> None:
        """End whatever waits, and close the connections. From any thread."""
        for stream in list(self._streams):
            with contextlib.suppress(Exception):
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(Exception):
            self._client.close()

    def _elsewhere(self) -> None:
        self._urls.append(self._urls.pop(0))

    def _note(self, event: str, info: Mapping[str, Any]) -> None:
        """Remember the newest connections: those that close() shuts down."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._streams = [*self._streams[-3:], info["return_value"]]


def _check(response: Any, good: Collection[int]) -> None:
    if response.status_code not in good:
        raise SourceFailed(f"it answered {response.status_code}")
    if response.headers.get("content-encoding", PLAIN).lower() != PLAIN:
        raise SourceFailed("it compressed its answer, which it was not asked to")


def parsed(content: bytes) -> Any:
    """JSON of a body.

    Raises:
        SourceFailed: It is none.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise SourceFailed("garbage: the answer is no JSON") from None


def _context(library: Any, tls: TlsSettings) -> ssl.SSLContext:
    context: ssl.SSLContext
    if isinstance(tls.verify, str):
        context = ssl.create_default_context(cafile=tls.verify)
    else:
        context = library.create_ssl_context(verify=tls.verify)
    if isinstance(tls.cert, str):
        context.load_cert_chain(tls.cert)
    elif tls.cert is not None:
        context.load_cert_chain(*tls.cert)
    return context
