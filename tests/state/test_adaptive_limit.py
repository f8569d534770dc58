"""The adaptive limit, window by window. How it fares against servers: tests/simulation/test_adaptive.py."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from resilient_http.state.adaptive_limit import LEAST, MOST, ROUNDS, AdaptiveLimit


class Fed:
    """An adaptive limit, and windows of attempts that all go alike."""

    def __init__(self, *, least=1, most=100, initial=10):
        self.adaptive = AdaptiveLimit(least, most, initial, tolerance=1.2, backoff=0.9)
        self.now = 0.0

    def window(self, took=0.1, *, dropped=0.0, in_flight=None):
        """As many attempts as it takes, of which the first share is dropped. Gives why the limit changed."""
        count = max(LEAST, ROUNDS * self.adaptive.limit)
        for number in range(count):
            started, self.now = self.now, self.now + took
            in_use = self.adaptive.limit if in_flight is None else in_flight
            why = self.adaptive.record(started, self.now, in_use, dropped=number < dropped * count)
        return why


def test_a_good_window_raises_the_limit_by_one():
    fed = Fed()
    assert fed.window() == "40 attempts were good"
    assert fed.adaptive.limit == 11
    assert fed.adaptive.usual is not None


def test_a_limit_that_is_not_used_stays():
    fed = Fed()
    assert fed.window(in_flight=4) is None
    assert fed.adaptive.limit == 10
    fed.window(in_flight=5)
    assert fed.adaptive.limit == 11


def test_a_slow_window_lowers_it_and_says_why():
    fed = Fed()
    fed.window(0.1)
    assert fed.window(0.13) == "attempts took 0.13 s, usually 0.1 s"
    assert fed.adaptive.limit == 9


def test_a_little_slower_is_not_slow():
    fed = Fed()
    fed.window(0.1)
    fed.window(0.119)
    assert fed.adaptive.limit == 12


def test_a_few_drops_are_noise_and_more_lower_it():
    fed = Fed()
    fed.window(dropped=0.04)
    assert fed.adaptive.limit == 11
    assert fed.window(dropped=0.2) == "9 of 44 attempts timed out or were refused"
    assert fed.adaptive.limit == 9


def test_when_all_are_dropped_nothing_is_learnt_of_latency():
    fed = Fed()
    fed.window(dropped=1.0)
    assert fed.adaptive.usual is None
    assert fed.adaptive.tolerated == math.inf


def test_attempts_that_began_before_the_change_do_not_count():
    fed = Fed()
    fed.window()
    changed = fed.now
    for _ in range(1000):
        assert fed.adaptive.record(changed - 0.05, changed + 9.0, 11, dropped=True) is None
    assert fed.adaptive.limit == 11


def test_it_stays_between_its_least_and_its_most():
    fed = Fed(least=8, most=12)
    for _ in range(5):
        fed.window()
    assert fed.adaptive.limit == 12
    for _ in range(9):
        fed.window(dropped=1.0)
    assert fed.adaptive.limit == 8


def test_what_is_usual_is_learnt_anew_when_less_concurrency_does_not_help():
    fed = Fed(initial=50)
    fed.window(0.1)
    whys = [fed.window(0.2) for _ in range(7)]
    assert fed.adaptive.usual == 0.2 or abs(fed.adaptive.usual - 0.2) < 1e-6
    assert fed.adaptive.limit > 50 * 0.9**6
    assert whys[:5] == ["attempts took 0.2 s, usually 0.1 s"] * 5


def test_where_less_concurrency_helps_it_goes_on_down():
    fed = Fed(initial=50)
    fed.window(0.1)
    while fed.adaptive.limit > 12:
        fed.window(0.1 * fed.adaptive.limit / 10)
    assert abs(fed.adaptive.usual - 0.1) < 1e-6


def known_at_the_first_change(latencies) -> int:
    adaptive = AdaptiveLimit(1, 100, 5, tolerance=1.2, backoff=0.9)
    return next(known for known, took in enumerate(latencies, 1) if adaptive.record(0.0, took, 5, dropped=False))


def test_a_window_lasts_until_its_mean_is_known():
    assert known_at_the_first_change([0.1] * 1000) == LEAST
    assert known_at_the_first_change(([0.01] * 9 + [5.0]) * 100) == MOST


@given(
    attempts=st.lists(st.tuples(st.floats(0.001, 10.0), st.integers(1, 50), st.booleans()), max_size=400),
    least=st.integers(1, 5),
    most=st.integers(5, 20),
    initial=st.integers(1, 30),
)
def test_whatever_happens_it_stays_within_its_bounds(attempts, least, most, initial):
    adaptive, now = AdaptiveLimit(least, most, initial, tolerance=1.2, backoff=0.9), 0.0
    for took, in_flight, dropped in attempts:
        before = adaptive.limit
        why = adaptive.record(now, now + took, in_flight, dropped=dropped)
        now += took
        assert (why is None) == (adaptive.limit == before)
        assert least <= adaptive.limit <= most
