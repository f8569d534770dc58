"""Kept: the last few of something, of which each kind keeps its share.

Law: where there are more than `most`, the oldest of the most frequent kind goes. So a thousand refusals of an open
circuit do not push out the failures that opened it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Kept(Generic[Item]):
    """They. Thread-safe.

    Args:
        most: How many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: list[tuple[Hashable, Item]] = []
        self._counts: Counter[Hashable] = Counter()
        self._lock = threading.Lock()

    def add(self, kind: Hashable, item: Item) -> None:
        """One more, of that kind."""
        with self._lock:
            self._items.append((kind, item))
            self._counts[kind] += 1
            if len(self._items) > self._most:
                self._drop()

    def newest(self) -> list[Item]:
        """All of them, the newest first."""
        with self._lock:
            return [item for _, item in reversed(self._items)]

    def _drop(self) -> None:
        most = max(self._counts.values())
        at = next(at for at, (kind, _) in enumerate(self._items) if self._counts[kind] == most)
        kind, _ = self._items.pop(at)
        self._counts[kind] -= 1
        if not self._counts[kind]:
            del self._counts[kind]
