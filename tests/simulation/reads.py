"""Many keys are read from many servers, and the whole takes as long as the slowest of them.

After The Tail at Scale (J. Dean, L. A. Barroso, 2013): 1,000 keys, 100 servers, and a hedge after 10 ms. The latencies
of its servers were not published. Here they are a lognormal body with a median of 5 ms, and for a share of the requests
a Pareto tail that begins at 50 ms and is cut off at 3 s.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from resilient_http.ports.simulated import SimulatedReply
from tests.simulation.world import Made, World

SERVERS, KEYS = 100, 1000
DELAY = 0.010
BETWEEN = 0.5  # seconds from one whole to the next
MEDIAN, SPREAD = 0.005, 0.3
BEGINS, ENDS = 0.05, 3.0

Latency = Callable[[Any, random.Random], float]
"""Seconds that an attempt takes."""


@dataclass(frozen=True)
class Law:
    """How long a request takes that is slow or not by itself.

    Args:
        share: Of the requests that are in the tail, 0 to 1.
        shape: Of the tail: the lower, the heavier.
    """

    share: float
    shape: float = 1.1

    def __call__(self, attempt: Any, rng: random.Random) -> float:
        return self.slow(rng) if rng.random() < self.share else self.usual(rng)

    def usual(self, rng: random.Random) -> float:
        return rng.lognormvariate(math.log(MEDIAN), SPREAD)

    def slow(self, rng: random.Random) -> float:
        return min(ENDS, BEGINS * rng.paretovariate(self.shape))

    def slower(self, seconds: float) -> float:
        """The probability that a request takes longer."""
        if seconds <= 0:
            return 1.0
        body = math.erfc(math.log(seconds / MEDIAN) / (SPREAD * math.sqrt(2))) / 2
        tail = 0.0 if seconds >= ENDS else min(1.0, (BEGINS / seconds) ** self.shape)
        return self.share * tail + (1 - self.share) * body

    def slower_hedged(self, seconds: float) -> float:
        """The same of a call that is hedged whenever it may be: both the first and the second take longer."""
        return self.slower(seconds) * self.slower(seconds - DELAY)


def whole(slower: Callable[[float], float], quantile: float) -> float:
    """The quantile of a whole, when that is how its keys, each by itself, take longer."""
    low, high = 0.0, ENDS
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if (1 - slower(middle)) ** KEYS >= quantile else (middle, high)
    return high


def same_for_the_key() -> Latency:
    """A hundredth of the keys takes long wherever it is read: what is slow is the work itself."""
    law = Law(0.01)

    def latency(attempt: Any, rng: random.Random) -> float:
        known: dict[str, float] = attempt.call.memory
        if "took" not in known:
            known["took"] = law(attempt, rng)
        return known["took"]

    return latency


def all_at_once() -> Latency:
    """Every tenth whole meets servers that are all busy for as long as it takes."""
    return lambda attempt, rng: Law(0).usual(rng) + (0.3 if round(attempt.call.started / BETWEEN) % 10 == 0 else 0.0)


def slow_servers(number: int) -> Latency:
    """So many of the servers are slow, whatever they are asked."""
    law, slow = Law(1.0), {f"s{each}" for each in range(number)}
    return lambda attempt, rng: law.slow(rng) if attempt.chosen.host in slow else law.usual(rng)


SLOWNESS: dict[str, Callable[[], Latency]] = {
    "0.1 % of the requests are slow": lambda: Law(0.001),
    "1 % are, with a lighter tail (2)": lambda: Law(0.01, shape=2),
    "1 % are": lambda: Law(0.01),
    "2 % are": lambda: Law(0.02),
    "10 % are": lambda: Law(0.1),
    "one server of the hundred is slow": lambda: slow_servers(1),
    "ten servers are": lambda: slow_servers(10),
    "nothing is": lambda: Law(0),
    "1 % of the keys are, wherever they are read": same_for_the_key,
    "now and then all servers are, at once": all_at_once,
}


def read(latency: Latency, *, wholes: int, hedged: bool, seed: int = 1) -> Iterator[list[Made]]:
    """The keys of each whole, through the real policies."""
    world = World(
        lambda attempt, now: (latency(attempt, attempt.call.port.rng), SimulatedReply(200)),
        seed=seed,
        endpoints=[f"http://s{number}" for number in range(SERVERS)],
        pool={"max_connections": 10 * KEYS},
        concurrency={"limit": 10 * KEYS},
        timeout={"total": None, "attempt": None},
        hedge={"delay": DELAY} if hedged else None,
    )
    under_way: deque[list[Made]] = deque()
    for number in range(wholes):
        under_way.append([world.spawn(at=number * BETWEEN) for _ in range(KEYS)])
        world.port.run(until=(number + 1) * BETWEEN - 0.001)
        world.events.clear()
        if len(under_way) * BETWEEN > 2 * ENDS:
            yield under_way.popleft()
    world.port.run()
    yield from under_way


def quantile_of(values: list[float], quantile: float) -> float:
    """The least of them that so large a share does not exceed."""
    return sorted(values)[math.ceil(quantile * len(values)) - 1]
