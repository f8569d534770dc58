"""Nodes: workers, a queue, capacity that drops and comes back, and work for callers who have left."""

from __future__ import annotations

import math
import random

import pytest

from resilient_http.simulate.laws import Law
from resilient_http.simulate.node import Node, NodeReply
from resilient_http.simulate.scenario import LatencySettings, NodeSettings
from resilient_http.state.outcome import Fault


def node(*periods, begins=None):
    """A node that takes 1 s for a request, unless it is told otherwise."""
    usual = {"latency": 1.0}
    made = [NodeSettings(**{**usual, **period}) for period in periods]
    return Node(begins or [10.0 * number for number in range(len(made))], made, random.Random(1))


def fates(one, *instants):
    """When each request is answered, and by what: a status, or a fault."""
    found = []
    for at in instants:
        delay, answer, _ = one.take(at)
        found.append((at + delay, answer.status_code if isinstance(answer, NodeReply) else answer))
    return found


def test_requests_wait_for_a_worker_in_order():
    assert fates(node({"workers": 2}), 0.0, 0.0, 0.0, 0.5, 3.0) == [
        (1.0, 200), (1.0, 200), (2.0, 200), (2.0, 200), (4.0, 200),
    ]  # fmt: skip


def test_without_a_number_of_workers_nobody_waits():
    assert fates(node({}), *[0.0] * 50) == [(1.0, 200)] * 50


def test_what_the_queue_does_not_hold_is_refused():
    assert fates(node({"workers": 1, "queue": 1}), 0.0, 0.0, 0.0) == [(1.0, 200), (2.0, 200), (0.001, 503)]
    assert fates(node({"workers": 1, "queue": 0, "overflow": "refuse"}), 0.0, 0.5, 1.0) == [
        (1.0, 200), (0.501, Fault.UNREACHABLE), (2.0, 200),
    ]  # fmt: skip


def test_a_worker_that_goes_finishes_what_he_is_at():
    one = node({"workers": 3}, {"workers": 1}, begins=[0.0, 0.5])
    assert fates(one, 0.0, 0.0, 0.0, 0.6, 0.6) == [(1.0, 200), (1.0, 200), (1.0, 200), (2.0, 200), (3.0, 200)]


def test_what_waits_already_has_fewer_workers_too():
    one = node({"workers": 2}, {"workers": 1}, begins=[0.0, 1.0])
    assert [at for at, _ in fates(one, *[0.0] * 6)] == [1.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_workers_that_come_back_help_with_what_waits():
    one = node({"workers": 1}, {"workers": 3}, begins=[0.0, 2.0])
    assert [at for at, _ in fates(one, *[0.0] * 6)] == [1.0, 2.0, 3.0, 3.0, 3.0, 4.0]


def test_one_that_hangs_goes_on_where_it_stood():
    one = node({"workers": 1}, {"workers": 1, "outage": "hang"}, {"workers": 1}, begins=[0.0, 0.5, 10.5])
    assert fates(one, 0.0, 0.0, 3.0, 20.0) == [(11.0, 200), (12.0, 200), (13.0, 200), (21.0, 200)]


def test_one_that_hangs_lets_requests_wait_up_to_its_queue():
    one = node({"outage": "hang", "workers": 2, "queue": 3}, {"workers": 2}, begins=[0.0, 10.0])
    assert [at for at, _ in fates(one, 1.0, 2.0, 3.0, 4.0)] == [11.0, 11.0, 12.0, 4.001]
    assert one.waiting(5.0) == 3
    assert one.waiting(11.5) == 0


def test_one_that_hangs_for_ever_answers_nothing():
    assert fates(node({"outage": "hang"}), 0.0) == [(math.inf, Fault.TIMEOUT)]


def test_one_that_is_not_there_has_lost_what_it_had():
    one = node({"workers": 1}, {"workers": 1, "outage": "refuse"}, {"workers": 1}, begins=[0.0, 1.5, 5.0])
    assert fates(one, 0.0, 0.0, 0.0, 2.0, 5.0) == [
        (1.0, 200), (1.5, Fault.BROKEN), (1.5, Fault.BROKEN), (2.001, Fault.UNREACHABLE), (6.0, 200),
    ]  # fmt: skip


def test_work_that_broke_off_was_done_till_then():
    one = node({"workers": 1}, {"workers": 1, "outage": "refuse"}, begins=[0.0, 1.5])
    assert [one.take(0.0)[2] for _ in range(3)] == [1.0, 0.5, 0.0]


def test_one_that_answers_a_status_does_no_work():
    one = node({"outage": {"kind": "status", "status": 503, "retry_after": 3}})
    delay, answer, work = one.take(0.0)
    assert (delay, answer.status_code, answer.headers, work) == (0.001, 503, {"retry-after": "3"}, 0.0)


def test_a_share_of_the_answers_says_no():
    one = node({"failures": {"share": 0.25, "status": 500, "after": 0.1}})
    answers = [one.take(0.0) for _ in range(4000)]
    bad = [(delay, work) for delay, answer, work in answers if answer.status_code == 500]
    assert set(bad) == {(0.1, 0.1)}
    assert 900 < len(bad) < 1100


def test_it_works_for_callers_who_have_left_unless_it_heeds_deadlines():
    for heeds, done in [(False, 3.0), (True, 2.0)]:
        one = node({"workers": 1, "heeds_deadline": heeds})
        one.take(0.0, told=0.9)
        one.take(0.0, told=0.9)
        delay, _, _ = one.take(0.0, told=9.0)
        assert delay == done


def test_a_lognormal_law_has_its_median_and_a_tail_begins_where_it_is_told():
    rng = random.Random(1)
    usual = Law(LatencySettings(median=0.1, sigma=0.5))
    drawn = sorted(usual.draw(rng) for _ in range(4001))
    assert drawn[2000] == pytest.approx(0.1, rel=0.05)
    tail = Law(LatencySettings(median=0.1, tail={"share": 0.5, "least": 1.0, "shape": 1.5, "most": 5.0}))
    drawn = [tail.draw(rng) for _ in range(4000)]
    slow = [each for each in drawn if each != 0.1]
    assert 1800 < len(slow) < 2200
    assert min(slow) >= 1.0
    assert max(slow) == 5.0
    assert sum(each > 2.0 for each in slow) / len(slow) == pytest.approx(0.5**1.5, abs=0.04)
