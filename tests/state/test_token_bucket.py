from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.state.token_bucket import TokenBucket


def test_a_burst_goes_at_once_and_the_next_is_told_when():
    bucket = TokenBucket(rate=10, burst=3)
    assert [bucket.reserve(0.0) for _ in range(3)] == [0.0] * 3
    assert bucket.reserve(0.0) == pytest.approx(0.1)
    assert bucket.tokens(0.0) == 0.0


def test_tokens_drip_in_and_never_above_the_burst():
    bucket = TokenBucket(rate=10, burst=3)
    for _ in range(3):
        bucket.reserve(0.0)
    assert bucket.tokens(0.25) == pytest.approx(2.5)
    assert bucket.tokens(60.0) == 3.0


def test_who_waits_has_a_turn_of_his_own():
    bucket = TokenBucket(rate=10, burst=1)
    waits = [bucket.reserve(0.0, patience=1.0) for _ in range(4)]
    assert waits == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert bucket.tokens(0.3) == pytest.approx(0.0)


def test_who_will_not_wait_so_long_takes_nothing():
    bucket = TokenBucket(rate=10, burst=1)
    bucket.reserve(0.0)
    assert bucket.reserve(0.0, patience=0.05) == pytest.approx(0.1)
    assert bucket.reserve(0.0, patience=0.2) == pytest.approx(0.1)


def test_an_unused_token_goes_back_and_never_above_the_burst():
    bucket = TokenBucket(rate=10, burst=1)
    bucket.reserve(0.0)
    bucket.refund()
    bucket.refund()
    assert bucket.tokens(0.0) == 1.0


def test_a_thread_that_comes_late_with_its_time_changes_nothing():
    bucket = TokenBucket(rate=10, burst=10)
    bucket.reserve(5.0)
    assert bucket.tokens(1.0) == 9.0
    assert bucket.tokens(5.05) == pytest.approx(9.5)


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 2), max_size=100),
    patience=st.floats(0, 1),
)
def test_no_more_than_the_rate_and_the_burst_ever_go(rate, burst, gaps, patience):
    bucket, now, went = TokenBucket(rate, burst), 0.0, []
    for gap in gaps:
        now += gap
        wait = bucket.reserve(now, patience)
        if wait <= patience:
            went.append(now + wait)
    for first in range(len(went)):
        for last in range(first, len(went)):
            assert last - first + 1 <= burst + rate * (went[last] - went[first]) + 1e-6
