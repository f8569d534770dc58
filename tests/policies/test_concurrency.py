"""Concurrency alone: who may go, who waits, who is refused; and the permit comes back on every path."""

from __future__ import annotations

import math

import pytest

from resilient_http.call import Attempt, Call
from resilient_http.errors import DeadlineExceeded, Saturated
from resilient_http.events import Observed
from resilient_http.policies.concurrency import ConcurrencyPolicy
from resilient_http.ports.simulated import SimulatedFailure, SimulatedPort, SimulatedReply
from resilient_http.state.concurrency import ConcurrencyLimit
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.outcome import Fault
from resilient_http.state.tally import Tally
from tests.simulation.world import World, cancel, script


class Upstream:
    """A limiter, and calls that each hold a permit for a second, or end as `respond` says."""

    def __init__(self, limit=1, queue=10, wait=None, usual=0.0, respond=lambda attempt, now: (1.0, SimulatedReply())):
        self.limit = ConcurrencyLimit(limit, queue)
        self.port = SimulatedPort(respond)
        self.policy = ConcurrencyPolicy(self.limit, wait, lambda: usual, Tally())
        self.ends = {}  # name -> (when it ended, how)
        self.entries = {}
        self.most = 0

    def spawn(self, name, *, at=0.0, within=math.inf, repeat=False):
        call = Call(self.port, "GET", started=at)
        call.bound(at + within, within)
        call.enter("payments", None, "GET", repeatable=True, replayable=True)
        if repeat:
            call.tried = (Endpoint("http", "n1", 80),)
        running = self._attempt(name, call)
        self.port.spawn(running, at=at)
        return running

    async def _attempt(self, name, call):
        attempt = Attempt(call, self.port.now())
        self.entries[name] = attempt.entry
        try:
            await self.policy(attempt, self._send)
        except Exception as exc:  # noqa: BLE001 - the test looks at it
            attempt.end(self.port.now(), exc)
            self.ends[name] = (self.port.now(), exc)
        except BaseException as exc:
            attempt.end(self.port.now(), exc)
            raise
        else:
            attempt.end(self.port.now())
            self.ends[name] = (self.port.now(), "answered")

    async def _send(self, attempt):
        self.most = max(self.most, self.limit.in_flight)
        return await self.port.send(attempt)


def test_calls_within_the_limit_do_not_wait():
    upstream = Upstream(limit=3)
    for name in "abc":
        upstream.spawn(name)
    upstream.port.run()
    assert upstream.ends == dict.fromkeys("abc", (1.0, "answered"))
    assert upstream.entries["a"].queued == 0.0


def test_the_others_wait_in_the_order_in_which_they_came():
    upstream = Upstream(limit=1)
    for at, name in enumerate("abcd"):
        upstream.spawn(name, at=at * 0.1)
    upstream.port.run()
    assert upstream.ends == {name: (pytest.approx(i + 1.0), "answered") for i, name in enumerate("abcd")}
    assert list(upstream.ends) == list("abcd")
    assert upstream.most == 1
    assert [upstream.entries[name].queued for name in "abcd"] == pytest.approx([0.0, 0.9, 1.8, 2.7])


def test_a_full_queue_refuses_at_once_and_says_what_to_do():
    upstream = Upstream(limit=1, queue=1)
    for name in "abc":
        upstream.spawn(name)
    upstream.port.run()
    ended, error = upstream.ends["c"]
    assert ended == 0.0
    assert isinstance(error, Saturated)
    assert error.upstream == "payments"
    assert "all 1 permits are taken and its queue of 1 is full" in str(error)
    assert "concurrency.limit" in str(error)


def test_nobody_waits_longer_than_the_pool_timeout():
    upstream = Upstream(limit=1, wait=0.25)
    upstream.spawn("a")
    upstream.spawn("b")
    upstream.port.run()
    ended, error = upstream.ends["b"]
    assert ended == 0.25
    assert isinstance(error, Saturated)
    assert "none came back in 0.25 s" in str(error)
    assert upstream.entries["b"].queued == 0.25


def test_nobody_waits_beyond_the_deadline():
    upstream = Upstream(limit=1, wait=None)
    upstream.spawn("a")
    upstream.spawn("b", within=0.5)
    upstream.port.run()
    ended, error = upstream.ends["b"]
    assert ended == 0.5
    assert isinstance(error, DeadlineExceeded)
    assert "500 ms in the queue; attempt 1 was waiting for a permit" in str(error)


def test_nobody_waits_when_what_is_left_is_less_than_an_attempt_usually_takes():
    upstream = Upstream(limit=1, wait=None, usual=1.0)
    upstream.spawn("a")
    upstream.spawn("b", within=0.5)
    upstream.spawn("c", within=1.3)
    upstream.port.run()
    at_once, in_vain = upstream.ends["b"], upstream.ends["c"]
    assert at_once[0] == 0.0
    assert "leaves no time for an attempt" in str(at_once[1])
    assert in_vain[0] == pytest.approx(0.3)
    assert isinstance(in_vain[1], DeadlineExceeded)


def test_without_a_deadline_and_a_timeout_a_call_waits_as_long_as_it_takes():
    upstream = Upstream(limit=1, wait=None, respond=lambda attempt, now: (1000.0, SimulatedReply()))
    upstream.spawn("a")
    upstream.spawn("b")
    upstream.port.run()
    assert upstream.ends["b"] == (2000.0, "answered")


def test_a_repeat_never_queues():
    upstream = Upstream(limit=1)
    upstream.spawn("a")
    upstream.spawn("repeat", repeat=True)
    upstream.port.run()
    ended, error = upstream.ends["repeat"]
    assert ended == 0.0
    assert isinstance(error, Saturated)
    assert "repeats do not queue" in str(error)


def test_a_repeat_does_not_overtake_those_who_wait():
    upstream = Upstream(limit=1)
    upstream.spawn("a")
    upstream.spawn("b", at=0.5)
    upstream.spawn("repeat", at=1.0, repeat=True)
    upstream.port.run()
    assert upstream.ends["b"] == (2.0, "answered")
    assert isinstance(upstream.ends["repeat"][1], Saturated)


def test_a_repeat_takes_a_free_permit():
    upstream = Upstream(limit=1)
    upstream.spawn("repeat", repeat=True)
    upstream.port.run()
    assert upstream.ends["repeat"] == (1.0, "answered")


def fails(attempt, now):
    raise LookupError("in the port")


@pytest.mark.parametrize(
    ("respond", "how"),
    [
        (lambda attempt, now: (1.0, SimulatedReply(503)), str),
        (lambda attempt, now: (1.0, Fault.BROKEN), SimulatedFailure),
        (fails, LookupError),
    ],
    ids=["answered", "failed", "broke down"],
)
def test_the_permit_comes_back_however_the_attempt_ends(respond, how):
    upstream = Upstream(limit=1, respond=respond)
    for name in "abc":
        upstream.spawn(name)
    upstream.port.run()
    assert [type(end) for _, end in upstream.ends.values()] == [how] * 3
    assert (upstream.limit.in_flight, upstream.limit.waiting) == (0, 0)


def test_the_permit_comes_back_when_the_attempt_is_cancelled():
    upstream = Upstream(limit=1)
    running = upstream.spawn("a")
    upstream.port.run(until=0.5)
    assert upstream.limit.in_flight == 1
    cancel(running)
    assert upstream.limit.in_flight == 0


def test_those_who_gave_up_hold_no_permit():
    upstream = Upstream(limit=1, queue=1, wait=0.25)
    for name in "abc":
        upstream.spawn(name)
    upstream.port.run()
    assert (upstream.limit.in_flight, upstream.limit.waiting) == (0, 0)


def test_an_attempt_whose_body_the_user_still_reads_holds_its_permit():
    upstream = Upstream(limit=1)
    call = Call(upstream.port, "GET", started=0.0, streamed=True)
    attempt = Attempt(call, 0.0)
    upstream.port.spawn(upstream.policy(attempt, upstream._send))
    upstream.port.run()
    assert upstream.limit.in_flight == 1
    attempt.end(5.0)
    attempt.end(6.0)  # closed twice
    assert upstream.limit.in_flight == 0


# Priorities, and what is only observed, through the whole pipeline


def statuses(world, priorities, **options):
    made = [world.spawn(priority=priority, **options) for priority in priorities]
    world.port.run()
    return made


def test_under_pressure_the_sheddable_are_refused_first_and_told_why():
    world = World(script((1.0, 200)), concurrency={"limit": 4}, timeout={"pool": 5.0})
    made = statuses(world, [None, None, None, "sheddable", None, None])
    assert [call.status for call in made] == [200, 200, 200, None, 200, 200]
    assert str(made[3].error) == "payments: shed, being sheddable: 3 of 4 permits are taken"
    assert world.upstream.status(0.0)["concurrency"]["decisions"] == {"shed": 1}


def test_without_pressure_they_are_calls_like_any_other():
    world = World(script(200), concurrency={"limit": 4})
    assert [call.status for call in statuses(world, ["sheddable"] * 3)] == [200] * 3


def test_critical_calls_go_before_others_that_wait():
    world = World(script((1.0, 200)), concurrency={"limit": 1}, timeout={"pool": 9.0, "total": 30.0})
    made = statuses(world, [None, None, "critical"])
    assert [call.took for call in made] == [1.0, 3.0, 2.0]


@pytest.mark.parametrize(
    ("own", "inbound", "seen"),
    [
        (None, None, "default"),
        (None, "sheddable", "sheddable"),
        ("critical", "sheddable", "critical"),
        ("default", "critical", "default"),
    ],
)
def test_a_priority_of_the_upstreams_own_counts_more_than_the_inbound_requests(own, inbound, seen):
    told = []

    def respond(attempt, now):
        told.append(dict(attempt.headers)["x-priority"])
        return 0.01, SimulatedReply()

    world = World(respond, priority=own, priority_header="X-Priority", concurrency={"limit": 4, "shed_at": 0.25})
    made = statuses(world, [inbound] * 2)
    assert told == [seen] * (1 if seen == "sheddable" else 2)
    assert isinstance(made[1].error, Saturated) == (seen == "sheddable")


def test_only_observed_it_lets_all_pass_and_tells_what_it_would_have_done():
    limit = {"limit": 1, "queue": 1, "observe": True}
    world = World(script((1.0, 200)), concurrency=limit)
    made = statuses(world, [None, None, "sheddable", None])
    assert [call.status for call in made] == [200] * 4
    assert [call.took for call in made] == [1.0] * 4
    assert [event.would for event in world.told(Observed)] == [
        "have it wait for a permit: 1 of 1 under way",
        "refuse it, being sheddable: 2 of 1 under way",
        "refuse it, because its queue of 1 is full: 3 of 1 under way",
    ]
    status = world.upstream.status(0.0)["concurrency"]
    assert status["decisions"] == {"would queue": 1, "would refuse": 1, "would shed": 1}
    assert status["in_flight"] == 0
