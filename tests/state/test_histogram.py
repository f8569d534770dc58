"""A histogram: quantiles are exact to a bucket, and histograms add up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.state.histogram import Histogram

seconds = st.lists(st.floats(2e-4, 1e4), min_size=1, max_size=200)


def histogram(values):
    made = Histogram()
    for value in values:
        made.add(value)
    return made


@given(seconds, st.floats(0.01, 1.0))
def test_a_quantile_is_exact_to_a_bucket(values, share):
    exact = sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]
    assert exact / 1.0001 <= histogram(values).quantile(share) <= exact * 2 ** (1 / 16) * 1.0001


@given(seconds, seconds)
def test_the_sum_is_that_of_all(one, other):
    total = Histogram.of([histogram(one), histogram(other)])
    whole = histogram(one + other)
    assert [total.quantile(share) for share in (0.1, 0.5, 1.0)] == [whole.quantile(share) for share in (0.1, 0.5, 1.0)]


def test_nothing_is_no_quantile_and_the_longest_is_the_last():
    assert Histogram().quantile(0.5) is None
    assert histogram([0.0, 1.0]).quantile(0.5) == pytest.approx(1e-4)
    assert histogram([0.0, 1.0]).quantile(1.0) == 1.0
