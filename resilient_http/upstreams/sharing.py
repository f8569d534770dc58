"""Sharing: one thread per process that exchanges with a Redis, beside the calls, what processes share.

Laws
    1. No call waits for it: who shares something keeps it in memory, and the thread mirrors it every `interval`.
    2. It begins with the first call, and ends with end(); it never keeps the process alive. Another call begins it
       anew. A forked child makes a Sharing of its own.
    3. When Redis has not answered for `expires` seconds, or not at all, everybody who shares is told to go on alone;
       that is logged once, and an event. It is tried again after pauses that double up to `max_backoff`.
    4. Neither the URL nor an error's text is shown: they may hold a password.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import threading
import time
import uuid
import weakref
from collections.abc import Iterator
from typing import Any, Protocol

from resilient_http.events import Hub, SharingLost, SharingRestored
from resilient_http.settings.shared import SharedSettings
from resilient_http.upstreams.redis_client import connect, where

logger = logging.getLogger("resilient_http.sharing")

JITTER = 0.2


class Sharer(Protocol):
    """Something that processes share: circuits, say. Its methods run in the one thread of Sharing."""

    def exchange(self, redis: Any) -> None:
        """Say what is to be said, hear the others, act on it. May raise anything: then Redis is taken to be away."""

    def alone(self) -> None:
        """Redis is away: go on without the others."""

    def farewell(self, redis: Any) -> None:
        """This process ends its part: give back what it holds. May raise anything."""

    def status(self) -> dict[str, Any]:
        """JSON-able, under a key of its own."""


class Sharing:
    """What this process shares with others through a Redis. Thread-safe.

    Args:
        settings: Where, and how often.
        hub: Where it is told that Redis is away, or back.

    Attributes:
        process: What this process is called; unique.
    """

    def __init__(self, settings: SharedSettings, hub: Hub) -> None:
        self.settings = settings
        self.process = uuid.uuid4().hex
        self._where = where(settings.redis.get_secret_value())
        self._sharers: list[weakref.ref[Sharer]] = []
        self._hub = hub
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # a thread that ends says farewell while the next one begins
        self._wake = threading.Event()
        self._stop: threading.Event | None = None
        self._why: str | None = "not tried yet"
        self._lost_at: float | None = None
        self._reached_at = -math.inf

    def add(self, sharer: Sharer) -> None:
        """Something to share, before the first call. Not kept alive: the thread holds nobody that nobody else holds."""
        self._sharers.append(weakref.ref(sharer))

    def begin(self) -> None:
        """Have the thread run. Cheap when it does."""
        if self._running():
            return
        with self._lock:
            if self._running():
                return
            stop = threading.Event()
            thread = threading.Thread(target=self._run, args=(stop,), name="resilient-http sharing", daemon=True)
            # Python that is about to exit starts no thread; then there is nothing left to share.
            with contextlib.suppress(RuntimeError):
                thread.start()
                self._stop = stop

    def _running(self) -> bool:
        return self._stop is not None

    def wake(self) -> None:
        """Something has changed that others should hear of at once."""
        self._wake.set()

    def end(self) -> None:
        """Have the thread say farewell and end. Does not wait for it."""
        stop, self._stop = self._stop, None
        if stop is not None:
            stop.set()
            self._wake.set()

    def status(self, now: float) -> dict[str, Any]:
        """JSON-able: whether Redis is there, and what is shared."""
        lost_at = self._lost_at
        return {
            "connected": self._why is None and self._stop is not None,
            "why_not": self._why,
            "lost_for": None if lost_at is None else round(now - lost_at, 3),
            **{key: value for sharer in self._alive() for key, value in sharer.status().items()},
        }

    def _alive(self) -> Iterator[Sharer]:
        return (sharer for reference in self._sharers if (sharer := reference()) is not None)

    def _run(self, stop: threading.Event) -> None:
        redis = None
        pause = self.settings.interval
        while not stop.is_set():
            try:
                if redis is None:
                    redis = connect(self.settings.redis.get_secret_value(), self.settings.timeout)
                self._exchange(redis)
            except Exception as exc:  # noqa: BLE001 - whatever it is, calls go on and it is tried again
                self._lost(exc)
                pause = min(self.settings.max_backoff, 2 * pause)
                stop.wait(pause * random.uniform(1 - JITTER, 1 + JITTER))
            else:
                self._reached()
                pause = self.settings.interval
                self._wake.wait(pause)
                self._wake.clear()
        if redis is not None:
            self._part(redis)

    def _exchange(self, redis: Any) -> None:
        with self._turn:
            for sharer in self._alive():
                sharer.exchange(redis)

    def _part(self, redis: Any) -> None:
        with self._turn:
            for sharer in self._alive():
                if self._why is None:
                    with contextlib.suppress(Exception):
                        sharer.farewell(redis)
                sharer.alone()
        with contextlib.suppress(Exception):
            redis.close()

    def _lost(self, error: Exception) -> None:
        if time.monotonic() - self._reached_at < self.settings.expires:
            return  # what was said still holds
        with self._turn:
            for sharer in self._alive():
                sharer.alone()
        self._why = type(error).__name__
        if self._lost_at is not None:
            return
        self._lost_at = time.monotonic()
        logger.warning("%s is away (%s): this process goes on by itself", self._where, self._why)
        if self._hub.listeners:
            self._hub.emit(SharingLost("", self._why))

    def _reached(self) -> None:
        self._reached_at = time.monotonic()
        self._why = None
        lost_at, self._lost_at = self._lost_at, None
        if lost_at is None:
            return
        lost_for = time.monotonic() - lost_at
        logger.info("%s is back after %.3g s", self._where, lost_for)
        if self._hub.listeners:
            self._hub.emit(SharingRestored("", lost_for))
