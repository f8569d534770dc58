"""What hedging is worth: many keys are read from many servers, and the whole takes as long as the slowest.

The experiment of The Tail at Scale (J. Dean, L. A. Barroso, 2013), where reading 1,000 keys from 100 servers took
1,800 ms at the 99.9th percentile, and with hedges after 10 ms 74 ms, for 2 % more requests. The servers' latencies were
not published, so they are stated and varied here: a lognormal body (median 5 ms) and, for a share of the requests, a
Pareto tail that begins at 50 ms. Here a whole is 100 keys, and 100 wholes tell its 99th percentile.
"""

from __future__ import annotations

import math
from weakref import WeakKeyDictionary

import pytest

from resilient_http.ports.simulated import SimulatedReply
from tests.simulation.world import World

SERVERS, KEYS, WHOLES = 100, 100, 100


def body(rng):
    return rng.lognormvariate(math.log(0.005), 0.3)


def tail(rng):
    return min(3.0, 0.05 * rng.paretovariate(1.1))


def tailed(weight):
    """A share of the requests is slow, each by itself."""

    def latency(attempt, rng):
        return tail(rng) if rng.random() < weight else body(rng)

    return latency


def same_for_the_key():
    """A hundredth of the keys takes long wherever it is read: what is slow is the work itself."""
    known = WeakKeyDictionary()

    def latency(attempt, rng):
        call = attempt.call
        if call not in known:
            known[call] = tail(rng) if rng.random() < 0.01 else body(rng)
        return known[call]

    return latency


def all_at_once(attempt, rng):
    """Every tenth whole meets servers that are all busy for as long as it takes."""
    return body(rng) + (0.3 if int(attempt.call.started * 2) % 10 == 0 else 0.0)


def slow_server(attempt, rng):
    """One server in a hundred is slow."""
    return tail(rng) if attempt.chosen.host == "s0" else body(rng)


def wholes(latency, *, hedge, seed=1):
    """The 99th percentile of a whole in seconds, and requests per key."""
    world = World(
        lambda attempt, now: (latency(attempt, attempt.call.port.rng), SimulatedReply(200)),
        seed=seed,
        endpoints=[f"http://s{number}" for number in range(SERVERS)],
        pool={"max_connections": 1000},
        concurrency={"limit": 1000},
        timeout={"total": None, "attempt": None},
        hedge=hedge,
    )
    took, sent = [], 0
    for number in range(WHOLES):
        made = [world.spawn(at=number * 0.5) for _ in range(KEYS)]
        world.port.run(until=number * 0.5 + 0.499)
        took.append(made)
    world.port.run()
    sent = sum(one.journal.sent for made in took for one in made)
    slowest = sorted(max(one.took for one in made) for made in took)
    return slowest[math.ceil(0.99 * WHOLES) - 1], sent / (WHOLES * KEYS)


AFTER_10_MS = {"delay": 0.010}


@pytest.mark.parametrize(
    ("latency", "times", "extra"),
    [(tailed(0.01), 10, 0.03), (tailed(0.02), 10, 0.04), (slow_server, 10, 0.04)],
    ids=["a hundredth slow", "a fiftieth slow", "one slow server"],
)
def test_where_slowness_is_the_servers_own_hedging_helps_by_ten_times(latency, times, extra):
    alone, _ = wholes(latency, hedge=None)
    hedged, requests = wholes(latency, hedge=AFTER_10_MS)
    assert hedged < alone / times
    assert requests < 1 + extra


@pytest.mark.parametrize(
    "latency", [tailed(0.0), same_for_the_key(), all_at_once], ids=["no tail", "slow keys", "all slow at once"]
)
def test_where_the_second_is_as_slow_as_the_first_it_does_not_help(latency):
    alone, _ = wholes(latency, hedge=None)
    hedged, _ = wholes(latency, hedge=AFTER_10_MS)
    assert hedged > alone / 1.5


def test_where_a_tenth_is_slow_the_budget_ends_what_would_be_a_second_load():
    hedged, requests = wholes(tailed(0.1), hedge=AFTER_10_MS)
    alone, _ = wholes(tailed(0.1), hedge=None)
    assert hedged < alone / 3
    assert requests < 1.2
