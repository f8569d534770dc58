from __future__ import annotations

import pytest

from resilient_http.state.pauses import KEPT, Pauses


def test_a_paused_route_is_left_alone_until_its_time_and_the_others_are_not():
    pauses = Pauses(b"salt")
    assert not pauses.any(0.0)
    pauses.pause(b"a", 5.0)
    assert pauses.any(1.0)
    assert pauses.left(b"a", 1.0) == 4.0
    assert pauses.left(b"b", 1.0) == 0.0
    assert (pauses.left(b"a", 5.0), pauses.any(5.0), pauses.paused(5.0)) == (0.0, False, 0)


@pytest.mark.parametrize("ends", [(5.0, 9.0), (9.0, 5.0)])
def test_the_longest_pause_holds(ends):
    pauses = Pauses(b"salt")
    for until in ends:
        pauses.pause(b"a", until)
    assert pauses.left(b"a", 0.0) == 9.0


def test_only_so_many_routes_are_known():
    pauses = Pauses(b"salt")
    for number in range(KEPT + 10):
        pauses.pause(b"%d" % number, 9.0)
    assert pauses.paused(0.0) == KEPT
    assert pauses.left(b"9", 0.0) == 0.0
    assert pauses.left(b"10", 0.0) == 9.0
