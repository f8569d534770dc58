"""Nodes that have become slow, with `circuit.slow_call`: at most half of them are left alone, never the last one."""

from __future__ import annotations

from collections import Counter

import pytest

from resilient_http.errors import CircuitOpen
from resilient_http.events import CircuitOpened, PanicBegan, PanicEnded
from tests.simulation.world import World, by_host

RULE = {"slow_call": {"duration": 0.5}, "min_calls": 5, "window": 5, "window_span": 60, "jitter": 0}
NODES = ("n1", "n2", "n3")


def slow_until(instant: float):
    return lambda attempt, now: (1.0 if now < instant else 0.02, 200)


def world(*slow: str, until: float = 1e9, count: int = 3) -> World:
    hosts = NODES[:count]
    answers = {host: slow_until(until) if host in slow else 200 for host in hosts}
    endpoints = [f"http://{host}" for host in hosts]
    return World(by_host(**answers), endpoints=endpoints, circuit=RULE, balance="weighted", retry=None)


def reached(made) -> Counter:
    return Counter(one.journal.attempts[-1].endpoint for one in made)


def test_of_two_slow_ones_among_three_one_is_left_alone():
    fleet = world("n1", "n2", until=60.0)
    made = list(fleet.traffic(calls=600, rate=20))
    assert all(one.good for one in made)
    assert len({event.endpoint for event in fleet.told(CircuitOpened)}) == 2
    later = reached(one for one in made if 5.0 < one.at < 10.0)
    (out,) = [member["url"] for member in fleet.upstream.nodes.status(30.0) if member["out"]]
    other = {"http://n1": "http://n2", "http://n2": "http://n1"}[out]
    assert later[out] <= 3  # its probes
    assert later[other] > 30  # slow too, and used all the same
    assert fleet.told(PanicBegan) == []


def test_when_all_three_are_slow_all_are_used_which_is_told_and_told_again_when_they_are_quick():
    fleet = world(*NODES, until=10.0)
    made = list(fleet.traffic(calls=800, rate=20))
    assert all(one.good for one in made)
    slow = reached(one for one in made if 5.0 < one.at < 10.0)
    assert all(slow[f"http://{host}"] > 20 for host in NODES)
    assert fleet.told(PanicBegan) == [PanicBegan("payments", 3, 3)]
    assert len(fleet.told(PanicEnded)) == 1
    assert {member.circuit.current_state for member in fleet.upstream.endpoints.members} == {"closed"}
    assert not any(member["out"] for member in fleet.upstream.nodes.status(40.0))


def test_a_slow_one_that_is_quick_again_is_back_within_its_probes():
    fleet = world("n1", until=4.0)
    made = list(fleet.traffic(calls=300, rate=20))
    (opened,) = fleet.told(CircuitOpened)
    back = [one for one in made if one.at > 12.0]
    assert opened.endpoint == "http://n1"
    assert reached(back)["http://n1"] == pytest.approx(len(back) / 3, abs=1)


def test_of_one_node_alone_the_slow_circuit_refuses():
    fleet = world("n1", count=1)
    made = list(fleet.traffic(calls=200, rate=20))
    refused = [one for one in made if isinstance(one.error, CircuitOpen)]
    assert len(refused) > 100
    assert fleet.told(PanicBegan) == []
