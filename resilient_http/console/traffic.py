"""Traffic: what became of an upstream's calls over the last minutes, in slices of a few seconds.

Laws
    1. Memory is bounded: `SLICES` slices, each with counts and a histogram of durations.
    2. Slices are numbered by the wall clock, so those of several processes can be added up; a clock that is put back
       changes nothing of this, because only the time that has passed is asked for.
    3. A cancelled call counts for nothing else. A refused one has no duration: it did not wait for anybody.
"""

from __future__ import annotations

import threading
from typing import Any

from resilient_http.state.histogram import Histogram

SLICES = 60
NOW = 60.0  # seconds that figures of "now" are of

GOOD, FAILED, REFUSED, CANCELLED = "good", "failed", "refused", "cancelled"
KINDS = (GOOD, FAILED, REFUSED, CANCELLED)
QUANTILES = (0.5, 0.95, 0.99)


class Slice:
    """What became of the calls that ended in it.

    Attributes:
        number: Of the slice.
        counts: By kind; see KINDS.
        degraded: How many of them a person should hear of.
        latency: Of those that were sent.
    """

    __slots__ = ("_point", "counts", "degraded", "latency", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.counts = dict.fromkeys(KINDS, 0)
        self.degraded = 0
        self.latency = Histogram()
        self._point: tuple[Any, ...] | None = None

    def point(self) -> tuple[Any, ...]:
        """Calls, those of them that were not answered well, and the quantiles; once nothing is added any more."""
        if self._point is None:
            counts = self.counts
            bad = counts[FAILED] + counts[REFUSED]
            self._point = (counts[GOOD] + bad, bad, *(rounded(self.latency.quantile(share)) for share in QUANTILES))
        return self._point


class Traffic:
    """The calls of one upstream. Thread-safe.

    Args:
        step: Seconds of a slice.
        begun: When counting began: seconds of the clock that the slices are numbered by.
    """

    def __init__(self, step: float, begun: float) -> None:
        self._step = step
        self._begun = begun
        self._slices: list[Slice] = []
        self._lock = threading.Lock()

    def add(self, now: float, kind: str, seconds: float, *, degraded: bool = False) -> None:
        """A call has ended.

        Args:
            now: Seconds of the clock that the slices are numbered by.
            kind: See KINDS.
            seconds: How long it took.
            degraded: Whether a person should hear of it.
        """
        number = int(now // self._step)
        with self._lock:
            slices = self._slices
            if not slices or slices[-1].number < number:
                slices.append(Slice(number))
                while slices[0].number <= number - SLICES - 1:  # one is under way
                    del slices[0]
            newest = slices[-1]
            newest.counts[kind] += 1
            newest.degraded += degraded
            if kind in (GOOD, FAILED):
                newest.latency.add(seconds)

    def now(self, now: float) -> dict[str, Any]:
        """JSON-able: counts of the last minute, of how many seconds they are, and how many calls took how long."""
        newest = int(now // self._step)
        oldest = newest - max(1, round(NOW / self._step)) + 1
        with self._lock:
            slices = [each for each in self._slices if each.number >= oldest]
            latency = Histogram.of(each.latency for each in slices)
            counts = {kind: sum(each.counts[kind] for each in slices) for kind in KINDS}
            degraded = sum(each.degraded for each in slices)
        seconds = max(self._step, now - max(self._begun, oldest * self._step))
        return {
            **counts,
            "degraded": degraded,
            "seconds": round(seconds, 3),
            "latency": {str(bucket): count for bucket, count in sorted(latency.counts.items())},
            "longest": rounded(latency.longest),
        }

    def series(self, now: float) -> dict[str, Any]:
        """JSON-able: the slices that are over, the oldest first; `end` is the number of the last of them."""
        end = int(now // self._step) - 1
        with self._lock:
            points = {each.number: each.point() for each in self._slices if each.number <= end}
        first = max(end - SLICES + 1, int(self._begun // self._step))
        rows = [points.get(number, EMPTY) for number in range(first, end + 1)]
        columns = zip(*rows, strict=True) if rows else [()] * len(COLUMNS)
        return {"step": self._step, "end": end, **dict(zip(COLUMNS, map(list, columns), strict=True))}


COLUMNS = ("calls", "bad", "p50", "p95", "p99")
EMPTY: tuple[Any, ...] = (0, 0, None, None, None)


def rounded(seconds: float | None) -> float | None:
    """To a hundredth of a millisecond."""
    return None if seconds is None else round(seconds, 5)
