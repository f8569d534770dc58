"""Redis: a document as the value of one key, read when somebody publishes to its channel. No key, no document.

    GET key
    SUBSCRIBE channel

A message that was lost (Redis keeps none) is made good by reading the key every `interval` seconds all the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from resilient_http.settings.watch import WatchRedisSettings
from resilient_http.upstreams.redis_client import connect

LOOK = 0.5  # seconds between two looks whether it shall end


class RedisDocument:
    """The value of a key.

    Args:
        settings: The key, and where.
        timeout: Seconds to wait for an answer.
        interval: Seconds without a word after which it is read anew.
    """

    def __init__(self, settings: WatchRedisSettings, timeout: float, interval: float) -> None:
        self._settings = settings
        self._timeout = timeout
        self._interval = interval

    def watch(self, stop: threading.Event) -> Iterator[str | None]:
        """The value now, and after each message."""
        with (
            closing(connect(self._settings.redis.get_secret_value(), self._timeout)) as redis,
            closing(redis.pubsub()) as messages,
        ):
            messages.subscribe(self._settings.channel or self._settings.key)
            while not stop.is_set():
                yield redis.get(self._settings.key)
                self._wait(messages, stop)

    def _wait(self, messages: Any, stop: threading.Event) -> None:
        """Until there is a message. That of the subscription itself is one too: it has begun to hold by then."""
        until = time.monotonic() + self._interval
        while not stop.is_set() and (left := until - time.monotonic()) > 0:
            if messages.get_message(timeout=min(left, LOOK)) is not None:
                return
