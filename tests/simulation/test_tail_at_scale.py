"""What hedging is worth: many keys are read from many servers, and the whole takes as long as the slowest.

The experiment of The Tail at Scale (J. Dean, L. A. Barroso, 2013), where reading 1,000 keys from 100 servers took
1,800 ms at the 99.9th percentile, and with hedges after 10 ms 74 ms, for 2 % more requests. A million keys tell that
percentile; `benchmarks/tail_at_scale.py` reads them. Here, in two steps: the real policies make a key's latency the law
that is to be expected, as far as their samples reach, and from the law follows the percentile. Where slowness is not
each request's own there is no such law; there the real policies read a few wholes, and the median tells.
"""

from __future__ import annotations

import math

import pytest

from tests.simulation.reads import KEYS, SLOWNESS, Law, quantile_of, read, whole

P999 = 0.999
WHOLES = 3


def median_of(slowness, *, hedged):
    """The median of a whole in seconds, and requests per key."""
    wholes = list(read(SLOWNESS[slowness](), wholes=WHOLES, hedged=hedged))
    sent = sum(one.journal.sent for made in wholes for one in made)
    return quantile_of([max(one.took for one in made) for made in wholes], 0.5), sent / (WHOLES * KEYS)


@pytest.mark.parametrize("hedged", [False, True], ids=["alone", "hedged"])
def test_a_key_takes_as_long_as_the_quicker_of_its_two_requests(hedged):
    law = Law(0.05)  # so many that it is seen how often both are slow, and so few that the budget pays for all
    wholes = 15
    took = [one.took for made in read(law, wholes=wholes, hedged=hedged) for one in made]
    slower = law.slower_hedged if hedged else law.slower
    for seconds in (0.005, 0.009, 0.012, 0.015, 0.03, 0.06, 0.1, 0.3):
        expected = slower(seconds)
        deviation = math.sqrt(expected * (1 - expected) / len(took))
        assert sum(each > seconds for each in took) / len(took) == pytest.approx(expected, abs=4 * deviation)


@pytest.mark.parametrize(
    ("share", "shape", "times"), [(0.001, 1.1, 40), (0.001, 2, 40), (0.01, 2, 10), (0.01, 1.1, 5), (0.02, 1.1, 3)]
)
def test_the_rarer_and_lighter_the_tail_the_more_hedging_helps_at_the_99_9th_percentile(share, shape, times):
    law = Law(share, shape)
    assert times < whole(law.slower, P999) / whole(law.slower_hedged, P999) < 2.5 * times
    assert law.slower(0.010) == pytest.approx(share + 0.01, abs=0.001)  # so many more requests


@pytest.mark.parametrize(
    ("slowness", "extra"), [("1 % are", 0.03), ("2 % are", 0.04), ("one server of the hundred is slow", 0.04)]
)
def test_where_slowness_is_the_servers_own_the_median_is_ten_times_less(slowness, extra):
    alone, _ = median_of(slowness, hedged=False)
    hedged, requests = median_of(slowness, hedged=True)
    assert hedged < alone / 10
    assert requests < 1 + extra


@pytest.mark.parametrize(
    "slowness", ["nothing is", "1 % of the keys are, wherever they are read", "now and then all servers are, at once"]
)
def test_where_the_second_is_as_slow_as_the_first_it_does_not_help(slowness):
    alone, _ = median_of(slowness, hedged=False)
    hedged, _ = median_of(slowness, hedged=True)
    assert hedged > alone / 1.5


@pytest.mark.parametrize("slowness", ["10 % are", "ten servers are"])
def test_where_a_tenth_is_slow_the_budget_ends_what_would_be_a_second_load(slowness):
    _, requests = median_of(slowness, hedged=True)
    assert requests < 1.12
