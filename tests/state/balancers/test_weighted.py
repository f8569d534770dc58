"""Weighted: turns by weight, smoothly, as nginx takes them."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.state.balancers.weighted import Weighted
from resilient_http.state.endpoint import Endpoint


def nodes(*weights: float) -> list[Endpoint]:
    return [Endpoint("http", "abcdefghijklmnop"[place], 80, weight=weight) for place, weight in enumerate(weights)]


def turns(balancer: Weighted, count: int, passed=()) -> str:
    rng = random.Random(1)
    return "".join(balancer.pick(passed, 0.0, rng).host for _ in range(count))


def smooth(weights: list[int], count: int) -> str:
    """The algorithm as it is described: all gain their weight, the first that has most pays the sum of the weights."""
    standing = [0] * len(weights)
    picked = ""
    for _ in range(count):
        standing = [have + weight for have, weight in zip(standing, weights, strict=True)]
        best = standing.index(max(standing))
        standing[best] -= sum(weights)
        picked += "abcdefghijklmnop"[best]
    return picked


def test_five_one_one_is_the_sequence_of_nginx():
    assert turns(Weighted(nodes(5, 1, 1)), 14) == "aabacaa" * 2


def test_equal_weights_are_round_robin():
    assert turns(Weighted(nodes(2, 2, 2)), 9) == "abcabcabc"


@given(weights=st.lists(st.integers(1, 20), min_size=1, max_size=8))
def test_any_weights_take_the_turns_that_the_algorithm_as_described_gives(weights):
    assert turns(Weighted(nodes(*weights)), 200) == smooth(weights, 200)


def test_fractions_take_turns_too():
    assert Counter(turns(Weighted(nodes(0.5, 1.5)), 400)) == {"a": 100, "b": 300}


def test_one_that_is_passed_over_leaves_its_turns_to_the_others():
    members = nodes(5, 1, 1)
    assert Counter(turns(Weighted(members), 100, [members[0]])) == {"b": 50, "c": 50}


def test_one_of_a_thousand_that_is_left_is_found():
    members = [Endpoint("http", f"n{number}", 80) for number in range(1000)]
    assert Weighted(members).pick(set(members[:-1]), 0.0, random.Random(1)) is members[-1]


@pytest.mark.parametrize("members", [[], nodes(1, 2)])
def test_there_is_none_when_all_are_passed_over(members):
    assert Weighted(members).pick(set(members), 0.0, random.Random(1)) is None


def test_threads_that_take_turns_together_leave_none_out():
    members = nodes(3, 2, 1)
    balancer = Weighted(members)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda _: turns(balancer, 300), range(8)))
    assert Counter("".join(parts)) == {"a": 1200, "b": 800, "c": 400}
