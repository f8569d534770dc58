"""P2C and ewma: the better one of two that are drawn."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from resilient_http.state.balancers.ewma import ewma
from resilient_http.state.balancers.p2c import P2C
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.outcome import Outcome
from resilient_http.state.peak_ewma import PeakEwma


def nodes(*weights: float) -> list[Endpoint]:
    return [Endpoint("http", f"n{place}", 80, weight=weight) for place, weight in enumerate(weights, 1)]


def picks(balancer: P2C, times: int = 4000, passed=(), now: float = 0.0) -> Counter:
    rng = random.Random(1)
    return Counter(balancer.pick(passed, now, rng).host for _ in range(times))


def took(member: Endpoint, seconds: float, now: float = 0.0, outcome: Outcome = Outcome.SUCCESS) -> None:
    member.begin()
    member.settle(None, outcome, now, answered=seconds, took=seconds)


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 3)])
def test_of_two_that_are_left_the_less_loaded_is_picked(weights):
    members = nodes(*weights)
    members[1].begin()
    assert picks(P2C(members), 50, [members[0]]) == {"n3": 50}


def test_one_that_is_left_of_a_thousand_is_found():
    members = nodes(*[1.0] * 1000)
    assert P2C(members).pick(set(members[1:]), 0.0, random.Random(1)) is members[0]
    assert P2C(nodes(*range(1, 1001))).pick(set(), 0.0, random.Random(1)) is not None


@pytest.mark.parametrize("weights", [(), (1,), (1, 2)])
def test_there_is_none_when_all_are_passed_over(weights):
    members = nodes(*weights)
    assert P2C(members).pick(set(members), 0.0, random.Random(1)) is None


def test_the_quicker_is_picked_and_a_queue_counts_as_much_as_slowness():
    slow, quick = members = nodes(1, 1)
    balancer = ewma(members)
    took(slow, 0.1)
    took(quick, 0.02)
    assert picks(balancer) == {"n2": 4000}
    for _ in range(4):
        quick.begin()
    assert picks(balancer)["n1"] == pytest.approx(2000, rel=0.1)  # alike: 0.1 for one, 0.02 for the fifth
    quick.begin()
    assert picks(balancer) == {"n1": 4000}


def test_one_that_fails_fast_is_not_quick():
    failing, slow = members = nodes(1, 1)
    balancer = ewma(members)
    took(slow, 0.1)
    took(failing, 0.05)
    took(failing, 0.001, outcome=Outcome.FAILURE)
    assert failing.ewma.cost(0.0) == 0.05
    assert picks(balancer) == {"n2": 4000}


def test_one_of_which_nothing_is_known_is_tried_by_one_at_a_time():
    new, known = members = nodes(1, 1)
    balancer = ewma(members)
    took(known, 0.05)
    assert picks(balancer) == {"n1": 4000}
    new.begin()
    assert picks(balancer) == {"n2": 4000}


def test_a_weight_is_a_share_of_the_load():
    light, heavy = members = nodes(1, 3)
    balancer = ewma(members)
    took(light, 0.1)
    took(heavy, 0.2)
    assert picks(balancer)["n2"] == 4000


def test_an_endpoint_that_stays_keeps_its_latency():
    members = nodes(1, 1)
    ewma(members)
    took(members[0], 0.1)
    ewma([*members, *nodes(1)])
    assert members[0].ewma.cost(0.0) == 0.1


def test_bad_news_counts_at_once_and_good_news_by_and_by():
    cost = PeakEwma(decay=10.0)
    assert cost.cost(5.0) == 0.0
    cost.observe(0.1, 0.0)
    assert cost.cost(0.0) == 0.1
    cost.observe(0.5, 1.0)
    assert cost.cost(1.0) == 0.5
    cost.observe(0.1, 11.0)  # e^-1 of the old
    assert cost.cost(11.0) == pytest.approx(0.1 + 0.4 / 2.718281828)
    cost.observe(0.1, 11.0)
    assert cost.cost(11.0) == pytest.approx(0.1 + 0.4 / 2.718281828)


def test_it_fades_without_news():
    cost = PeakEwma(decay=10.0)
    cost.observe(1.0, 0.0)
    assert cost.cost(10.0) == pytest.approx(1 / 2.718281828)
    cost.observe(0.9, 10.0)  # which does not make the peak be forgotten
    assert 0.9 < cost.cost(10.0) < 1.0
