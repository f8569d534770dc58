"""Figures: what a run of the story measured."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from example_project.caller import Visit


class Records:
    """What the nodes have recorded.

    Args:
        lines: An order when it reached a node, and, when the node had done with it, `order began ended` in the
            monotonic seconds that all processes of a machine share.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.reached: Counter[int] = Counter()
        self._work: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
        for line in lines:
            order, *span = line.split()
            if span:
                began, ended = map(float, span)
                self._work[int(order)].append((began, ended))
            else:
                self.reached[int(order)] += 1

    def work_after(self, instant: float, order: int) -> float:
        """Seconds of work on the order after the instant."""
        return sum(max(0.0, ended - max(began, instant)) for began, ended in self._work.get(order, ()))


@dataclass(frozen=True)
class Figures:
    """What a set of visits amounts to.

    Attributes:
        requests: How many there were.
        ok: How many were answered 200 within the caller's deadline.
        p50: Median seconds to the answer, whatever it was.
        p99: Seconds that 99 % of the answers did not exceed.
        overrun: The most seconds that an answer came after the caller's deadline.
        reached: Requests at the nodes per request of a user.
        wasted: Seconds that the nodes worked, all together, for callers whose deadline had passed.
    """

    requests: int
    ok: int
    p50: float
    p99: float
    overrun: float
    reached: float
    wasted: float

    @classmethod
    def of(cls, visits: Sequence[Visit], records: Records) -> Self:
        """Count, with what the nodes have recorded."""
        times = sorted(visit.took for visit in visits)
        return cls(
            requests=len(visits),
            ok=sum(visit.ok for visit in visits),
            p50=quantile(times, 0.5),
            p99=quantile(times, 0.99),
            overrun=max((visit.overrun for visit in visits), default=0.0),
            reached=sum(records.reached[visit.order] for visit in visits) / max(1, len(visits)),
            wasted=sum(records.work_after(visit.sent + visit.deadline, visit.order) for visit in visits),
        )

    @property
    def success(self) -> float:
        """Share of the requests that were ok."""
        return self.ok / self.requests if self.requests else 0.0


@dataclass(frozen=True)
class Run:
    """The story, told with one client.

    Attributes:
        client: "bare httpx" or "resilient_http".
        total: Over all acts.
        acts: By the name of the act, in order.
        recovered: Seconds from the end of the last fault to the last request that failed; None when it went on failing.
        late: The most seconds that the demo itself was late to send a request. No answer is timed better than that.
    """

    client: str
    total: Figures
    acts: Mapping[str, Figures]
    recovered: float | None
    late: float


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the ordered values that `share` of them do not exceed; 0.0 when there are none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def last_failure(visits: Sequence[Visit], since: float) -> float:
    """Seconds from `since` to the last visit that failed, 0.0 when none did."""
    return max((visit.sent - since for visit in visits if not visit.ok), default=0.0)
