"""Balance: three nodes, of which one is ten times slower, as their callers see them."""

from __future__ import annotations

import random

import pytest

from resilient_http.ports.simulated import SimulatedReply
from tests.simulation.world import World

USUAL = 0.01
CALLS = 8000


class Node:
    """Works on a few requests at once; the others queue."""

    def __init__(self, factor: float, workers: int, seed: int) -> None:
        self.factor = factor
        self.rng = random.Random(seed)
        self.free_at = [0.0] * workers
        self.asked = 0

    def __call__(self, now: float) -> tuple[float, SimulatedReply]:
        self.asked += 1
        worker = min(range(len(self.free_at)), key=self.free_at.__getitem__)
        begin = max(now, self.free_at[worker])
        self.free_at[worker] = begin + self.factor * USUAL * self.rng.uniform(0.5, 1.5)
        return self.free_at[worker] - now, SimulatedReply()


def traffic(balance: object, rate: float, *, slow: bool = True) -> tuple[float, dict[str, Node]]:
    """p99 of the calls, and the nodes."""
    nodes = {"n1": Node(1.0, 8, 1), "n2": Node(1.0, 8, 2)} | ({"slow": Node(10.0, 8, 3)} if slow else {})
    world = World(
        lambda attempt, now: nodes[attempt.chosen.host](now),
        endpoints=[f"http://{name}" for name in nodes],
        balance=balance,
        circuit=None,
    )
    took = sorted(made.took for made in world.traffic(calls=CALLS, rate=rate) if made.good)
    assert len(took) == CALLS
    return took[int(0.99 * CALLS)], nodes


@pytest.mark.parametrize("rate", [50.0, 400.0, 1000.0])
@pytest.mark.parametrize("balance", ["p2c", "ewma"])
def test_a_slow_node_is_hardly_seen(balance, rate):
    alone, _ = traffic(balance, rate, slow=False)
    p99, nodes = traffic(balance, rate)
    assert p99 <= 2 * alone
    assert 0 < nodes["slow"].asked < 0.01 * CALLS


@pytest.mark.parametrize("rate", [50.0, 200.0])
def test_turns_show_it(rate):
    alone, _ = traffic("weighted", rate, slow=False)
    p99, nodes = traffic("weighted", rate)
    assert p99 > 5 * alone
    assert nodes["slow"].asked == pytest.approx(CALLS / 3, abs=1)


@pytest.mark.parametrize("balance", ["p2c", "ewma"])
def test_a_node_that_is_slow_no_longer_gets_its_share_back(balance):
    nodes = {"n1": Node(1.0, 8, 1), "n2": Node(1.0, 8, 2), "slow": Node(10.0, 8, 3)}

    def respond(attempt, now):
        if now > 20.0:
            nodes["slow"].factor = 1.0
        return nodes[attempt.chosen.host](now)

    world = World(respond, endpoints=[f"http://{name}" for name in nodes], balance=balance, circuit=None)
    made = list(world.traffic(calls=24000, rate=200.0))
    late = [each.journal.attempts[0].endpoint for each in made if each.at > 80.0]
    assert late.count("http://slow") > 0.2 * len(late)
