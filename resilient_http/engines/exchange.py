"""Exchange: one attempt's request on its way out, and its response on its way back; alike for sync and async."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from resilient_http.call import Attempt, Headers
from resilient_http.engines.backend import Backend, never_sent
from resilient_http.engines.network import Allowance
from resilient_http.semantics import keep_alive
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.outcome import Fault

HOSTS = 1024  # names of upstreams and endpoints whose header line is kept
MARGIN = 0.5  # seconds before a server's own limit at which we stop using its idle connection


def request_for(attempt: Attempt, endpoint: Endpoint, *, watched: bool, addressed: bool = False) -> Any:
    """A request of the attempt's own: the user's, with its time limits, trace headers and the endpoint's name.

    The URL stays the logical one, but for the scheme; only what connects by itself must be told the endpoint's address.

    Args:
        attempt: The attempt.
        endpoint: Where it goes.
        watched: Whether the network is ours, and clamps each wait; else it is told once what is left.
        addressed: Whether the engine is a transport of httpx's that the user brings, which connects where the URL says.
    """
    original, link = attempt.call.request, endpoint.link
    # httpx.Request's constructor costs 10 µs and reads the body; a copy of its public attributes is all that is needed.
    # One by one: to touch an object's __dict__ makes each later look at its attributes slower, httpx's own too.
    request = object.__new__(type(original))
    request.method = original.method
    request.url = original.url
    own_headers = link.host is not None or attempt.headers
    request.headers = _headers(attempt, original, link.host) if own_headers else original.headers
    limits = _allowances(attempt) if watched else _limits(attempt)
    request.extensions = extensions = {**original.extensions, "timeout": limits}
    if attempt.trace is not None:
        extensions["trace"] = attempt.trace
    if link.host is not None:
        if endpoint.scheme == "https":
            extensions.setdefault("sni_hostname", link.server_name)
        if link.proxy is not None or addressed:
            request.url = original.url.copy_with(scheme=endpoint.scheme, host=endpoint.host, port=endpoint.port)
        elif endpoint.scheme == "https" and original.url.scheme == "http":
            request.url = original.url.copy_with(scheme="https")
    request.stream = original.stream
    content = getattr(original, "_content", None)
    if content is not None:
        request._content = content
    return request


def received(attempt: Attempt, response: Any) -> None:
    """The headers have come."""
    attempt.answer(response.status_code)
    stream = response.extensions.get("network_stream")
    if stream is None:
        return
    watch = getattr(stream, "watch", None)
    if watch is not None:
        # To ask for a header through the public way costs 2 µs; see _headers().
        told = [value for _, name, value in response.headers._list if name == b"keep-alive"]  # noqa: SLF001
        seconds = keep_alive(told[0].decode("latin-1")) if told else None
        if seconds is not None:
            watch.idle_limit = max(0.0, seconds - MARGIN)


def headers_of(module: Any, fields: Iterable[tuple[bytes, bytes]]) -> Any:
    """Header lines that have come, as httpx or httpx2 has them; its constructor looks at each for what it might be."""
    headers = object.__new__(module.Headers)
    headers._list = [(name, name.lower(), value) for name, value in fields]
    headers._encoding = None
    return headers


def lines_of(headers: Any) -> Headers:
    """Header lines as text, names in lower case."""
    # multi_items() finds out how they are encoded, for each name and value anew; `raw` is another list.
    lines: list[tuple[bytes, bytes, bytes]] = headers._list  # noqa: SLF001 - a test tells if it goes
    try:
        return tuple([(name.decode("ascii"), value.decode("ascii")) for _, name, value in lines])
    except UnicodeDecodeError:
        return tuple(headers.multi_items())


def body_of(response: Any, backend: Backend) -> bytes | None:
    """The body of a transport's response as it came, when it is here."""
    stream = response.stream
    if type(stream) is not backend.module.ByteStream:
        return None
    return bytes(stream._stream)  # noqa: SLF001 - to iterate over it costs as much as all else; a test tells if it goes


def failed(attempt: Attempt, error: BaseException, backend: Backend, *, watched: bool) -> None:
    """The attempt ended in an exception of the engine's.

    Args:
        attempt: The attempt.
        error: What was raised.
        backend: Knows its exceptions.
        watched: Whether the network was ours, so that `attempt.sent` is known; else the exception must tell.
    """
    attempt.fault = backend.fault_of(error)
    if attempt.fault is Fault.LOCAL:
        attempt.stalled = attempt.fault.value
    if not watched and attempt.status is None:
        attempt.sent = not never_sent(error)


def _headers(attempt: Attempt, original: Any, host: str | None) -> Any:
    users = original.headers
    # The public way costs 1 µs to copy them, and 1 to set a field; a test tells if these names go.
    lines = users._list.copy()  # noqa: SLF001
    if host is not None and lines and lines[0] == _host_line(attempt.call.upstream):
        lines[0] = _host_line(host)  # httpx writes the upstream's name first; what the user wrote wins
    headers = object.__new__(type(users))
    headers._list, headers._encoding = lines, None
    for name, value in attempt.headers:
        headers[name] = value
    return headers


@lru_cache(HOSTS)
def _host_line(host: str) -> tuple[bytes, bytes, bytes]:
    return b"Host", b"host", host.encode("ascii")


def _limits(attempt: Attempt) -> dict[str, float | None]:
    left = attempt.expires - attempt.started
    if left == math.inf:
        return dict(attempt.phases)
    return {name: left if limit is None or limit > left else limit for name, limit in attempt.phases.items()}


def _allowances(attempt: Attempt) -> dict[str, float | None]:
    phases = attempt.phases
    read, write = phases.get("read"), phases.get("write")
    reading = Allowance.of(read, attempt)
    return {
        "connect": Allowance.of(phases.get("connect"), attempt),
        "read": reading,
        "write": reading if write == read else Allowance.of(write, attempt),
    }
