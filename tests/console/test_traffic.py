"""Traffic: slices of bounded number, whose sums are right whatever comes when."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.console.traffic import CANCELLED, FAILED, GOOD, KINDS, NOW, REFUSED, SLICES, Traffic

STEP = 5.0
BEGUN = 1_000_000.0  # the begin of a slice

calls = st.lists(
    st.tuples(st.floats(0, 900), st.sampled_from(KINDS), st.floats(1e-4, 60)), min_size=1, max_size=200
).map(lambda each: sorted(each, key=lambda call: call[0]))


def traffic(*calls):
    made = Traffic(STEP, BEGUN)
    for after, kind, seconds in calls:
        made.add(BEGUN + after, kind, seconds)
    return made


@given(calls, st.floats(0, 100))
def test_now_is_of_the_slices_of_the_last_minute(made, later):
    now = made[-1][0] + later
    told = traffic(*made).now(BEGUN + now)
    first = (now // STEP) - NOW / STEP + 1
    recent = [call for call in made if call[0] // STEP >= first]
    assert {kind: told[kind] for kind in KINDS} == {kind: sum(each[1] == kind for each in recent) for kind in KINDS}
    assert sum(told["latency"].values()) == told[GOOD] + told[FAILED]


@given(calls)
def test_memory_is_bounded_and_the_series_are_the_counts(made):
    counted = traffic(*made)
    assert len(counted._slices) <= SLICES + 1
    now = made[-1][0] + STEP  # the last slice is over
    series = counted.series(BEGUN + now)
    assert {len(series[key]) for key in ("calls", "bad", "p50", "p95", "p99")} == {len(series["calls"])}
    assert len(series["calls"]) <= SLICES
    kept = [each for each in made if each[0] // STEP > now // STEP - 1 - SLICES]
    assert sum(series["calls"]) == sum(each[1] != CANCELLED for each in kept)
    assert sum(series["bad"]) == sum(each[1] in (FAILED, REFUSED) for each in kept)


def test_a_slice_without_calls_has_no_quantiles():
    series = traffic((0.0, GOOD, 0.1), (11.0, REFUSED, 0.0)).series(BEGUN + 15)
    assert series["calls"] == [1, 0, 1]
    assert series["p50"] == [pytest.approx(0.1, rel=0.05), None, None]


def test_the_rate_of_a_young_process_is_of_its_age():
    assert traffic((1.0, GOOD, 0.1)).now(BEGUN + 10)["seconds"] == 10.0
    assert traffic((1.0, GOOD, 0.1)).now(BEGUN + 1)["seconds"] == STEP
    assert 55 <= traffic((1.0, GOOD, 0.1)).now(BEGUN + 500)["seconds"] <= 60


def test_an_instant_of_a_slice_that_is_over_counts_in_the_newest():
    series = traffic((7.0, GOOD, 0.1), (4.9, GOOD, 0.1)).series(BEGUN + 10)
    assert series["calls"] == [0, 2]


def test_threads_lose_nothing():
    counted = Traffic(STEP, BEGUN)

    def count():
        for number in range(2000):
            counted.add(BEGUN + number / 100, GOOD, 0.01)
            if number % 50 == 0:
                counted.now(BEGUN + 20)
                counted.series(BEGUN + 20)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted.now(BEGUN + 20)[GOOD] == 8000
