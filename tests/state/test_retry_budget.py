from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.state.retry_budget import LEAST, RetryBudget


def outage(budget, *, rate, seconds, start=0.0, attempts=3):
    """Requests that are sent when every call fails and wants `attempts`; returns (calls, requests)."""
    calls = int(rate * seconds)
    requests = 0
    for i in range(calls):
        now = start + i / rate
        budget.deposit(now)
        requests += 1
        for _ in range(attempts - 1):
            if not budget.withdraw(now):
                break
            requests += 1
    return calls, requests


def test_in_an_outage_of_ten_seconds_each_call_costs_at_most_a_quarter_more():
    calls, requests = outage(RetryBudget(0.2, 0.3), rate=100, seconds=10)
    assert 1.15 * calls < requests <= 1.25 * calls


def test_a_quiet_hour_saves_nothing_up():
    budget = RetryBudget(0.2, 0.3)
    budget.deposit(0.0)
    calls, requests = outage(budget, rate=100, seconds=10, start=3600.0)
    assert requests <= 1.25 * calls


def test_a_busy_hour_without_a_failure_saves_one_second_up():
    budget = RetryBudget(0.2, 0.3)
    for i in range(100 * 3600):
        budget.deposit(i / 100)
    assert budget.tokens(3600.0) == pytest.approx(20.0, abs=1.0)


def test_a_caller_of_one_call_in_five_seconds_may_always_repeat():
    budget = RetryBudget(0.2, 0.3)
    for i in range(1000):
        budget.deposit(i * 5.0)
        assert budget.withdraw(i * 5.0), i


def test_the_first_call_of_a_process_may_repeat():
    budget = RetryBudget(0.2, 0.3)
    budget.deposit(1234.5)
    assert [budget.withdraw(1234.5) for _ in range(4)] == [True, True, True, False]


def test_what_was_refunded_can_be_withdrawn_again():
    budget = RetryBudget(0.0, 0.0)
    while budget.withdraw(1.0):
        pass
    assert not budget.withdraw(1.0)
    budget.refund()
    assert budget.withdraw(1.0)
    assert not budget.withdraw(1.0)


def test_refunds_do_not_overfill_the_bucket():
    budget = RetryBudget(0.2, 0.3)
    for _ in range(100):
        budget.refund()
    assert budget.tokens(0.0) == LEAST


def test_the_floor_drips_whatever_the_traffic():
    budget = RetryBudget(0.0, 0.3)
    while budget.withdraw(10.0):
        pass
    assert not budget.withdraw(13.3)
    assert budget.withdraw(13.4)


def test_what_has_dripped_is_told():
    budget = RetryBudget(0.0, 0.5)
    while budget.withdraw(10.0):
        pass
    assert budget.tokens(12.0) == 1.0
    assert budget.tokens(3600.0) == LEAST


def test_five_first_attempts_pay_for_one_repeat():
    budget = RetryBudget(0.25, 0.0)
    while budget.withdraw(10.0):
        pass
    for _ in range(3):
        budget.deposit(10.0)
    assert not budget.withdraw(10.0)
    budget.deposit(10.0)
    assert budget.withdraw(10.0)


def test_threads_that_read_the_clock_in_another_order_cost_no_tokens():
    budget = RetryBudget(0.2, 0.0)
    for _ in range(100):
        budget.deposit(9.5)
    budget.deposit(10.0)
    full = budget.tokens(10.0)
    assert full > 19
    budget.deposit(9.999)  # its thread was put to sleep between reading the clock and coming here
    assert budget.tokens(10.0) >= full


steps = st.lists(st.tuples(st.sampled_from(["deposit", "withdraw"]), st.floats(0, 3)), max_size=200)


@given(ratio=st.floats(0, 1), floor=st.floats(0, 5), steps=steps)
def test_repeats_never_exceed_the_ratio_the_floor_and_what_the_bucket_held(ratio, floor, steps):
    budget, now, deposits, repeats = RetryBudget(ratio, floor), 0.0, 0, 0
    for step, pause in steps:
        now += pause
        if step == "deposit":
            budget.deposit(now)
            deposits += 1
        else:
            repeats += budget.withdraw(now)
    assert repeats <= LEAST + ratio * deposits + floor * now + 1e-6
    assert budget.tokens(now) >= 0


@given(ratio=st.floats(0, 1), floor=st.floats(0, 5), steps=steps)
def test_the_bucket_never_holds_more_than_the_deposits_of_two_neighbouring_seconds(ratio, floor, steps):
    budget, now, deposits = RetryBudget(ratio, floor), 0.0, []
    for step, pause in steps:
        now += pause
        if step == "deposit":
            budget.deposit(now)
            deposits.append(now)
        else:
            budget.withdraw(now)
        recent = sum(int(at) >= int(now) - 1 for at in deposits)
        assert budget.tokens(now) <= max(LEAST, ratio * recent) + 1e-6
