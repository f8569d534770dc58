"""Response memory: the newest good answers, in this process.

Laws
    1. It holds answers to at most `entries` requests, and about `size` bytes; the one unused for longest goes first.
    2. What is larger than a sixteenth of it is not kept: one listing would push everything else out.
    3. What is older than its time to live is never given.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from resilient_http.state.stored_response import StoredResponse

LARGEST = 16  # the part of it that one answer may take

Kept = tuple[float, int, tuple[StoredResponse, ...]]
"""What stands under a key: until when, how large it is, and what it is."""

NOTHING: Kept = (0.0, 0, ())


class ResponseMemory:
    """Answers by key. Thread-safe.

    Args:
        entries: Most keys.
        size: Most bytes.
    """

    def __init__(self, entries: int, size: int) -> None:
        self._entries = entries
        self._size = size
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._used = 0
        self._lock = threading.Lock()

    def adjust(self, entries: int, size: int) -> None:
        """Hold so much from now on; what is too much goes, the one unused for longest first."""
        with self._lock:
            self._entries, self._size = entries, size
            self._shrink()

    def get(self, key: str, now: float) -> tuple[StoredResponse, ...]:
        """What is kept under the key and has not expired, newest first; `now` in monotonic seconds."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return ()
            if now > found[0]:
                self._drop(key)
                return ()
            self._kept.move_to_end(key)
            return found[2]

    def set(self, key: str, kept: tuple[StoredResponse, ...], now: float, ttl: float) -> None:
        """Keep them for `ttl` seconds."""
        size = len(key)
        for one in kept:
            size += one.size
        with self._lock:
            if size > self._size / LARGEST:
                self._drop(key)
                return
            before = self._kept.pop(key, NOTHING)
            self._kept[key] = now + ttl, size, kept  # at the end, for it is the newest
            self._used += size - before[1]
            self._shrink()

    def delete(self, key: str) -> None:
        """Keep it no longer."""
        with self._lock:
            self._drop(key)

    def as_dict(self) -> dict[str, int]:
        """JSON-able."""
        with self._lock:
            return {"entries": len(self._kept), "bytes": self._used}

    def _shrink(self) -> None:
        while self._used > self._size or len(self._kept) > self._entries:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._used -= found[1]
