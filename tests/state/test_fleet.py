"""Endpoints: zones, slow start, slow siblings, and endpoints that come and go."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from resilient_http.state.balancers.ewma import ewma
from resilient_http.state.balancers.p2c import P2C
from resilient_http.state.balancers.ring import Ring
from resilient_http.state.balancers.weighted import Weighted
from resilient_http.state.diagnosis import Cause
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.endpoints import Endpoints
from resilient_http.state.outcome import Outcome
from tests.state.circuits import circuit_of


def node(name: str, **facts) -> Endpoint:
    return Endpoint("http", name, 80, circuit=circuit_of(), **facts)


def zoned(**zones: str) -> list[Endpoint]:
    return [node(name, zone=zone) for name, zone in zones.items()]


def shares(endpoints: Endpoints, times: int = 2000, *, now: float = 0.0, tried=(), key=None) -> Counter:
    """How often each is chosen when nothing is under way."""
    rng = random.Random(1)
    counts: Counter = Counter()
    for _ in range(times):
        member, permit = endpoints.choose(now, rng, tried, key=key)
        member.settle(permit, Outcome.NEUTRAL, now)
        counts[member.host] += 1
    return counts


def answered(endpoints: Endpoints, member: Endpoint, seconds: float, times: int = 1, now: float = 0.0) -> None:
    for _ in range(times):
        member.begin()
        endpoints.settle(member, member.circuit.acquire(now), Outcome.SUCCESS, now, answered=seconds, took=seconds)


# Zones


def test_the_own_zone_is_preferred():
    assert set(shares(Endpoints(zoned(n1="a", n2="b", n3="a"), zone="a"))) == {"n1", "n3"}


def test_a_zone_without_endpoints_is_no_preference():
    assert set(shares(Endpoints(zoned(n1="a", n2="b"), zone="c"))) == {"n1", "n2"}
    assert set(shares(Endpoints(zoned(n1="a", n2="b")))) == {"n1", "n2"}


def test_other_zones_take_over_before_backups_do():
    members = [*zoned(n1="a", n2="b"), node("b1", zone="a", backup=True)]
    endpoints = Endpoints(members, zone="a")
    members[0].circuit.open()
    assert set(shares(endpoints, now=1.0)) == {"n2"}
    members[1].circuit.open()
    assert set(shares(endpoints, now=2.0)) == {"b1"}


@pytest.mark.parametrize(("open_of_four", "spilled"), [(1, 0.0), (2, 0.3), (3, 0.65), (4, 1.0)])
def test_a_zone_spills_over_by_the_share_of_it_that_is_not_healthy(open_of_four, spilled):
    members = zoned(n1="a", n2="a", n3="a", n4="a", far="b")
    endpoints = Endpoints(members, zone="a")
    for member in members[:open_of_four]:
        member.circuit.force_open()
    assert shares(endpoints)["far"] == pytest.approx(2000 * spilled, abs=80)


def test_what_is_ejected_is_not_healthy():
    members = zoned(n1="a", n2="a", far="b", farther="b")
    endpoints = Endpoints(members, zone="a")
    for member in members[:2]:
        endpoints.ejections.eject(member, "unhealthy", 0.0)
    assert set(shares(endpoints)) == {"far", "farther"}


def test_a_retry_stays_in_the_zone_while_something_there_is_untried():
    members = zoned(n1="a", n2="a", far="b")
    endpoints = Endpoints(members, zone="a")
    assert set(shares(endpoints, tried=[members[0]])) == {"n2"}
    assert set(shares(endpoints, tried=members[:2])) == {"far"}


# Slow start


def test_one_that_is_new_takes_its_share_by_and_by():
    members = [node("n1"), node("n2")]
    endpoints = Endpoints([members[0], node("n3")], slow_start=10.0)
    endpoints.replace(members, 100.0)
    for after, share in ((0.5, 0.1), (2.0, 0.2), (5.0, 0.5), (10.0, 1.0)):
        # It is offered half of the attempts and takes its share of those; the rest goes to the other.
        assert shares(endpoints, 4000, now=100.0 + after)["n2"] == pytest.approx(2000 * share, rel=0.2)


def test_those_that_are_there_from_the_start_are_not_new():
    assert shares(Endpoints([node("n1"), node("n2")], slow_start=10.0))["n2"] == pytest.approx(1000, rel=0.1)
    found = Endpoints([], slow_start=10.0)
    found.replace([node("n1"), node("n2")], 5.0)
    assert shares(found, now=5.0)["n2"] == pytest.approx(1000, rel=0.1)


def test_one_whose_circuit_has_closed_again_is_back_and_starts_slowly():
    members = [node("n1"), node("n2")]
    endpoints, rng = Endpoints(members, slow_start=10.0), random.Random(1)
    members[1].circuit.open()
    now = members[1].circuit.retry_in(0.0) + 1.0
    while not members[1].circuit.closed:
        member, permit = endpoints.choose(now, rng, [members[0]])
        endpoints.settle(member, permit, Outcome.SUCCESS, now, answered=0.01)
    assert members[1].since == now
    assert shares(endpoints, 4000, now=now + 1.0)["n2"] == pytest.approx(200, rel=0.3)


def test_a_new_one_is_used_at_once_when_it_is_all_there_is():
    members = [node("n1"), node("n2")]
    endpoints = Endpoints(members[:1], slow_start=10.0)
    endpoints.replace(members, 0.0)
    members[0].circuit.force_open()
    assert shares(endpoints, 100, now=0.1) == {"n2": 100}


def test_one_that_is_back_is_not_punished_for_what_was_before():
    member = node("n1")
    for _ in range(5):
        member.begin()
        member.settle(member.circuit.acquire(0.0), Outcome.FAILURE, 0.0)
    assert not member.circuit.closed
    assert member.load(0.0) == 0.0  # its circuit keeps attempts away
    now = member.circuit.retry_in(0.0)
    for _ in range(2):
        permit = member.circuit.acquire(now)
        member.begin()
        member.settle(permit, Outcome.SUCCESS, now, answered=0.01)
    assert member.circuit.closed
    assert member.load(now) == 0.0


# Slow siblings


def test_an_answer_far_slower_than_the_siblings_weighs_like_a_failure():
    quick, slow = members = [node("n1"), node("n2")]
    endpoints = Endpoints(members)
    answered(endpoints, quick, 0.01, times=20)
    answered(endpoints, slow, 0.1, times=20, now=1.0)
    assert slow.load(1.0) > 4.0
    assert quick.load(1.0) == 0.0
    assert slow.load(100.0) == pytest.approx(0.0, abs=0.1)


def test_one_slow_answer_of_a_quick_endpoint_does_not():
    members = [node("n1"), node("n2")]
    endpoints = Endpoints(members)
    for member in members:
        answered(endpoints, member, 0.01, times=20)
    answered(endpoints, members[0], 0.5, times=3, now=1.0)
    assert members[0].load(1.0) == 0.0


def test_with_one_good_endpoint_of_three_the_others_are_left_alone():
    good, slow, failing = members = [node("n1"), node("n2"), node("n3")]
    endpoints = Endpoints(members)
    slow.penalise(0.0)
    failing.penalise(0.0)
    assert shares(endpoints, 300) == {good.host: 300}


@pytest.mark.parametrize("balancer", [P2C, ewma], ids=["p2c", "ewma"])
def test_the_probe_of_one_that_has_failed_does_not_wait_for_its_penalty_to_fade(balancer):
    members = [node("n1"), node("n2"), node("n3")]
    endpoints = Endpoints(members, balancer)
    for member in members:
        answered(endpoints, member, 0.05, times=20)
    while members[0].circuit.closed:
        permit = members[0].circuit.acquire(0.0)
        members[0].begin()
        endpoints.settle(members[0], permit, Outcome.UNANSWERED, 0.0, took=1.0)
    for now in (5.0, 15.0, 35.0):  # each fails
        chosen = [endpoints.choose(now, random.Random(seed)) for seed in range(20)]
        (probe,) = [permit for member, permit in chosen if member is members[0]]
        for member, permit in chosen:
            outcome = Outcome.UNANSWERED if permit is probe else Outcome.SUCCESS
            endpoints.settle(member, permit, outcome, now, took=1.0 if permit is probe else 0.05)


def test_a_penalty_has_an_upper_limit_so_that_it_is_gone_within_half_a_minute():
    member = node("n1")
    for _ in range(100):
        member.penalise(0.0)
    member.begin()
    assert member.load(0.0) == 33.0
    assert member.load(25.0) == pytest.approx(2.0)


@pytest.mark.parametrize(("quick", "slow"), [(0.001, 0.005), (0.0005, 0.02), (0.01, 0.03)])
def test_a_node_that_is_some_milliseconds_further_away_is_not_penalised(quick, slow):
    members = [node("n1"), node("n2")]
    endpoints = Endpoints(members)
    answered(endpoints, members[0], quick, times=20)
    answered(endpoints, members[1], slow, times=40, now=1.0)
    assert members[1].load(1.0) == 0.0


def test_an_endpoint_that_is_somewhat_slower_is_not_penalised():
    members = [node("n1"), node("n2")]
    endpoints = Endpoints(members)
    answered(endpoints, members[0], 0.01, times=20)
    answered(endpoints, members[1], 0.025, times=40, now=1.0)
    assert members[1].load(1.0) == 0.0


# Endpoints that come and go


def test_what_stays_keeps_its_state_and_what_is_gone_is_told():
    n1, n2, n3 = node("n1"), node("n2"), node("n3")
    endpoints = Endpoints([n1, n2])
    n2.circuit.force_open()
    assert endpoints.replace([n2, n3], 1.0) == [n1]
    assert endpoints.members == (n2, n3)
    assert shares(endpoints, 50, now=1.0) == {"n3": 50}


def test_an_attempt_under_way_ends_at_the_endpoint_that_it_has_chosen():
    n1, n2 = node("n1"), node("n2")
    endpoints = Endpoints([n1])
    member, permit = endpoints.choose(0.0, random.Random(1))
    endpoints.replace([n2], 1.0)
    endpoints.settle(member, permit, Outcome.SUCCESS, 2.0, answered=2.0)
    assert (member, n1.in_flight) == (n1, 0)


def test_there_may_be_none():
    endpoints = Endpoints([])
    assert not endpoints.known
    assert endpoints.choose(0.0, random.Random(1)) is None
    assert endpoints.usual() == 0.0
    assert not endpoints.has_untried((), 0.0)
    endpoints.replace([], 0.0)
    assert endpoints.known
    assert endpoints.choose(0.0, random.Random(1)) is None


def test_one_that_leaves_is_not_ejected_when_it_returns():
    members = [node("n1"), node("n2"), node("n3")]
    endpoints = Endpoints(members)
    endpoints.pause(members[0], 0.0, 100.0)
    endpoints.replace(members[1:], 1.0)
    endpoints.replace(members, 2.0)
    assert endpoints.ejections.out(2.0) == set()


def test_calls_with_a_key_go_to_its_endpoint_and_to_the_same_other_one_when_that_is_open():
    members = [node(f"n{number}") for number in range(5)]
    endpoints = Endpoints(members, Ring)
    ((home, _),) = shares(endpoints, 100, key="user-7").items()
    next(member for member in members if member.host == home).circuit.force_open()
    ((other, count),) = shares(endpoints, 100, key="user-7").items()
    assert (other != home, count) == (True, 100)


def test_all_of_a_thousand_open_is_refused_and_one_of_them_is_found():
    members = [node(f"n{number}") for number in range(1000)]
    for balancer in (Weighted, Ring):
        endpoints = Endpoints(members, balancer)
        for member in members:
            member.circuit.force_open()
        assert endpoints.choose(0.0, random.Random(1), key="a") is None
        members[500].circuit.close()
        assert endpoints.choose(0.0, random.Random(1), key="a")[0] is members[500]


def test_endpoints_come_and_go_while_threads_choose():
    pool_of = [node(f"n{number}") for number in range(8)]
    endpoints = Endpoints(pool_of[:4])
    ended = [False]

    def call(seed: int) -> int:
        rng, calls = random.Random(seed), 0
        while not ended[0] or calls < 500:
            member, permit = endpoints.choose(0.0, rng)
            endpoints.settle(member, permit, Outcome.SUCCESS, 0.0, answered=0.01)
            calls += 1
        return calls

    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(call, seed) for seed in range(4)]
        rng = random.Random(9)
        for _ in range(300):
            endpoints.replace(rng.sample(pool_of, rng.randint(1, 8)), 0.0)
        ended[0] = True
    assert all(caller.result() >= 500 for caller in callers)
    assert [member.in_flight for member in pool_of] == [0] * 8


# Slow circuits: a guess, so at most half of the endpoints are out for it, and never the last one

SLOW = {"slow_after": 0.5, "min_calls": 3, "window": 3}


def fleet(count: int, **rules) -> tuple[list[Endpoint], Endpoints]:
    members = [Endpoint("http", f"n{index + 1}", 80, circuit=circuit_of(**SLOW, **rules)) for index in range(count)]
    return members, Endpoints(members)


def slow_down(endpoints: Endpoints, *members: Endpoint, now: float = 0.0) -> None:
    """Slow answers, until their circuits open."""
    for member in members:
        answered(endpoints, member, 1.0, times=3, now=now)
        assert member.circuit.cause is Cause.SLOW
        assert not member.circuit.closed


@pytest.mark.parametrize(("slow", "used"), [(1, {"n2", "n3"}), (2, {"n2", "n3"}), (3, {"n1", "n2", "n3"})])
def test_at_most_half_of_three_are_out_as_slow_and_beyond_the_panic_share_none_is(slow, used):
    members, endpoints = fleet(3)
    slow_down(endpoints, *members[:slow])
    assert set(shares(endpoints)) == used
    assert endpoints.ejections.panicking is (slow == 3)


def test_the_next_slow_one_is_out_when_the_first_is_quick_again():
    members, endpoints = fleet(3)
    slow_down(endpoints, *members[:2])
    for _ in range(2):
        permit = members[0].circuit.acquire(5.0)
        members[0].begin()
        endpoints.settle(members[0], permit, Outcome.SUCCESS, 5.0, answered=0.1, took=0.1)
    assert members[0].circuit.closed
    assert endpoints.ejections.out(5.0) == {members[1]}


def test_a_slow_one_that_is_out_is_probed_when_its_time_has_come():
    members, endpoints = fleet(3)
    slow_down(endpoints, members[0])
    assert "n1" not in shares(endpoints, now=4.9)
    choices = [endpoints.choose(5.0, random.Random(seed)) for seed in range(20)]
    assert [member.host for member, permit in choices if permit.probe] == ["n1"]


def test_what_a_slow_one_answers_that_is_used_all_the_same_does_not_count_for_its_circuit():
    members, endpoints = fleet(3)
    slow_down(endpoints, *members)
    generation = members[0].circuit.generation
    for seed in range(100):
        member, permit = endpoints.choose(1.0, random.Random(seed))
        endpoints.settle(member, permit, Outcome.SUCCESS, 1.0, answered=0.1, took=0.1)
    assert members[0].circuit.generation == generation


def test_a_slow_one_is_used_when_the_others_are_down_the_less_loaded_first():
    members, endpoints = fleet(4)
    slow_down(endpoints, *members[:2])
    for member in members[2:]:
        member.circuit.force_open()
    members[0].begin()
    assert endpoints.ejections.out(0.0) == set(members[:2])
    assert endpoints.choose(0.0, random.Random(1))[0] is members[1]


def test_one_that_opened_on_failures_stays_out_although_it_was_slow_before():
    members, endpoints = fleet(2)
    slow_down(endpoints, members[0])
    permit = members[0].circuit.acquire(5.0)
    members[0].begin()
    endpoints.settle(members[0], permit, Outcome.FAILURE, 5.0)  # the probe
    members[1].circuit.force_open()
    assert endpoints.choose(5.0, random.Random(1)) is None
    assert endpoints.ejections.reasons(members[0], 5.0) == {}


@pytest.mark.parametrize("close", [lambda c: c.close(), lambda c: c.join(1.0, c.generation)], ids=["by hand", "others"])
def test_a_slow_one_is_back_when_its_circuit_is_closed_from_outside(close):
    members, endpoints = fleet(3)
    slow_down(endpoints, members[0])
    close(members[0].circuit)
    assert set(shares(endpoints, now=1.0)) == {"n1", "n2", "n3"}
    assert endpoints.ejections.out(1.0) == set()


def test_a_slow_one_that_a_person_holds_open_is_not_used():
    members, endpoints = fleet(3)
    slow_down(endpoints, *members)
    members[0].circuit.force_open()
    assert "n1" not in shares(endpoints, now=1.0)


def test_of_one_endpoint_alone_the_slow_circuit_refuses():
    members, endpoints = fleet(1)
    slow_down(endpoints, *members)
    assert endpoints.choose(0.0, random.Random(1)) is None


def test_a_slow_one_counts_when_others_come_and_refuses_when_they_go():
    (n1,), endpoints = fleet(1)
    slow_down(endpoints, n1)
    n2, n3 = fleet(2)[0]
    endpoints.replace([n1, n2, n3], 1.0)
    slow_down(endpoints, n2, now=1.0)
    assert endpoints.ejections.out(1.0) == {n1}
    endpoints.replace([n1], 2.0)
    assert endpoints.choose(2.0, random.Random(1)) is None
    assert endpoints.ejections.reasons(n1, 2.0) == {}


def test_an_attempt_that_ends_after_its_endpoint_has_left_takes_nobody_out():
    members, endpoints = fleet(3)
    permits = [members[0].circuit.acquire(0.0) for _ in range(3)]
    endpoints.replace(members[1:], 1.0)
    for permit in permits:
        members[0].begin()
        endpoints.settle(members[0], permit, Outcome.SUCCESS, 1.0, answered=1.0, took=1.0)
    assert not endpoints.pause(members[0], 1.0, 10.0)
    slow_down(endpoints, members[1], now=1.0)
    assert endpoints.ejections.out(1.0) == {members[1]}
    assert not endpoints.ejections.panicking


def test_a_circuit_that_only_observes_takes_nobody_out():
    members, endpoints = fleet(3, observe=True)
    slow_down(endpoints, members[0])
    assert set(shares(endpoints)) == {"n1", "n2", "n3"}
    assert endpoints.has_untried(members[1:], 0.0)
