"""Ring: what has a key in common goes to one endpoint, within bounds, and little moves when one leaves."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_http.state.balancers.ring import Ring
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.outcome import Outcome

KEYS = [f"user-{number}" for number in range(2000)]


def nodes(count: int, **facts) -> list[Endpoint]:
    return [Endpoint("http", f"n{number}", 80, **facts) for number in range(count)]


def owners(ring: Ring, passed=(), keys=KEYS) -> dict[str, Endpoint]:
    rng = random.Random(1)
    return {key: ring.pick(passed, 0.0, rng, key) for key in keys}


def test_a_key_has_one_endpoint_in_every_process():
    assert owners(Ring(nodes(5))).keys() == set(KEYS)
    one, other = owners(Ring(nodes(5))), owners(Ring(list(reversed(nodes(5)))))
    assert {key: member.url for key, member in one.items()} == {key: member.url for key, member in other.items()}


def test_endpoints_have_like_shares_of_the_keys():
    counts = Counter(owners(Ring(nodes(5))).values())
    assert all(0.6 * 400 < count < 1.4 * 400 for count in counts.values())


def test_a_weight_is_a_share():
    members = [Endpoint("http", "n1", 80, weight=1.0), Endpoint("http", "n2", 80, weight=3.0)]
    counts = Counter(owners(Ring(members)).values())
    assert counts[members[1]] / counts[members[0]] == pytest.approx(3.0, rel=0.3)


@settings(max_examples=20, deadline=None)
@given(count=st.integers(2, 12), leaver=st.integers(0, 11))
def test_an_endpoint_that_leaves_moves_its_own_share_and_no_other(count, leaver):
    members = nodes(count)
    gone = members[leaver % count]
    before, keys = Ring(members), KEYS[:300]
    after = Ring([member for member in members if member is not gone])
    was = owners(before, keys=keys)
    for ring, passed in ((after, ()), (before, {gone})):  # it left the upstream, or is passed over
        now = owners(ring, passed, keys)
        assert all(now[key] is was[key] for key in keys if was[key] is not gone)
        assert all(now[key] is not gone for key in keys)


def test_what_it_leaves_is_spread_over_the_others():
    members = nodes(5)
    moved = Counter(
        owners(Ring(members), {members[0]})[key] for key, owner in owners(Ring(members)).items() if owner is members[0]
    )
    assert len(moved) == 4


def test_nobody_has_more_than_its_bound_of_what_is_in_flight():
    members = nodes(4)
    ring, rng = Ring(members, bound=1.25), random.Random(1)
    for taken in range(1, 401):
        ring.pick((), 0.0, rng, "the one hot key").begin()
        assert max(member.in_flight for member in members) <= -(-1.25 * taken // 4)


def test_a_hot_key_stays_at_home_while_there_is_room():
    ring, rng = Ring(nodes(4)), random.Random(1)
    home = ring.pick((), 0.0, rng, "hot")
    home.begin()
    home.settle(None, Outcome.SUCCESS, 0.0)
    assert ring.pick((), 0.0, rng, "hot") is home


def test_what_was_under_way_before_the_ring_is_counted():
    members = nodes(2)
    rng = random.Random(1)
    for _ in range(10):
        members[0].begin()
    ring = Ring(members)
    hosts = {ring.pick((), 0.0, rng, key).host for key in KEYS[:50]}
    assert hosts == {"n1"}


def test_without_a_bound_a_key_stays_whatever_is_under_way():
    members = nodes(2)
    ring, rng = Ring(members, bound=float("inf")), random.Random(1)
    assert (
        len({ring.pick((), 0.0, rng, "hot") for _ in range(50) if ring.pick((), 0.0, rng, "hot").begin() is None}) == 1
    )


def test_calls_without_a_key_go_to_the_less_loaded_of_two():
    members = nodes(2)
    members[0].begin()
    assert {Ring(members).pick((), 0.0, random.Random(seed)) for seed in range(20)} == {members[1]}


def test_there_is_none_when_all_are_passed_over():
    members = nodes(3)
    assert Ring(members).pick(set(members), 0.0, random.Random(1), "key") is None
    assert Ring([]).pick((), 0.0, random.Random(1), "key") is None


@given(key=st.text())
def test_any_text_is_a_key(key):
    assert Ring(nodes(3)).pick((), 0.0, random.Random(1), key) is not None


def test_weights_of_a_thousand_are_arranged_with_no_more_places_than_there_may_be():
    ring = Ring([Endpoint("http", "n1", 80, weight=100.0), Endpoint("http", "n2", 80, weight=10_000.0)])
    assert len(ring._places) <= 100_001


@pytest.mark.parametrize("key", ["\ud800", "", "\0", "ä" * 10_000])
def test_a_key_that_is_odd_is_a_key(key):
    assert Ring(nodes(3)).pick((), 0.0, random.Random(1), key) is not None
