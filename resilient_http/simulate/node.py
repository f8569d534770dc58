"""Node: one server of a simulated upstream, its workers, and the queue before them.

Laws
    1. Requests are worked on in the order in which they came, each by one worker, to its end: nobody tells the server
       that a caller has left. Only with `heeds_deadline` it drops what is late, when its turn comes.
    2. The capacity may change. A worker that goes finishes what he is at; the first to finish go first.
    3. A server that hangs takes requests, and neither begins nor goes on with any; that follows when it is over.
    4. One that is refused for has lost what it had: what was under way, and what waited, breaks off at that instant.
    5. What will become of a request is known when it comes, because the phases are: so it costs one step, and no event.
       For that, requests have to come in the order of time.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from resilient_http.ports.simulated import SimulatedReply
from resilient_http.simulate.laws import Law
from resilient_http.simulate.scenario import NodeSettings
from resilient_http.state.outcome import Fault

GOOD = 200
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class NodeReply(SimulatedReply):
    """An answer of a node. `work`: the seconds that it worked for it."""

    __slots__ = ("work",)

    def __init__(self, status: int, retry_after: int | None = None, work: float = 0.0) -> None:
        self.status_code = status
        self.headers = NO_HEADERS if retry_after is None else {"retry-after": str(retry_after)}
        self.body = b""
        self.work = work


Fate = tuple[float, NodeReply | Fault, float]
"""Of a request: seconds until it is answered (infinity: never), by what, and the seconds of work that it costs."""


class Node:
    """One server.

    Args:
        begins: When its periods begin, in seconds; the first at 0.
        periods: What it can do in each.
        rng: Of its durations and failures.
    """

    def __init__(self, begins: Sequence[float], periods: Sequence[NodeSettings], rng: random.Random) -> None:
        self._begins = [*begins, math.inf]
        self._periods = list(periods)
        self._laws = [Law(period.latency) for period in periods]
        self._rng = rng
        self._now = 0  # the period that the newest request came in
        self._at = 0  # the one that the newest work begins in: later, when it had to wait
        self._starts: deque[float] = deque()  # of what waits; in order, by law 1
        self._losses = [
            next((begin for begin, after in zip(begins[at:], periods[at:], strict=True) if _refuses(after)), math.inf)
            for at in range(1, len(begins) + 1)
        ]  # when what is under way in a period breaks off
        self._hangs = [period.outage is not None and period.outage.kind == "hang" for period in periods]
        self._workers = self._idle(0.0, periods[0].workers)

    def waiting(self, now: float) -> int:
        """Requests that wait for a worker."""
        starts = self._starts
        while starts and starts[0] <= now:
            starts.popleft()
        return len(starts)

    def take(self, now: float, told: float = math.inf) -> Fate:
        """A request comes.

        Args:
            now: Seconds.
            told: The instant by which its caller has said to be gone.
        """
        begins = self._begins
        while begins[self._now + 1] <= now:
            self._now += 1
        period = self._periods[self._now]
        outage = period.outage
        if outage is not None and outage.kind != "hang":
            if outage.kind == "refuse":
                return outage.after, Fault.UNREACHABLE, 0.0
            if outage.kind == "unreachable":
                return math.inf, Fault.UNREACHABLE, 0.0
            return outage.after, NodeReply(outage.status, outage.retry_after), 0.0
        start = self._start(now)
        if start > now:
            if period.workers is not None and self.waiting(now) >= period.queue:
                full = period.overflow
                return 0.001, Fault.UNREACHABLE if full == "refuse" else NodeReply(full), 0.0
            self._starts.append(start)
        lost = self._losses[self._now]
        if lost <= start and lost < math.inf:
            return lost - now, Fault.BROKEN, 0.0
        return self._work(now, start, told, lost)

    def _start(self, now: float) -> float:
        """When somebody begins with a request that has come now; changes of capacity till then are made."""
        begins, start = self._begins, self._free(now)
        while begins[self._at + 1] <= start < math.inf or self._hangs[self._at]:
            if begins[self._at + 1] == math.inf:
                return math.inf
            self._at += 1
            self._change(begins[self._at], self._periods[self._at])
            start = self._free(now)
        return start

    def _work(self, now: float, start: float, told: float, lost: float) -> Fate:
        if start == math.inf:
            return math.inf, Fault.TIMEOUT, 0.0
        at, period = self._at, self._periods[self._at]
        late = period.heeds_deadline and told <= start
        work, reply = 0.0, NodeReply(GOOD)
        if not late:
            work = self._laws[at].draw(self._rng)
            failures = period.failures
            if failures.share and self._rng.random() < failures.share:
                work = work if failures.after is None else failures.after
                reply = NodeReply(failures.status, failures.retry_after)
        end = start + work
        if end > self._begins[at + 1]:
            end = self._end(start, work)
        if self._workers is not None:
            heapq.heapreplace(self._workers, end)
        if late:
            return math.inf, Fault.TIMEOUT, 0.0
        if lost < end:
            return lost - now, Fault.BROKEN, min(work, lost - start)
        reply.work = work
        return end - now, reply, work

    def _end(self, start: float, work: float) -> float:
        """When work is done that begins at `start`: later by what the server hangs meanwhile."""
        at, begins = self._at, self._begins
        end = start + work
        while begins[at + 1] < end:
            at += 1
            if self._hangs[at]:
                end += begins[at + 1] - begins[at]
        return end

    def _free(self, now: float) -> float:
        """The earliest instant at which somebody is free for it; never before work of the current period began."""
        workers, earliest = self._workers, self._begins[self._at]
        if workers is not None and workers[0] > earliest:
            earliest = workers[0]
        return now if now > earliest else earliest  # noqa: FURB136 - half as long as max(), for every request

    def _change(self, at: float, after: NodeSettings) -> None:
        workers = self._workers
        if _refuses(after) or workers is None or after.workers is None:
            self._workers = self._idle(at, after.workers)
        else:
            for _ in range(after.workers - len(workers)):
                heapq.heappush(workers, at)
            for _ in range(len(workers) - after.workers):
                heapq.heappop(workers)

    def _idle(self, at: float, workers: int | None) -> list[float] | None:
        return None if workers is None else [at] * workers


def _refuses(period: NodeSettings) -> bool:
    return period.outage is not None and period.outage.kind == "refuse"
