"""Slice: what became of the calls that were made in a short while. Figures are sums, so slices add up to phases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from resilient_http.state.histogram import Histogram

GOOD, FALLBACK, LATE, FAILED, EXCEEDED, REFUSED = range(6)
KINDS = ("good", "fallback", "late", "failed", "exceeded", "refused")
"""What a caller gets: a good answer in time; a fallback's; one that comes when the caller has left, or never; a failure
of the upstream's; its deadline; a refusal of ours."""


class Slice:
    """Counts. An attempt, and the work for it, count where their call was made.

    Attributes:
        begin: Seconds from the start of the run.
        made: Calls.
        kinds: Calls by what their callers got; see KINDS.
        waited: How long callers waited, whatever they got.
        sent: Requests.
        work: Seconds that nodes worked, or will have, for them.
        useful: Those of it for answers that came in time.
        opened: Seconds that circuits were not closed, as a share of all circuits.
        tokens: In the retry budgets at the end of it, a mean over the clients; None where there are none.
        waiting: Requests that waited in nodes at its end.
        in_flight: Permits that were out at its end, over all clients.
    """

    __slots__ = (
        "begin", "end", "in_flight", "kinds", "made", "opened", "sent", "tokens", "useful", "waited", "waiting", "work",
    )  # fmt: skip

    def __init__(self, begin: float, end: float) -> None:
        self.begin = begin
        self.end = end
        self.made = 0
        self.kinds = [0] * len(KINDS)
        self.waited = Histogram()
        self.sent = 0
        self.work = 0.0
        self.useful = 0.0
        self.opened = 0.0
        self.tokens: float | None = None
        self.waiting = 0
        self.in_flight = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of the calls of a while. Seconds, shares from 0 to 1, and None where there was nothing to measure.

    Attributes:
        calls: Made in it.
        rate: Of them a second.
        success: Share of them whose callers got a good answer, or a fallback's, in time.
        goodput: Good answers a second, in time.
        kinds: Calls by what their callers got: good, fallback, late, failed, exceeded (their deadline), refused.
        p50: Seconds that callers waited, whatever they got.
        p99: The same.
        requests: That one call made.
        sent: Requests a second.
        useful: Share of the nodes' work that was for answers in time.
        circuits_open: Share of the circuits that were not closed.
        budget: Tokens left in the retry budget of a process, at the end.
        waiting: Requests that waited in nodes, at the end.
        in_flight: Permits that were out, at the end.
    """

    name: str
    begin: float
    end: float
    calls: int
    rate: float
    success: float | None
    goodput: float
    kinds: dict[str, int]
    p50: float | None
    p99: float | None
    requests: float | None
    sent: float
    useful: float | None
    circuits_open: float
    budget: float | None
    waiting: int
    in_flight: int

    @classmethod
    def of(cls, name: str, slices: Sequence[Slice]) -> Self:
        """Those of slices that follow each other; at least one."""
        seconds = slices[-1].end - slices[0].begin
        kinds = [_total(one.kinds[kind] for one in slices) for kind in range(len(KINDS))]
        calls, good, sent = _total(one.made for one in slices), kinds[GOOD], _total(one.sent for one in slices)
        kinds[LATE] += calls - sum(kinds)  # they wait still
        work = _total(one.work for one in slices)
        waited = Histogram.of(one.waited for one in slices)
        return cls(
            name=name,
            begin=slices[0].begin,
            end=slices[-1].end,
            calls=calls,
            rate=calls / seconds,
            success=(good + kinds[FALLBACK]) / calls if calls else None,
            goodput=good / seconds,
            kinds=dict(zip(KINDS, kinds, strict=True)),
            p50=waited.quantile(0.5),
            p99=waited.quantile(0.99),
            requests=sent / calls if calls else None,
            sent=sent / seconds,
            useful=min(1.0, _total(one.useful for one in slices) / work) if work else None,
            circuits_open=_total(one.opened for one in slices) / seconds,
            budget=slices[-1].tokens,
            waiting=slices[-1].waiting,
            in_flight=slices[-1].in_flight,
        )


def _total(values: Iterable[Any]) -> Any:
    return sum(values)
