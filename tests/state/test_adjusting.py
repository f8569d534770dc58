"""State goes by other numbers while it is in use, and forgets nothing that it knows."""

from __future__ import annotations

import random

import pytest

from resilient_http.state.adaptive_limit import AdaptiveLimit
from resilient_http.state.concurrency import ConcurrencyLimit
from resilient_http.state.diagnosis import CircuitRules
from resilient_http.state.ejections import Ejections
from resilient_http.state.leased_bucket import LeasedBucket
from resilient_http.state.outcome import Outcome
from resilient_http.state.response_memory import ResponseMemory
from resilient_http.state.retry_budget import RetryBudget
from resilient_http.state.token_bucket import TokenBucket
from resilient_http.state.window import Window
from tests.state.circuits import circuit_of, feed


def test_a_budget_keeps_its_tokens_and_fills_as_it_is_told():
    budget = RetryBudget(0.2, 0.0)
    assert budget.withdraw(0.0)
    budget.adjust(0.5, 1.0)
    assert budget.tokens(0.0) == 2.0
    budget.deposit(0.0)
    assert budget.tokens(0.0) == 2.5
    assert budget.tokens(0.4) == pytest.approx(2.9)


def test_a_deposit_is_worth_what_it_was_when_it_was_made():
    budget = RetryBudget(0.5, 0.0)
    assert budget.withdraw(0.0)
    budget.deposit(0.0)
    budget.adjust(0.0, 0.0)
    assert budget.tokens(0.0) == 2.5


def test_a_budget_of_nothing_lets_nothing_through_once_it_is_spent():
    budget = RetryBudget(0.2, 1.0)
    budget.adjust(0.0, 0.0)
    assert [budget.withdraw(100.0) for _ in range(4)] == [True, True, True, False]
    assert not budget.withdraw(1000.0)


def test_a_lower_limit_takes_no_permit_away_and_gives_none_until_it_is_kept():
    limit = ConcurrencyLimit(3, 10)
    assert [limit.admit() for _ in range(3)] == [True] * 3
    limit.adjust(1, 0, shed_at=0.5, reserve=0.0)
    assert limit.in_flight == 3
    limit.release()
    limit.release()
    assert not limit.admit()
    assert limit.join_queue(lambda: None) is None
    limit.release()
    assert limit.admit()


def test_a_higher_limit_lets_those_in_who_wait():
    woken = []
    limit = ConcurrencyLimit(1, 10)
    limit.admit()
    tickets = [limit.join_queue(lambda number=number: woken.append(number)) for number in range(3)]
    limit.adjust(3, 10, shed_at=0.75, reserve=0.0)
    assert woken == [0, 1]
    assert [ticket.granted for ticket in tickets] == [True, True, False]


def test_an_adaptive_limit_stays_where_it_is_within_its_bounds():
    limit = AdaptiveLimit(1, 100, 10, tolerance=1.2, backoff=0.9)
    limit.adjust(1, 100, 50, tolerance=2.0, backoff=0.5)
    assert limit.limit == 10
    limit.adjust(20, 100, 50, tolerance=2.0, backoff=0.5)
    assert limit.limit == 20
    limit.adjust(1, 5, 50, tolerance=2.0, backoff=0.5)
    assert limit.limit == 5


@pytest.mark.parametrize(("rate", "burst", "wait"), [(100.0, 10.0, 0.01), (1.0, 10.0, 1.0)])
def test_a_rate_drips_as_it_is_told_into_what_is_there(rate, burst, wait):
    bucket = TokenBucket(10.0, 10.0)
    assert [bucket.reserve(0.0) for _ in range(10)] == [0.0] * 10
    bucket.adjust(rate, burst)
    assert bucket.reserve(0.0) == pytest.approx(wait)


def test_a_smaller_burst_keeps_no_more_than_it_holds():
    bucket = TokenBucket(10.0, 10.0)
    bucket.adjust(10.0, 2.0)
    assert bucket.tokens(0.0) == 2.0


def test_a_leased_bucket_keeps_what_is_leased():
    bucket = LeasedBucket(10.0, 10.0)
    bucket.adjust(20.0, 5.0)
    assert (bucket.rate, bucket.burst) == (20.0, 5.0)


def test_a_window_keeps_the_newest():
    window = Window(4, 100.0)
    for at, failed in enumerate([True, True, False, False]):
        window.add(at, failed)
    window.adjust(3, 100.0)
    assert window.count(4.0) == (3, 1, 0)
    window.adjust(10, 1.5)
    assert window.count(4.0) == (1, 0, 0)


def test_a_memory_drops_what_is_too_much():
    memory = ResponseMemory(10, 10_000)
    for key in "abc":
        memory.set(key, (), 0.0, 100.0)
    memory.adjust(2, 10_000)
    assert [memory.as_dict()["entries"], memory.get("a", 0.0)] == [2, ()]


def test_a_circuit_keeps_what_it_has_counted():
    circuit = circuit_of(streak=10, quiet_streak=10)
    feed(circuit, "FFFF")
    circuit.adjust(CircuitRules(streak=5, quiet_streak=5))
    assert circuit.closed
    feed(circuit, "F")
    assert circuit.current_state == "open"
    assert circuit.fail_max == 5


def test_an_open_circuit_stays_open_for_as_long_as_it_was_told_and_the_next_time_for_as_long_as_it_is_told_now():
    circuit = circuit_of(streak=1, quiet_streak=1, open_for=5.0, jitter=0.0)
    feed(circuit, "F")
    circuit.adjust(CircuitRules(streak=1, quiet_streak=1, open_for=1.0, max_open_for=2.0, jitter=0.0, successes=1))
    assert circuit.retry_in(0.0) == 5.0
    probe = circuit.acquire(5.0)
    circuit.record(probe, Outcome.FAILURE, 5.0)
    assert circuit.retry_in(5.0) == 2.0
    circuit.record(circuit.acquire(7.0), Outcome.SUCCESS, 7.0)
    assert circuit.closed


def test_a_circuit_that_never_opened_opens_for_as_long_as_it_is_told_now():
    circuit = circuit_of(streak=1, quiet_streak=1, open_for=5.0, jitter=0.0)
    circuit.adjust(CircuitRules(streak=1, quiet_streak=1, open_for=1.0, jitter=0.0))
    feed(circuit, "F")
    assert circuit.retry_in(0.0) == 1.0


def test_a_permit_that_was_given_before_counts():
    circuit = circuit_of(streak=2, quiet_streak=2)
    permit = circuit.acquire(0.0)
    feed(circuit, "F")
    circuit.adjust(CircuitRules(streak=2, quiet_streak=2))
    circuit.record(permit, Outcome.FAILURE, 0.0)
    assert circuit.current_state == "open"


def test_a_circuit_held_by_hand_stays_so():
    circuit = circuit_of()
    circuit.force_open()
    circuit.adjust(CircuitRules())
    assert circuit.mode == "forced open"


def test_another_panic_share_is_in_force_at_once():
    told = []
    ejections: Ejections[str] = Ejections(panic=1.0)
    ejections.on_panic = lambda begins, *_: told.append(begins)
    ejections.keep("abcd")
    for member in "abc":
        ejections.eject(member, "unhealthy", 0.0)
    ejections.adjust(0.5, 0.0)
    assert (ejections.out(0.0), told) == (set(), [True])
    ejections.adjust(0.9, 0.0)
    assert (ejections.out(0.0), told) == ({"a", "b"}, [True, False])


def test_the_numbers_may_change_at_any_moment_of_a_circuits_life():
    rng = random.Random(1)
    circuit = circuit_of()
    permits, now = [], 0.0
    for _ in range(5000):
        now += rng.random()
        if rng.random() < 0.05:
            circuit.adjust(
                CircuitRules(window=rng.randint(20, 200), streak=rng.randint(1, 20), open_for=rng.random() + 0.1)
            )
        if (permit := circuit.acquire(now)) is not None:
            permits.append(permit)
        if permits and rng.random() < 0.7:
            outcome = rng.choice([Outcome.SUCCESS, Outcome.FAILURE, Outcome.NEUTRAL])
            circuit.record(permits.pop(rng.randrange(len(permits))), outcome, now)
        retry_in = circuit.retry_in(now)
        assert retry_in is not None
        assert 0.0 <= retry_in <= 60.0 * 1.2
