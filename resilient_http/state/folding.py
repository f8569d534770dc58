"""Folding: which of many warnings that say the same are said.

Laws
    1. The first of a kind is said. Those that follow within `span` seconds are counted; the next one that comes later
       is said, with that count.
    2. At most `KINDS` kinds are remembered; the oldest is forgotten with its count.
    3. Time is an argument (`now`, monotonic seconds).
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

Kind = TypeVar("Kind", bound=Hashable)
KINDS = 1000


class Folding(Generic[Kind]):
    """Counts. Thread-safe.

    Args:
        span: Seconds; None to have all of them said.
    """

    __slots__ = ("_known", "_lock", "span")

    def __init__(self, span: float | None) -> None:
        self.span = span
        self._known: dict[Kind, list[float]] = {}  # until when, and how many since
        self._lock = threading.Lock()

    def admit(self, kind: Kind, now: float) -> int | None:
        """How many were not said since the last that was, for one that is to be said; None for one that is not."""
        if self.span is None:
            return 0
        with self._lock:
            known = self._known.get(kind)
            if known is not None and now < known[0]:
                known[1] += 1
                return None
            if known is None and len(self._known) >= KINDS:
                del self._known[next(iter(self._known))]
            self._known[kind] = [now + self.span, 0]
            return 0 if known is None else int(known[1])

    def take_rest(self) -> dict[Kind, int]:
        """Kinds that were folded since they were last said, with their counts; they begin anew."""
        with self._lock:
            rest = {kind: int(count) for kind, (_, count) in self._known.items() if count}
            self._known.clear()
        return rest
