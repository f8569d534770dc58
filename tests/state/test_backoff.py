from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.state.backoff import Backoff

seeds = st.integers(0, 10**6).map(random.Random)


@given(repeat=st.integers(1, 10_000), rng=seeds)
def test_a_failure_waits_between_nothing_and_the_doubled_base(repeat, rng):
    assert 0 <= Backoff().next_delay(repeat, rng) <= min(5.0, 0.1 * 2 ** min(repeat - 1, 10))


@given(repeat=st.integers(1, 10_000), rng=seeds)
def test_a_throttled_call_waits_at_least_half_of_its_longer_base(repeat, rng):
    ceiling = min(5.0, 0.5 * 2 ** min(repeat - 1, 10))
    assert ceiling / 2 <= Backoff().next_delay(repeat, rng, throttled=True) <= ceiling


@given(asked=st.floats(0, 1000), repeat=st.integers(1, 10), throttled=st.booleans(), rng=seeds)
def test_retry_after_rules_and_gets_up_to_a_fifth_on_top(asked, repeat, throttled, rng):
    delay = Backoff().next_delay(repeat, rng, throttled=throttled, retry_after=asked)
    assert asked <= delay <= asked * 1.2


def test_an_endpoint_that_says_now_is_called_now():
    assert Backoff().next_delay(3, random.Random(1), retry_after=0.0) == 0.0


@pytest.mark.parametrize("how", [{}, {"throttled": True}, {"retry_after": 2.0}])
def test_callers_do_not_come_back_in_step(how):
    rng = random.Random(1)
    delays = [Backoff().next_delay(1, rng, **how) for _ in range(1000)]
    assert len(set(delays)) == 1000
    shortest, longest = min(delays), max(delays)
    whole = {"throttled": (0.25, 0.5), "retry_after": (2.0, 2.4)}.get(*how or ("",), (0.0, 0.1))
    # The whole range is used, evenly.
    assert shortest - whole[0] < 0.01 * (whole[1] - whole[0])
    assert whole[1] - longest < 0.01 * (whole[1] - whole[0])
    assert sum(delays) / 1000 == pytest.approx(sum(whole) / 2, rel=0.05)


def test_each_repeat_may_wait_twice_as_long_up_to_the_cap():
    class Longest(random.Random):
        def uniform(self, low, high):
            return high

    delays = [Backoff(base=0.1, cap=1.0).next_delay(repeat, Longest()) for repeat in range(1, 7)]
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


@given(repeat=st.integers(1, 10_000), rng=seeds)
def test_each_jitter_keeps_to_its_range(repeat, rng):
    ceiling = min(5.0, 0.1 * 2 ** min(repeat - 1, 10))
    assert ceiling / 2 <= Backoff(jitter="equal").next_delay(repeat, rng) <= ceiling
    assert Backoff(jitter="constant").next_delay(repeat, rng) == 0.1
    assert Backoff(jitter="none").next_delay(repeat, rng) == ceiling


@given(repeat=st.integers(1, 100), throttled=st.booleans(), rng=seeds)
def test_elsewhere_a_share_of_the_unthrottled_wait_is_waited(repeat, throttled, rng):
    ceiling = 0.25 * min(5.0, 0.1 * 2 ** min(repeat - 1, 10))
    assert 0 <= Backoff().next_delay(repeat, rng, throttled=throttled, elsewhere=True) <= ceiling
