"""The adaptive limit against servers whose capacity changes, beside the best fixed limit.

"Best" is the limit with the highest power: good answers per second over their mean time at the server (L. Kleinrock,
1979). Goodput alone has no best limit: a server that queues answers as much with 20 attempts under way as with 60, and
only slower. Where excess is refused at once, so that time tells nothing, it is the least limit within 1 % of the most
goodput.

The load is open: calls arrive by a Poisson process, a third more than the server can answer, whatever became of those
before.
"""

from __future__ import annotations

import functools
import heapq
import random
from dataclasses import dataclass

import pytest

from resilient_http.call import Attempt
from resilient_http.errors import Saturated
from resilient_http.events import LimitChanged
from resilient_http.ports.simulated import SimulatedReply
from tests.simulation.world import World

SERVICE = 0.05  # seconds of work for one answer
CALM = {"retry": None, "circuit": None, "timeout": {"attempt": 1.0, "pool": 0.2}}
SHARES = (0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0)  # of the workers: fixed limits that are tried


class Server:
    """So many workers, and a queue before them that is served in order. What has timed out is worked on all the same.

    Args:
        workers: How many.
        queue: How many may wait; more are refused with a 503, at once. None for no bound.
        spread: How much the work varies: 0 for not at all, 1 for exponentially.
    """

    def __init__(self, workers: int, *, queue: int | None = None, spread: float = 0.0, seed: int = 7) -> None:
        self._free = [0.0] * workers
        self._queue = queue
        self._spread = spread
        self._ends: list[float] = []
        self._rng = random.Random(seed)
        self.service = SERVICE

    def become(self, workers: int, now: float) -> None:
        """Have so many workers from now on."""
        self._free = sorted(max(now, free) for free in self._free)[:workers]
        self._free += [now] * (workers - len(self._free))
        heapq.heapify(self._free)

    def respond(self, attempt: Attempt, now: float) -> tuple[float, SimulatedReply]:
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        if self._queue is not None and len(self._ends) >= len(self._free) + self._queue:
            return 0.001, SimulatedReply(503)
        work = self.service * (1 - self._spread + self._spread * self._rng.expovariate(1.0))
        end = max(now, heapq.heappop(self._free)) + work
        heapq.heappush(self._free, end)
        heapq.heappush(self._ends, end)
        return end - now, SimulatedReply(200)


@dataclass
class Seen:
    """What was seen of one run: a limit per 0.1 s, and what it was worth from a second on."""

    limits: list[float]
    goodput: float
    took: float

    @property
    def power(self) -> float:
        return self.goodput / self.took if self.took else 0.0

    @property
    def settled(self) -> float:
        """The mean limit of the second half."""
        late = self.limits[len(self.limits) // 2 :]
        return sum(late) / len(late)


def run(concurrency, server: Server, steps, *, seconds=30.0) -> tuple[World, list[Seen]]:
    """So many workers, and calls for a third more, for so many seconds each."""
    world = World(server.respond, concurrency={"queue": 20, **concurrency}, **CALM)
    return world, [continued(world, server, workers, seconds=seconds) for workers in steps]


def continued(world: World, server: Server, workers: int, *, seconds: float) -> Seen:
    """One step more."""
    rng, rate = random.Random(3), 1.3 * workers / SERVICE
    began = at = world.port.now()
    server.become(workers, began)
    made, limits = [], []
    while (at := at + rng.expovariate(rate)) < began + seconds:
        made.append(world.spawn(at=at))
    while world.port.now() < began + seconds - 0.1:
        world.port.run(until=began + 0.1 * (len(limits) + 1))
        world.port._clock = began + 0.1 * (len(limits) + 1)
        limits.append(world.upstream.limit.limit)
    good = [entry.duration for call in made if call.good and call.at > began + 1.0 for entry in call.journal.attempts]
    world.port.run(until=began + seconds)
    return Seen(limits, len(good) / (seconds - 1.0), sum(good) / len(good) if good else 0.0)


@functools.cache
def best_fixed(workers: int, spread: float, queue: int | None) -> int:
    """The best fixed limit, by a sweep."""
    worth = {}
    for limit in sorted({round(share * workers) for share in SHARES}):
        server = Server(workers, spread=spread, queue=queue)
        _, (worth[limit],) = run({"limit": limit}, server, [workers], seconds=4.0)
    if queue is None:
        return max(worth, key=lambda limit: worth[limit].power)
    most = max(seen.goodput for seen in worth.values())
    return min(limit for limit, seen in worth.items() if seen.goodput >= 0.99 * most)


@pytest.mark.parametrize(("spread", "queue"), [(0.0, None), (1.0, None), (0.5, 0)])
def test_it_settles_within_a_fifth_of_the_best_fixed_limit_after_each_step(spread, queue):
    steps = [20, 8, 20]
    world, seen = run({"adaptive": {}}, Server(20, spread=spread, queue=queue), steps)

    for workers, step in zip(steps, seen, strict=True):
        best = best_fixed(workers, spread, queue)
        assert step.settled == pytest.approx(best, rel=0.2)
    assert world.upstream.adaptive.limit == world.told(LimitChanged)[-1].limit


def test_goodput_is_not_what_it_costs():
    _, (seen,) = run({"adaptive": {}}, Server(20), [20])
    assert seen.goodput > 0.95 * 20 / SERVICE


def test_work_that_has_become_slower_is_not_mistaken_for_too_much_of_it():
    server = Server(20)
    world, _ = run({"adaptive": {}}, server, [20])
    server.service = 2 * SERVICE
    more = continued(world, server, 20, seconds=30.0)
    assert more.settled == pytest.approx(20, rel=0.25)
    assert "less concurrency did not help" in {event.why for event in world.told(LimitChanged)} or more.settled > 16


def test_it_never_goes_above_the_fixed_limit():
    _, (seen,) = run({"limit": 5, "adaptive": {"initial": 3}}, Server(20), [20], seconds=5.0)
    assert max(seen.limits) == 5


def test_it_does_not_grow_while_it_is_not_used():
    world = World(Server(20).respond, concurrency={"adaptive": {}}, **CALM)
    assert all(call.good for call in world.traffic(calls=500, rate=40.0))
    assert world.upstream.limit.limit == 10


def test_callers_that_leave_no_time_do_not_shrink_it():
    world = World(Server(20).respond, concurrency={"adaptive": {}}, **CALM)
    made = list(world.traffic(calls=500, rate=100.0, within=SERVICE / 2))
    assert not any(call.good for call in made)
    assert world.upstream.limit.limit == 10


def test_only_observed_it_changes_nothing_but_what_it_tells():
    world, (seen,) = run({"limit": 100, "observe": True, "adaptive": {"initial": 50}}, Server(8), [8], seconds=5.0)
    assert set(seen.limits) == {100}
    assert world.upstream.status(world.port.now())["concurrency"]["limit"] < 50
    assert world.told(LimitChanged)


@pytest.mark.parametrize("share", [0.04, 0.08, 0.2])
def test_a_share_of_errors_that_has_nothing_to_do_with_load_does_not_starve_it(share):
    """40 callers, one call after another each, of a server that bears them all."""
    goodput = {}
    for adaptive in (None, {}):
        rng = random.Random(5)

        def respond(attempt, now, rng=rng):
            return 0.02, SimulatedReply(503 if rng.random() < share else 200)

        world = World(respond, concurrency={"queue": 100, "adaptive": adaptive}, pauses=None, **CALM)
        goodput[adaptive is None] = closed_loop(world, callers=40, seconds=30.0)
    assert goodput[False] >= 0.8 * goodput[True]


def closed_loop(world: World, *, callers: int, seconds: float) -> int:
    """Good answers of so many callers, each of which asks again at once, in so many seconds."""
    good = 0

    async def caller() -> None:
        nonlocal good
        while world.port.now() < seconds:
            call = world.open_call("GET")
            try:
                reply = await world.upstream.pipeline.run(call)
            except Saturated:
                await world.port.sleep(0.02)
            else:
                good += reply.status_code == 200

    for _ in range(callers):
        world.port.spawn(caller(), at=0.0)
    world.port.run()
    return good
