"""HTTP facts that policies rest on, each with its source."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods whose repetition has the effect of one request. Source: RFC 9110, section 9.2.2."""

THROTTLED = frozenset({429, 503})
"""Statuses that ask to slow down. Source: RFC 6585, section 4; RFC 9110, section 15.6.4."""

TOO_MANY = frozenset({429})
"""Statuses that speak for the whole service, not for the node that answered. Source: RFC 6585, section 4."""

RETRYABLE_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed. Source: RFC 9110, 15.5.9 and 15.6; RFC 6585, section 4."""

BAGGAGE = "baggage"
TRACE_HEADERS = ("traceparent", "tracestate", BAGGAGE)
"""What carries a trace from one service to the next. Source: W3C Trace Context; W3C Baggage."""

SENTRY_TRACE = "sentry-trace"
"""What Sentry carries a trace with, beside `baggage`. Source: Sentry's SDK documents, Trace Propagation."""

DEPENDENCY_DOWN = "x-dependency-down"
"""Our own answers carry it when a service that we depend on is down, so that a caller that trusts it neither repeats
the request nor counts the answer against us. A header of this library's own; there is no standard."""

IDEMPOTENCY_KEY = "idempotency-key"
"""Its value names one intent, however often it is sent. Source: draft-ietf-httpapi-idempotency-key-header."""

SHORTEST = 0.001  # seconds left that a deadline header can say
FOREVER = 31_536_000.0  # seconds: no caller waits a year, so whoever says so means something else
GRPC_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
GRPC_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
SECONDS = re.compile(r"[0-9]{1,9}")
RATE_LIMIT = re.compile(r"\b(r|t|remaining|reset)=([0-9]{1,9})(?![0-9])")
DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")


def read_timeout(value: str, unit: str) -> float | None:
    """Seconds that a deadline header says, or None if it is malformed or beyond all reason.

    Args:
        value: Header value.
        unit: "ms" and "s" for whole or decimal numbers, "grpc" for digits and one of H M S m u n.

    Source: gRPC over HTTP/2, Timeout; Envoy's x-envoy-expected-rq-timeout-ms.
    """
    text = value.strip()
    if unit == "grpc":
        found = GRPC_TIMEOUT.fullmatch(text)
        seconds = math.inf if found is None else int(found[1]) * GRPC_SECONDS[found[2]]
    elif DECIMAL.fullmatch(text) is None:
        seconds = math.inf
    else:
        seconds = float(text) / (1000 if unit == "ms" else 1)
    return seconds if seconds <= FOREVER else None


def write_timeout(seconds: float, unit: str) -> str:
    """What a deadline header says for so many seconds, rounded down; never 0, which some read as "no timeout"."""
    milliseconds = int(min(max(seconds, SHORTEST), FOREVER) * 1000)
    if unit == "s":
        return f"{milliseconds / 1000:.3f}"
    if unit == "ms":
        return str(milliseconds)
    return f"{milliseconds}m" if milliseconds < 100_000_000 else f"{milliseconds // 1000}S"


def read_count(value: str) -> int | None:
    """The number that a header says, which counts from 1, or None if it is malformed.

    Source: Envoy's x-envoy-attempt-count.
    """
    text = value.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 and int(text) > 0 else None


def request_start(value: str) -> float | None:
    """The wall-clock second at which a request reached the first proxy, from X-Request-Start, or None if malformed.

    Proxies write it with or without `t=`, in seconds, milli-, micro- or nanoseconds since the epoch; the magnitude
    tells which.
    """
    text = value.strip().removeprefix("t=")
    if DECIMAL.fullmatch(text) is None and not (text.isascii() and text.isdigit() and len(text) <= 20):
        return None
    instant = float(text)
    for unit in (1.0, 1e3, 1e6, 1e9):
        if 1e8 <= instant / unit < 1e11:  # between 1973 and 5138
            return instant / unit
    return None


def retry_after(value: str, *, wall_now: float) -> float | None:
    """Seconds to wait that a Retry-After header asks for, or None if it is malformed.

    Args:
        value: Header value: whole seconds, or an HTTP date.
        wall_now: Wall-clock time in seconds since the epoch (HTTP dates are wall-clock).

    Returns:
        At least 0.0; a date in the past means "now".

    Source: RFC 9110, section 10.2.3.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= 9 else None
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, date.timestamp() - wall_now)


def come_back_in(headers: Mapping[str, str], *, wall_now: float) -> float | None:
    """Seconds after which an answer asks to come back, or None when it does not say.

    `Retry-After` is believed first; then `RateLimit-Reset`; then what `RateLimit` says, in either of its forms:
    `limit=100, remaining=0, reset=30` or `"default";r=0;t=30`, of several the longest of those that are used up.

    Args:
        headers: Of the answer; names are matched in lower case.
        wall_now: Wall-clock time in seconds since the epoch.

    Source: RFC 9110, section 10.2.3; draft-ietf-httpapi-ratelimit-headers, versions 07 and 09.
    """
    asked = headers.get("retry-after")
    if asked is not None and (seconds := retry_after(asked, wall_now=wall_now)) is not None:
        return seconds
    reset = headers.get("ratelimit-reset", "").strip()
    if SECONDS.fullmatch(reset):
        return float(reset)
    limits = [dict(RATE_LIMIT.findall(part)) for part in headers.get("ratelimit", "").split(",")]
    if any("reset" in limit for limit in limits):  # the older form is one list
        limits = [{name: value for limit in limits for name, value in limit.items()}]
    left = [float(wait) for limit in limits if _is_used_up(limit) and (wait := limit.get("t", limit.get("reset")))]
    return max(left, default=None)


def _is_used_up(limit: Mapping[str, str]) -> bool:
    return int(limit.get("r", limit.get("remaining", "0"))) == 0


def keep_alive(value: str) -> float | None:
    """Seconds that the server keeps an idle connection, from a `Keep-Alive: timeout=N` header, or None.

    Source: RFC 2068, section 19.7.1.1 (historic, and what servers still send).
    """
    for part in value.split(","):
        name, _, seconds = part.strip().partition("=")
        if name.lower() == "timeout" and seconds.isascii() and seconds.isdigit() and len(seconds) <= 9:
            return float(seconds)
    return None
