from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from resilient_http.state.window import Window


def test_an_empty_window_knows_nothing():
    assert Window(3, 10.0).count(0.0) == (0, 0, 0)


def test_the_oldest_outcome_is_forgotten_when_the_window_is_full():
    window = Window(3, 10.0)
    for failed in (True, True, False, False):
        window.add(0.0, failed)
    assert window.count(0.0) == (3, 1, 0)


def test_an_outcome_is_forgotten_when_it_is_older_than_the_span():
    window = Window(100, 30.0)
    window.add(0.0, failed=True)
    assert window.count(30.0) == (1, 1, 0)
    window.add(30.0, failed=False)
    assert window.count(30.0) == (2, 1, 0)
    assert window.count(30.1) == (1, 0, 0)


def test_clearing_forgets_everything():
    window = Window(3, 10.0)
    window.add(0.0, failed=True)
    window.clear()
    assert window.count(0.0) == (0, 0, 0)


@given(
    size=st.integers(1, 6),
    steps=st.lists(st.tuples(st.floats(0, 8), st.booleans(), st.booleans()), max_size=40),
    pause=st.floats(0, 20),
)
def test_it_holds_the_newest_outcomes_within_the_span_and_no_others(size, steps, pause):
    span, now = 10.0, 0.0
    window, all_of_them = Window(size, span), []
    for step, failed, slow in steps:
        now += step
        window.add(now, failed, slow)
        all_of_them.append((now, failed, slow))
    now += pause
    kept = [each for each in all_of_them[-size:] if each[0] >= now - span]
    assert window.count(now) == (len(kept), sum(failed for _, failed, _ in kept), sum(slow for _, _, slow in kept))
    for which in (True, False):
        assert window.newest(failed=which) == max((at for at, bad, _ in kept if bad == which), default=-math.inf)
