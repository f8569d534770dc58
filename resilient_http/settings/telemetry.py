"""The settings of traces, metrics and logs, and their defaults."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from resilient_http.settings.keys import BYTES
from resilient_http.settings.validation import Model
from resilient_http.settings.values import HeaderName, Seconds, Size

Name = Annotated[str, Field(min_length=1)]

HARMLESS = (
    "accept", "accept-encoding", "age", "cache-control", "connection", "content-encoding", "content-length",
    "content-type", "date", "etag", "expires", "host", "keep-alive", "last-modified", "ratelimit", "ratelimit-reset",
    "retry-after", "server", "traceparent", "transfer-encoding", "user-agent", "vary", "x-dependency-down",
    "x-request-id",
)  # fmt: skip
"""Headers whose values say nothing that anybody would keep to himself."""


class TelemetrySettings(Model):
    """What OpenTelemetry is told, when the application has set it up.

    Attributes:
        traces: Whether calls and attempts have spans. Without them inbound trace headers are still passed on.
        metrics: Whether calls are measured.
        query: Query parameters whose values are shown in spans and logs; of all others the name is.
    """

    traces: bool = True
    metrics: bool = True
    query: tuple[Name, ...] = ()


class LoggingSettings(Model):
    """What the loggers below "resilient_http" say.

    Attributes:
        calls: Whether each degraded call is a warning.
        fold: Seconds in which warnings of one upstream and kind are one line; the next one has the count of the others.
            None for a line each.
        headers: Headers whose values are shown at DEBUG; of all others the name is.
        body: Bytes of each body that are shown at DEBUG. 0 for none.
        redact_httpx: Whether what httpx itself logs of each request loses credentials and query values too.
    """

    calls: bool = True
    fold: Seconds | None = 10.0
    headers: tuple[HeaderName, ...] = HARMLESS
    body: Annotated[Size, BYTES] = 0
    redact_httpx: bool = True
