"""What the defaults promise when endpoints die, hang or fail now and then: minutes of traffic in seconds."""

from __future__ import annotations

import hashlib
import math

import pytest

from resilient_http.events import CircuitOpened
from resilient_http.ports.simulated import SimulatedReply
from resilient_http.state.outcome import Fault
from tests.simulation.world import Answer, Made, World, by_host

RATE = 200.0
DIES_AT = 35.0
LASTS = 30.0
THREE = ["http://n1", "http://n2", "http://n3"]
SEEDS = [1, 2, 3]


def usual(attempt, now) -> Answer:
    """A good answer in 20 ms, give or take."""
    return attempt.call.port.rng.lognormvariate(math.log(0.02), 0.4), 200


def dead(attempt, now) -> Answer:
    return (0.001, Fault.UNREACHABLE) if now >= DIES_AT else usual(attempt, now)


def hanging(attempt, now) -> Answer:
    return (math.inf, Fault.TIMEOUT) if now >= DIES_AT else usual(attempt, now)


def failing_now_and_then(attempt, now) -> Answer:
    delay, _ = usual(attempt, now)
    return delay, SimulatedReply(503 if attempt.call.port.rng.random() < 0.2 else 200)


def outage(n2, *, seed: int, within: float = math.inf) -> list[Made]:
    world = World(by_host(n1=usual, n2=n2, n3=usual), seed=seed, endpoints=THREE)
    return list(world.traffic(calls=int(RATE * (DIES_AT + LASTS)), rate=RATE, within=within))


def success(calls: list[Made]) -> float:
    return sum(made.good for made in calls) / len(calls)


def requests_per_call(calls: list[Made]) -> float:
    return sum(made.journal.sent for made in calls) / len(calls)


def share_of(host: str, calls: list[Made], *, after: float) -> float:
    """Of the attempts that began after an instant, the share that went to this endpoint."""
    entries = [entry for made in calls for entry in made.journal.attempts if made.at + entry.started >= after]
    return sum(entry.endpoint == f"http://{host}" for entry in entries) / len(entries)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_of_three_nodes_dies(seed):
    calls = outage(dead, seed=seed)
    assert success(calls) >= 0.999
    assert requests_per_call(calls) <= 1.02
    assert sum(len(made.journal.attempts) for made in calls) / len(calls) <= 1.02
    assert share_of("n2", calls, after=DIES_AT + 2) < 0.01
    since = [made for made in calls if made.at >= DIES_AT]
    assert success(since) >= 0.999
    assert max(made.took for made in since) < 1.0


@pytest.mark.parametrize("seed", SEEDS)
def test_one_of_three_nodes_hangs_and_its_callers_have_half_a_second(seed):
    calls = outage(hanging, seed=seed, within=0.5)
    assert success(calls) >= 0.995
    assert requests_per_call(calls) <= 1.02
    assert share_of("n2", calls, after=DIES_AT + 2) < 0.01
    assert success([made for made in calls if made.at >= DIES_AT]) >= 0.995
    assert max(made.took for made in calls) <= 0.5 + 1e-9


def test_a_node_that_fails_a_fifth_of_its_calls_opens_no_circuit_beside_two_good_ones():
    world = World(by_host(n1=usual, n2=failing_now_and_then, n3=usual), endpoints=THREE)
    good = sum(made.good for made in world.traffic(calls=100_000, rate=RATE))
    assert world.told(CircuitOpened) == []
    assert good >= 99_990


def test_an_upstream_whose_only_node_fails_a_fifth_of_its_calls_opens_no_circuit():
    world = World(by_host(n1=failing_now_and_then))
    good = requests = 0
    for made in world.traffic(calls=100_000, rate=RATE):
        good += made.good
        requests += made.journal.sent
    assert world.told(CircuitOpened) == []
    # The budget allows a repeat for every fifth call, and four of five repeats succeed.
    assert good >= 95_000
    assert requests <= 125_000


def test_all_nodes_down_costs_them_little_and_ends_when_they_are_back():
    def away(attempt, now) -> Answer:
        return (0.005, 503) if 10.0 <= now < 15.0 else usual(attempt, now)

    world = World(by_host(n1=away, n2=away, n3=away), endpoints=THREE)
    calls = list(world.traffic(calls=int(RATE * 40), rate=RATE))
    while_away = [made for made in calls if 10.0 <= made.at < 15.0]
    assert requests_per_call(while_away) <= 1.3
    assert all(made.took < 2.0 for made in while_away)
    assert success([made for made in calls if made.at < 9.5]) == 1.0
    # Circuits rest for 4 to 6 s, then 8 to 12 s when a probe came too early.
    assert success([made for made in calls if made.at >= 29.0]) == 1.0


# The same seed, the same run


def fingerprint(seed: int) -> str:
    """Everything that happened in ten seconds of mixed traffic, to the last digit."""
    world = World(by_host(n1=usual, n2=failing_now_and_then, n3=failing_now_and_then), seed=seed, endpoints=THREE)
    calls = list(world.traffic(calls=2000, rate=RATE))
    everything = [(made.at, made.took, made.status, made.journal.as_dict()) for made in calls]
    return hashlib.sha256(repr((everything, world.events, world.port.now())).encode()).hexdigest()


def test_the_same_seed_is_the_same_run_to_the_last_digit():
    assert fingerprint(7) == fingerprint(7)


def test_another_seed_is_another_run():
    assert len({fingerprint(seed) for seed in range(5)}) == 5


@pytest.mark.parametrize("quiet", [0.0, 3600.0])
@pytest.mark.parametrize("hedge", [None, {"delay": 0.01}])
def test_repeats_and_hedges_of_an_upstream_that_fails_keep_to_their_budget(quiet, hedge):
    world = World(by_host(n1=503, n2=503, n3=503), endpoints=THREE, circuit=None, hedge=hedge)
    world.make()
    made = [world.spawn(at=quiet + 5 + number / 100) for number in range(1000)]
    world.port.run()

    assert 1.1 < requests_per_call(made) <= 1.25
    told = world.upstream.status(world.port.now())
    assert told["retries"]["suppressed: budget"] > 500
    assert any("the retry budget is used up" in str(one.journal) for one in made)


def test_at_a_call_in_five_seconds_a_repeat_is_still_allowed():
    world = World(by_host(n1=503, n2=503, n3=503), endpoints=THREE, circuit=None)
    made = [world.spawn(at=number * 5.0) for number in range(100)]
    world.port.run()
    assert all(one.journal.sent >= 2 for one in made)
