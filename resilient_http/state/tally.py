"""Tally: how often something was decided, by name. Law: the names are few; what varies from call to call is no name."""

from __future__ import annotations

import threading
from collections import Counter


class Tally:
    """Counts since the process began. Thread-safe."""

    __slots__ = ("_counts", "_lock")

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str) -> None:
        """Once more."""
        with self._lock:
            self._counts[name] += 1

    def include(self, other: Tally) -> None:
        """All that another one has counted."""
        counts = other.as_dict()
        with self._lock:
            self._counts.update(counts)

    def as_dict(self) -> dict[str, int]:
        """Name to count, in the order of the names."""
        with self._lock:
            return dict(sorted(self._counts.items()))
