"""Shortcut: what httpx's clients do for a plain request, without what comes out the same for each call.

httpx parses the URL, merges headers three times, runs an auth flow that does nothing and searches the answer for
cookies that are not there; together that costs more than all policies. A plain request (no body, parameters, cookies,
credentials or headers of its own; no auth, no hooks) is built from a URL and headers that were made before, and sent
without those steps. Everything else takes httpx's own way; so does an answer that needs more (a redirect, a cookie),
which the transport then hands to httpx as if it came just now.

The user sees no difference: the same classes, attributes, exceptions and log lines.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import timedelta
from functools import cache, lru_cache
from types import FunctionType, MethodType
from typing import Any

KEPT = 1024  # URLs, and sets of headers, that are remembered
USUAL = (
    b"Accept",
    b"Accept-Encoding",
    b"Connection",
    b"User-Agent",
)  # what httpx gives each client; others may be secret
BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
ABSOLUTE = re.compile(
    r"https?://[\w\[][^@]{0,2000}\Z"
)  # not merged with a base_url, no credentials, not too long to keep

_urls: dict[tuple[Any, str], Any] = {}


@cache
def nothing_asked(library: Any) -> dict[str, Any]:
    """What build_request() is given for a call that asks for nothing but a method and a URL."""
    own = ("content", "data", "files", "json", "params", "headers", "cookies", "extensions")
    return {**dict.fromkeys(own), "timeout": library.USE_CLIENT_DEFAULT}


def plain_request(client: Any, library: Any, method: str, url: str, build: Callable[[], Any]) -> Any:
    """The request that `build` would give, for one that has nothing but a method and a URL.

    Args:
        client: The client; it has no parameters and no cookies.
        library: httpx or httpx2.
        method: In capitals; one whose requests have no body.
        url: Absolute.
        build: Has httpx make it.
    """
    known = _urls.get((library, url))
    if known is None:
        request = build()
        if len(_urls) >= KEPT:
            _urls.pop(next(iter(_urls)), None)  # the oldest
        _urls[library, url] = request.url
        return request
    # To ask for `raw`, and to copy headers the public way, costs 1 µs; a test tells if these names go.
    own = tuple(client.headers._list)  # noqa: SLF001
    usual = tuple([line[0] for line in own]) == USUAL
    kept = (_kept_headers if usual else _headers)(library, known.netloc, own)
    # Its constructor would look at all that is not there; a test tells if a request has other attributes than these.
    request = object.__new__(library.Request)
    request.method = method
    request.url = known
    request.headers = headers = object.__new__(library.Headers)
    headers._list, headers._encoding = kept._list.copy(), None  # noqa: SLF001
    request.extensions = {"timeout": client.timeout.as_dict()}
    request.stream = library.ByteStream(b"")
    request._content = b""
    return request


def _headers(library: Any, host: bytes, own: tuple[tuple[bytes, bytes, bytes], ...]) -> Any:
    lines = [(name, value) for name, _, value in own]
    headers = library.Headers(lines)
    return headers if "Host" in headers else library.Headers([(b"Host", host), *lines])


_kept_headers = lru_cache(KEPT)(_headers)


def is_plain(client: Any, request: Any, send: Any) -> bool:
    """Whether httpx would do nothing for a request but hand it to the transport.

    Args:
        client: The client.
        request: Its request.
        send: The transport's method. One that somebody has wrapped (an instrumentation) is called once per request.
    """
    hooks = client.event_hooks
    return (
        client.auth is None
        and not hooks["request"]
        and not hooks["response"]
        and not client.is_closed
        and "timeout" in request.extensions
        and not request.url.userinfo
        and type(send) is MethodType
    )


def is_httpxs_own(send: Any) -> bool:
    """Whether a client's `send` is as httpx wrote it, and not what an instrumentation (Sentry's) has put in its place.

    One that is wrapped sees every call, and so gets it. What wrapt wraps equals what it was, so no cache may answer.
    """
    return type(send) is FunctionType and send.__globals__["__name__"].endswith("._client")


def names_of(response: Any) -> set[bytes]:
    """The names of a response's headers, in lower case."""
    # To ask for one through the public way costs 2 µs, because httpx finds out how they are encoded each time.
    return {line[1] for line in response.headers._list}  # noqa: SLF001 - see exchange.py


def needs_httpx(status: int, names: set[bytes]) -> bool:
    """Whether a response asks for more than to be read."""
    return 300 <= status < 400 or b"set-cookie" in names


def receive(response: Any, request: Any, encoding: Any) -> None:
    """Set what httpx sets on a response before it is read, and log what it logs.

    Args:
        response: It.
        request: Its request.
        encoding: The client's `default_encoding`.
    """
    response.request = request
    response.default_encoding = encoding
    logger = _logger(type(request).__module__)
    if logger.isEnabledFor(logging.INFO):
        logger.info(
            'HTTP Request: %s %s "%s %d %s"',
            request.method,
            request.url,
            response.http_version,
            response.status_code,
            response.reason_phrase,
        )


@lru_cache(8)
def _logger(module: str) -> logging.Logger:
    return logging.getLogger(module.partition(".")[0])


def add_elapsed(response: Any, seconds: float) -> None:
    """Have it say that it took so much longer; one that was given with its content has not been told any time yet."""
    try:
        known = response.elapsed
    except RuntimeError:
        known = timedelta()
    response.elapsed = known + timedelta(seconds=seconds)


def read_at_once(response: Any, names: set[bytes], library: Any) -> bool:
    """Read a body that is in memory as it is to be, without the four generators that httpx reads a network with.

    The attributes are private, and the same in httpx and httpx2; a test tells if they go.
    """
    if type(response.stream) is not library.ByteStream or b"content-encoding" in names:
        return False
    if not response.is_closed:  # else it was given with its content
        response._content = body = b"".join(response.stream)  # noqa: SLF001
        response._num_bytes_downloaded = len(body)  # noqa: SLF001
        response.is_stream_consumed = response.is_closed = True
    return True
