"""Histogram: durations that are counted, and not kept; so its size does not depend on how many there are.

Law: a quantile is exact to one bucket, 2 ** (1/16), about 4 %, and none is longer than the longest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Self

SHORTEST = 1e-4
FINE = 16  # buckets a doubling
_SCALE = FINE / math.log(2)
_OFFSET = 1 - _SCALE * math.log(SHORTEST)


class Histogram:
    """Counts durations, in seconds."""

    __slots__ = ("_counts", "count", "longest")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        bucket = int(_SCALE * math.log(seconds) + _OFFSET) if seconds > SHORTEST else 0
        counts = self._counts
        counts[bucket] = counts.get(bucket, 0) + 1
        self.count += 1
        self.longest = max(self.longest, seconds)

    @classmethod
    def of(cls, parts: Iterable[Histogram]) -> Self:
        """The sum of others."""
        total = cls()
        for part in parts:
            total.count += part.count
            total.longest = max(total.longest, part.longest)
            for bucket, count in part._counts.items():  # noqa: SLF001 - one of its own kind
                total._counts[bucket] = total._counts.get(bucket, 0) + count
        return total

    @property
    def counts(self) -> dict[int, int]:
        """How many there are in each bucket that is not empty; what `counted` takes."""
        return dict(self._counts)

    @classmethod
    def counted(cls, counts: Mapping[int, int], longest: float) -> Self:
        """One that holds so many in each bucket."""
        total = cls()
        total._counts = dict(counts)
        total.count, total.longest = sum(counts.values()), longest
        return total

    def quantile(self, share: float) -> float | None:
        """The duration that `share` (0 to 1) of them do not exceed; None when there are none."""
        rank, seen = share * self.count, 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank:
                return min(self.longest, SHORTEST * math.pow(2.0, bucket / FINE))
        return None
