from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.state.leased_bucket import Answer, Ask, LeasedBucket, LeaseRules
from tests.state.leases import SharedBucket


def leased(*, rate=10.0, burst=10.0, granted=3, **answer) -> LeasedBucket:
    """One that has just had its first answer, at 0.0."""
    bucket = LeasedBucket(rate, burst)
    bucket.answer(bucket.ask(0.0), Answer(granted, **answer), 0.0)
    return bucket


def test_what_was_leased_goes_at_once_and_the_next_is_told_when():
    bucket = leased(granted=3)
    assert [bucket.reserve(0.0) for _ in range(3)] == [0.0] * 3
    assert bucket.reserve(0.0) == pytest.approx(0.1)
    assert bucket.tokens(0.0) == 0.0


def test_the_very_first_call_goes_before_anything_was_leased_and_is_told():
    bucket = LeasedBucket(10.0, 10.0)
    assert bucket.reserve(0.0) == 0.0
    assert bucket.reserve(0.0) > 0
    ask = bucket.ask(0.0)
    assert (ask.spent, ask.known) == (1, False)
    bucket.answer(ask, Answer(0), 0.0)
    assert bucket.reserve(0.0) > 0  # once
    assert bucket.ask(0.1).spent == 0


def test_without_calls_it_holds_what_it_may_need_at_once():
    assert LeasedBucket(10.0, 10.0).ask(0.0).want == 1  # it knows nobody yet
    assert leased(granted=1, processes=1).ask(0.25).want == 4  # 10 / 2
    assert leased(processes=3).ask(0.25) == Ask(held=1, back=2, want=0, known=True)  # 10 / (2 * 3)


def test_while_others_go_short_it_holds_two():
    bucket = leased(granted=4, processes=2, claimants=1)
    assert bucket.ask(0.25) == Ask(held=2, back=2, want=0, known=True)


def test_where_the_burst_is_too_small_for_all_it_holds_none_while_others_go_short():
    assert leased(burst=3.0, granted=1, processes=2, claimants=1).ask(0.25).back == 1


def test_it_asks_for_what_it_lately_used():
    bucket, now = leased(rate=100.0, burst=100.0, granted=50, processes=10), 0.0
    for _ in range(40):
        for _ in range(5):
            bucket.reserve(now)
        now += 0.25
        ask = bucket.ask(now)
        bucket.answer(ask, Answer(ask.want, processes=10), now)
    assert bucket.tokens(now) == pytest.approx(10, abs=1)  # 20 a second, for two intervals
    for _ in range(20):
        now += 0.25
        bucket.answer(bucket.ask(now), Answer(0, processes=10), now)
    assert bucket.tokens(now) == 5  # 100 / (2 * 10)


def test_it_says_that_it_runs_short_once_and_not_too_often():
    bucket, told = leased(granted=1), []
    bucket.on_need = lambda: told.append(1)
    bucket.reserve(0.01)
    bucket.reserve(0.04)
    assert told == []  # it has just asked
    bucket.reserve(0.05)
    bucket.reserve(0.06)
    assert told == [1]
    bucket.answer(bucket.ask(0.06), Answer(0), 0.06)
    bucket.reserve(0.12)
    assert told == [1, 1]


def test_who_waits_is_before_who_comes():
    bucket = leased(granted=0)
    wait = bucket.reserve(0.0, patience=1.0)
    assert 0 < wait <= 0.2
    bucket.answer(bucket.ask(0.05), Answer(1), 0.05)
    assert bucket.reserve(0.06) > 0
    assert bucket.collect(0.1) == 0.0
    assert bucket.tokens(0.1) == 0.0


def test_who_waits_is_asked_for_and_one_that_leaves_no_more():
    bucket = leased(granted=0, rate=4.0, burst=4.0, processes=4)
    for _ in range(3):
        bucket.reserve(0.0, patience=5.0)
    assert bucket.collect(0.01) > 0
    assert bucket.ask(0.05).want >= 3
    for _ in range(3):
        bucket.leave()
    assert bucket.tokens(0.1) == 0.0


def test_who_will_not_wait_so_long_has_no_turn():
    bucket = leased(granted=0)
    bucket.reserve(0.0, patience=0.001)
    assert bucket.tokens(0.0) == 0.0


def test_an_unused_token_is_there_again():
    bucket = leased(granted=1)
    bucket.reserve(0.0)
    bucket.refund()
    assert bucket.reserve(0.0) == 0.0


def test_a_token_that_no_longer_counts_as_held_goes_back_instead():
    bucket = leased(granted=1)
    bucket.reserve(0.0)
    bucket.ask(0.1)
    bucket.refund()
    assert bucket.tokens(0.1) == 0.0
    assert bucket.ask(0.2).back == 1


def test_without_an_answer_for_two_intervals_it_goes_on_with_its_share():
    bucket = leased(rate=30.0, burst=30.0, granted=0, processes=3)
    assert bucket.reserve(0.4) > 0
    assert bucket.reserve(0.5) == pytest.approx(0.1)  # 10 a second
    assert bucket.alone
    assert bucket.tokens(1.0) == pytest.approx(5.0)
    assert bucket.tokens(60.0) == 10.0


def test_what_it_took_alone_is_told_when_it_is_back_and_what_dripped_is_gone():
    bucket = leased(rate=30.0, burst=30.0, granted=0, processes=3)
    bucket.tokens(0.5)
    assert [bucket.reserve(1.0) for _ in range(4)] == [0.0] * 4
    lost = bucket.ask(1.0)
    assert (lost.spent, lost.held, lost.known, lost.crowd) == (4, 0, True, 3)
    assert bucket.reserve(1.0) == 0.0  # there was no answer
    ask = bucket.ask(1.1)
    assert ask.spent == 5
    bucket.refund()
    bucket.answer(ask, Answer(2, processes=1), 1.1)
    assert not bucket.alone
    assert bucket.tokens(1.1) == 2
    assert bucket.ask(1.2).spent == 0


def test_what_it_took_alone_while_it_asked_is_told_the_next_time():
    bucket = leased(rate=30.0, burst=30.0, granted=0, processes=3)
    bucket.tokens(0.5)
    ask = bucket.ask(1.0)
    assert bucket.reserve(1.0) == 0.0
    bucket.answer(ask, Answer(0), 1.0)
    assert bucket.ask(1.1).spent == 1


def test_who_never_had_an_answer_goes_on_with_all_of_the_rate():
    bucket = LeasedBucket(10.0, 4.0, LeaseRules(expires=2.0))
    assert bucket.reserve(0.0) == 0.0
    assert bucket.reserve(1.9) > 0
    assert [bucket.reserve(2.0) for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(0.1)]


def test_one_that_is_told_that_there_is_nobody_does_not_wait_for_that():
    bucket = leased(granted=0, processes=2)
    bucket.go_alone()
    assert bucket.reserve(0.1) == pytest.approx(0.2)
    assert bucket.alone


def test_a_thread_that_comes_late_with_its_time_changes_nothing():
    bucket = leased(granted=0, processes=2)
    bucket.tokens(0.5)
    bucket.tokens(1.0)
    before = bucket.tokens(1.0)
    assert bucket.tokens(0.2) == before


class Fleet:
    """Processes that share one bucket, on a clock of its own."""

    def __init__(self, rate, burst, processes, seed=1):
        self.rng = random.Random(seed)
        self.shared = SharedBucket(rate, burst)
        self.buckets = {str(number): LeasedBucket(rate, burst) for number in range(processes)}
        self.due = dict.fromkeys(self.buckets, 0.0)
        self.hurried = set()
        for name, bucket in self.buckets.items():
            bucket.on_need = lambda name=name: self.hurried.add(name)
        self.went = []
        self.now = 0.0

    def call(self, name):
        went = self.buckets[name].reserve(self.now) == 0
        if went:
            self.went.append((self.now, name))
        return went

    def exchange(self, name, *, heard=True):
        bucket, asked = self.buckets[name], self.now
        ask = bucket.ask(asked)
        answer = self.shared.lease(name, ask, asked)
        if heard:
            bucket.answer(ask, answer, asked)

    def run(self, until, demand, *, step=0.005, away=()):
        """Calls a second of each, in steps; asks each interval, and at once when one runs short."""
        while self.now < until:
            self.now += step
            for name in self.buckets:
                for _ in range(self._calls(demand[name] * step)):
                    self.call(name)
            for name in self.buckets:
                if name not in away and (self.now >= self.due[name] or name in self.hurried):
                    self.hurried.discard(name)
                    self.exchange(name)
                    self.due[name] = self.now + 0.25 * self.rng.uniform(0.9, 1.1)

    def _calls(self, mean):
        whole = int(mean)
        return whole + (self.rng.random() < mean - whole)

    def of(self, name):
        return sum(by == name for _, by in self.went)

    def bounded(self, extra=0):
        rate, burst = self.shared.rate, self.shared.burst
        worst = -math.inf
        lead = -math.inf  # of the best first: it is the worst span that is looked for
        for number, (at, _) in enumerate(self.went):
            lead = max(lead, rate * at - number)
            worst = max(worst, number + 1 - rate * at + lead)
        return worst <= burst + extra + 1e-6


@pytest.mark.parametrize(
    ("rate", "burst", "used"),
    [(100.0, 100.0, 0.95), (20.0, 5.0, 0.9), (3.0, 8.0, 0.9), (5.0, 1.0, 0.6)],  # 1: it lies with somebody, or with all
)
def test_under_full_demand_nearly_all_is_used_and_by_all_alike(rate, burst, used):
    fleet = Fleet(rate, burst, 3)
    fleet.run(20.0, dict.fromkeys(fleet.buckets, 10 * rate))
    assert len(fleet.went) >= used * 20 * rate
    assert fleet.bounded(extra=2)  # the first calls of those that begin while another has leased all
    parts = [fleet.of(name) for name in fleet.buckets]
    assert min(parts) >= 0.75 * max(parts)


def test_the_busy_one_has_what_the_idle_ones_leave():
    fleet = Fleet(100.0, 100.0, 3)
    fleet.run(10.0, {"0": 300.0, "1": 0.2, "2": 0.2})
    assert fleet.of("0") >= 0.9 * 1000
    assert fleet.bounded()


def test_the_rare_call_of_an_idle_one_goes_beside_a_busy_one():
    fleet = Fleet(50.0, 20.0, 3)
    refused = 0
    for second in range(1, 21):
        fleet.run(float(second), {"0": 500.0, "1": 0.0, "2": 0.0})
        refused += not fleet.call("1")
    assert refused == 0


def test_one_that_died_takes_nothing_with_it_for_long():
    fleet = Fleet(50.0, 50.0, 3)
    fleet.run(2.0, dict.fromkeys(fleet.buckets, 100.0))
    before = len(fleet.went)
    del fleet.buckets["0"]
    fleet.run(6.0, dict.fromkeys(fleet.buckets, 100.0))
    assert len(fleet.went) - before >= 0.9 * 4 * 50


@pytest.mark.parametrize("forgets", [False, True])
def test_through_an_outage_of_redis_the_rate_holds(forgets):
    fleet = Fleet(60.0, 60.0, 3)
    demand = dict.fromkeys(fleet.buckets, 100.0)
    fleet.run(3.0, demand)
    fleet.run(10.0, demand, away=set(fleet.buckets))
    assert all(bucket.alone for bucket in fleet.buckets.values())
    if forgets:
        fleet.shared.forget()
    fleet.run(12.0, demand, away={"1", "2"})  # they are not back yet
    fleet.run(20.0, demand)
    assert not any(bucket.alone for bucket in fleet.buckets.values())
    assert fleet.bounded()
    assert len(fleet.went) >= 0.85 * 20 * 60


@given(
    rate=st.floats(1, 200),
    burst=st.integers(1, 60),
    processes=st.integers(1, 4),
    moves=st.lists(
        st.tuples(
            st.sampled_from(["call", "call", "call", "ask", "ask", "lost", "refund", "dies"]),
            st.integers(0, 3),
            st.floats(0, 0.4),
        ),
        max_size=120,
    ),
)
def test_all_together_never_send_more_than_the_rate_and_the_burst(rate, burst, processes, moves):
    fleet = Fleet(rate, float(burst), processes)
    taken = dict.fromkeys(fleet.buckets, 0)
    for kind, number, gap in moves:
        name = str(number % processes)
        if name not in fleet.buckets:
            continue
        fleet.now += gap
        for other in fleet.buckets:  # so that nobody is alone
            if fleet.now - fleet.due[other] >= 0.25:
                fleet.exchange(other)
                fleet.due[other] = fleet.now
        match kind:
            case "call":
                taken[name] += fleet.call(name)
            case "ask" | "lost":
                fleet.exchange(name, heard=kind == "ask")
                fleet.due[name] = fleet.now - 0.125 * (kind == "lost")
            case "refund" if taken[name] and fleet.went[-1][1] == name:
                fleet.went.pop()  # it was not sent
                taken[name] -= 1
                fleet.buckets[name].refund()
            case "dies" if len(fleet.buckets) > 1:
                del fleet.buckets[name]
    assert fleet.bounded(extra=processes)  # what each borrowed for its first call
