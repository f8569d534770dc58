"""Redis client: a connection to a Redis beside the calls."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit


def connect(url: str, timeout: float) -> Any:
    """A client of the Redis, that connects when it is used, waits briefly and repeats nothing."""
    # An extra, imported only when used.
    from redis import Redis  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    return Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        encoding_errors="surrogateescape",  # bytes that are no text are none of ours, and are told back as they are
    )


def where(url: str) -> str:
    """The Redis, without credentials."""
    parts = urlsplit(url)
    return f"redis at {parts.hostname}:{parts.port or 6379}" if parts.hostname else f"redis at {parts.path}"
