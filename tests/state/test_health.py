"""Health: how many checks it takes. Rounds: whose turn it is, and that many are spread and none is forgotten."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.state.endpoint import Endpoint
from resilient_http.state.endpoints import Endpoints
from resilient_http.state.health import MOST, Health, Rounds

WORDS = {"+": "", "-": "status 503"}


def history(checks: str, **rules) -> str:
    """What it was after each check: h, or u."""
    health = Health(**rules)
    told = []
    for now, check in enumerate(checks):
        before = health.healthy
        assert health.record(WORDS[check], now) is (health.healthy is not before)
        told.append("h" if health.healthy else "u")
    return "".join(told)


@pytest.mark.parametrize(
    ("checks", "states"),
    [
        ("+++", "hhh"),
        ("--", "hh"),
        ("---", "hhu"),
        ("--+--", "hhhhh"),
        ("--+---", "hhhhhu"),
        ("---+", "hhuu"),
        ("---++", "hhuuh"),
        ("---+-+-++", "hhuuuuuuh"),
        ("---++---", "hhuuhhhu"),
    ],
)
def test_three_bad_ones_in_a_row_make_it_unhealthy_and_two_good_ones_healthy(checks, states):
    assert history(checks) == states


def test_one_may_be_enough():
    assert history("-+-", healthy_after=1, unhealthy_after=1) == "uhu"


@given(st.text("+-", max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_it_changes_exactly_when_that_many_of_the_other_kind_come_in_a_row(checks, healthy_after, unhealthy_after):
    states = history(checks, healthy_after=healthy_after, unhealthy_after=unhealthy_after)
    before = "h"
    for index, state in enumerate(states):
        needed = "+" * healthy_after if before == "u" else "-" * unhealthy_after
        assert (state != before) == checks[: index + 1].endswith(needed)
        before = state


def test_its_status_is_the_last_check():
    health = Health()
    assert health.status(5.0) == {"healthy": True, "in_a_row": 0, "why": None, "ago": None}
    health.record("status 503", 10.0)
    health.record("ReadTimeout", 12.0)
    assert health.status(15.0) == {"healthy": True, "in_a_row": 2, "why": "ReadTimeout", "ago": 3.0}
    health.record("", 16.0)
    assert health.status(16.0) == {"healthy": True, "in_a_row": 1, "why": None, "ago": 0.0}


# What it does to the endpoints


def endpoints_of(count: int, **facts) -> tuple[list[Endpoint], Endpoints]:
    members = [Endpoint("http", f"n{number}", 80) for number in range(count)]
    return members, Endpoints(members, **facts)


def test_an_unhealthy_one_is_left_alone_until_it_is_healthy_and_then_starts_slowly():
    members, endpoints = endpoints_of(3, slow_start=10.0)
    endpoints.note_health(members[0], 5.0, healthy=False)
    assert members[0] not in {endpoints.choose(1000.0, random.Random(seed))[0] for seed in range(50)}
    endpoints.note_health(members[0], 1000.0, healthy=True)
    assert members[0].since == 1000.0
    assert endpoints.ejections.out(1000.0) == set()


def test_one_that_was_never_left_alone_does_not_start_slowly():
    members, endpoints = endpoints_of(3)
    for member in members[:2]:
        endpoints.note_health(member, 5.0, healthy=False)
    endpoints.note_health(members[1], 10.0, healthy=True)
    assert members[1].since == -math.inf


def test_an_unhealthy_one_is_used_when_the_others_refuse():
    members, endpoints = endpoints_of(2)
    endpoints.note_health(members[0], 5.0, healthy=False)
    assert endpoints.choose(5.0, random.Random(1), [members[1]])[0] is members[1]
    assert not endpoints.has_untried([members[1]], 5.0)


# Rounds


def test_the_first_check_comes_within_a_second_and_none_while_one_is_under_way():
    rounds: Rounds[str] = Rounds(random.Random(1))
    rounds.keep({"a": 30.0}, 100.0)
    taken, wait = rounds.take(100.0)
    assert (taken, 0.0 < wait <= 1.0) == ([], True)
    assert rounds.take(101.0) == (["a"], math.inf)
    assert rounds.take(1000.0)[0] == []
    assert rounds.done("a")
    assert rounds.take(1000.0)[0] == ["a"]


def test_they_come_every_interval_give_or_take_a_fifth():
    rounds: Rounds[str] = Rounds(random.Random(1))
    rounds.keep({"a": 30.0}, 0.0)
    now, instants = 0.0, []
    while len(instants) < 200:
        taken, wait = rounds.take(now)
        instants += [now] * len(taken)
        for member in taken:
            rounds.done(member)
        now += min(wait, 1.0) if not taken else 0.0
    gaps = [later - earlier for earlier, later in pairwise(instants[1:])]
    assert 24.0 <= min(gaps) < 26.0
    assert 34.0 < max(gaps) <= 37.0


def test_those_of_many_are_spread_over_the_interval():
    rounds: Rounds[int] = Rounds(random.Random(1))
    rounds.keep(dict.fromkeys(range(300), 30.0), 0.0)
    counts = []
    for second in range(1, 121):
        count = 0
        while taken := rounds.take(float(second))[0]:
            count += len(taken)
            for member in taken:
                assert rounds.done(member)
        counts.append(count)
    assert counts[0] == 300
    assert max(counts[1:]) < 30  # 10 on average


def test_so_many_are_under_way_at_most_and_who_waits_for_longest_goes_first():
    rounds: Rounds[int] = Rounds(random.Random(1))
    rounds.keep(dict.fromkeys(range(MOST + 8), 30.0), 0.0)
    first, wait = rounds.take(2.0)
    assert (len(first), wait) == (MOST, math.inf)
    for member in first[:10]:
        rounds.done(member)
    second, _ = rounds.take(1000.0)  # by then the first are due once more
    assert set(second[:8]) == set(range(MOST + 8)) - set(first)
    assert len(second) == 10


def test_who_is_gone_is_not_checked_and_its_check_counts_no_more():
    rounds: Rounds[str] = Rounds(random.Random(1))
    rounds.keep({"a": 30.0, "b": 30.0}, 0.0)
    assert set(rounds.take(1.0)[0]) == {"a", "b"}
    rounds.keep({"b": 30.0, "c": 30.0}, 2.0)
    assert not rounds.done("a")
    assert rounds.done("b")
    assert not rounds.done("b")
    assert rounds.take(3.0)[0] == ["c"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["keep", "take", "done"]), st.integers(0, 60), st.floats(0.0, 20.0)), max_size=80
    )
)
def test_whatever_happens_nobody_is_checked_twice_at_once_and_so_many_at_most(steps):
    rounds: Rounds[int] = Rounds(random.Random(1))
    known: set[int] = set()
    under_way: set[int] = set()
    now = 0.0
    for step, number, seconds in steps:
        now += seconds
        if step == "keep":
            known = set(range(number, number + 45))
            rounds.keep(dict.fromkeys(known, 5.0), now)
            under_way &= known
        elif step == "take":
            taken, wait = rounds.take(now)
            assert not under_way & set(taken)
            under_way |= set(taken)
            assert under_way <= known
            assert len(under_way) <= MOST
            assert wait >= 0.0
        else:
            assert rounds.done(number) is (number in under_way)
            under_way.discard(number)
