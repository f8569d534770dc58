"""HTTP facts that policies rest on, each with its source."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods whose repetition has the effect of one request. Source: RFC 9110, section 9.2.2."""

THROTTLED = frozenset({429, 503})
"""Statuses that ask to slow down. Source: RFC 6585, section 4; RFC 9110, section 15.6.4."""

RETRYABLE_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed. Source: RFC 9110, 15.5.9 and 15.6; RFC 6585, section 4."""

TRACE_HEADERS = ("traceparent", "tracestate", "baggage")
"""What carries a trace from one service to the next. Source: W3C Trace Context; W3C Baggage."""


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


def keep_alive(value: str) -> float | None:
    """Seconds that the server keeps an idle connection, from a `Keep-Alive: timeout=N` header, or None.

    Source: RFC 2068, section 19.7.1.1 (historic, and what servers still send).
    """
    for part in value.split(","):
        name, _, seconds = part.strip().partition("=")
        if name.lower() == "timeout" and seconds.isascii() and seconds.isdigit() and len(seconds) <= 9:
            return float(seconds)
    return None
