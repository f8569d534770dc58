from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.state.latency import Latency

BUCKET = 2 ** (1 / 8)


def recorded(durations):
    latency = Latency()
    for seconds in durations:
        latency.record(seconds)
    return latency


def test_nothing_is_known_before_sixteen_attempts():
    latency = recorded([0.1] * 15)
    assert latency.quantile(0.5) is None
    latency.record(0.1)
    assert latency.quantile(0.5) == pytest.approx(0.1, rel=0.1)


@given(
    durations=st.lists(st.floats(1e-4, 380.0), min_size=16, max_size=300),
    share=st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.99, 1.0]),
)
def test_a_quantile_is_exact_to_one_bucket(durations, share):
    exact = sorted(durations)[max(0, math.ceil(share * len(durations)) - 1)]
    told = recorded(durations).quantile(share)
    assert exact * 0.9999 <= told <= exact * BUCKET * 1.0001


def test_durations_beyond_the_scale_are_told_as_its_ends():
    assert recorded([0.0] * 16).quantile(0.5) == pytest.approx(1e-4)
    assert recorded([-1.0] * 16).quantile(0.5) == pytest.approx(1e-4)
    assert 380 < recorded([1e6] * 16).quantile(0.5) < 430


def test_a_change_is_seen_after_sixteen_records_at_the_latest():
    latency = recorded([0.01] * 16)
    assert latency.quantile(1.0) < 0.02
    for _ in range(16):
        latency.record(1.0)
    assert latency.quantile(1.0) > 0.9


def test_old_samples_fade():
    latency = recorded([0.01] * 5000)
    for _ in range(1100):
        latency.record(1.0)
    assert latency.quantile(0.5) == pytest.approx(1.0, rel=0.1)


def test_half_of_what_was_known_is_forgotten_with_the_thousand_and_first():
    few, more = recorded([0.01] * 1001), recorded([0.01] * 1001)  # as good as five hundred now
    for _ in range(480):
        few.record(1.0)
    for _ in range(520):
        more.record(1.0)
    assert few.quantile(0.5) < 0.02
    assert more.quantile(0.5) > 0.9


def test_fading_keeps_the_shape():
    latency = recorded([0.01, 0.02, 0.04, 0.08] * 260)  # halved once or more on the way
    assert latency.quantile(0.2) == pytest.approx(0.01, rel=0.1)
    assert latency.quantile(0.7) == pytest.approx(0.04, rel=0.1)
