"""Latency: how long attempts at an endpoint usually take.

Laws
    1. Recording is O(1), amortised: `REFRESH` durations are counted together, or those that there are when somebody
       asks. A quantile is recomputed at most once in so many records.
    2. A quantile is exact to one bucket: 2 ** (1/8), about 9 %.
    3. Old samples fade: when `HORIZON` samples are known, all counts are halved.
"""

from __future__ import annotations

import math
import threading
from collections import deque

from resilient_http.state.giving_way import if_free

SHORTEST = 1e-4
BUCKETS = 176  # 8 a doubling: 0.1 ms to 385 s
REFRESH = 16
HORIZON = 1000


class Latency:
    """Fading histogram of durations, in seconds. Thread-safe."""

    __slots__ = ("_counts", "_lock", "_noted", "_quantiles", "_since", "_total")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: deque[float] = deque()  # durations that are still to be counted
        self._counts = [0] * BUCKETS
        self._total = 0
        self._since = 0
        self._quantiles: dict[float, float] = {}

    def record(self, seconds: float) -> None:
        """Remember one duration."""
        self._noted.append(seconds)
        if len(self._noted) >= REFRESH:
            if_free(self._lock, self._count_noted)

    @property
    def known(self) -> int:
        """How many durations it goes by."""
        return self._total + len(self._noted)

    def quantile(self, share: float) -> float | None:
        """The duration that `share` (0 to 1) of the attempts do not exceed, or None while fewer than 16 are known."""
        known = self._quantiles.get(share)
        if known is not None:
            return known
        with self._lock:
            self._count_noted()
            if self._total < REFRESH:
                return None
            seconds = self._upper_edge(share * self._total)
            self._quantiles[share] = seconds
        return seconds

    def _count_noted(self) -> None:
        counts, noted, total = self._counts, self._noted, self._total
        for _ in range(len(noted)):
            seconds = noted.popleft()
            index = 0 if seconds <= SHORTEST else int(8 * math.log2(seconds / SHORTEST)) + 1
            counts[index if index < BUCKETS else -1] += 1
            self._since += 1
            total += 1
            if total > HORIZON:
                counts[:] = [count >> 1 for count in counts]
                total = sum(counts)
        self._total = total
        if self._since >= REFRESH:
            self._since = 0
            self._quantiles.clear()

    def _upper_edge(self, rank: float) -> float:
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= rank and count:
                return SHORTEST * math.pow(2, index / 8)
        return SHORTEST * math.pow(2, (BUCKETS - 1) / 8)
