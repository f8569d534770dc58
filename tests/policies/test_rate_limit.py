"""The rate limit through the whole pipeline: who goes, who waits, who is refused."""

from __future__ import annotations

import pytest

from resilient_http.errors import DeadlineExceeded, RateLimited
from resilient_http.events import Observed
from resilient_http.state.leased_bucket import Answer
from resilient_http.state.outcome import Fault
from tests.simulation.world import REFUSE, World, cancel, script


def world(*answers, rate=10, burst=2, **own) -> World:
    limit = {"rate": rate, "burst": burst, **own.pop("limit", {})}
    return World(script(*answers or [200]), rate_limit=limit, **own)


def decisions(made: World):
    return made.upstream.status(made.port.now())["rate_limit"]["decisions"]


def test_what_is_above_the_rate_is_refused_at_once_and_told_when_to_come_back():
    upstream = world()
    made = [upstream.spawn() for _ in range(3)]
    upstream.port.run()
    assert [call.status for call in made] == [200, 200, None]
    error = made[2].error
    assert isinstance(error, RateLimited)
    assert error.retry_in == pytest.approx(0.1)
    assert str(error) == "payments: its rate limit of 10/s is used up; next in 0.1 s"
    assert made[2].took == 0.0
    assert decisions(upstream) == {"refused": 1}


def test_first_attempts_wait_for_their_turn_as_long_as_they_may():
    upstream = world(limit={"wait": 0.25})
    made = [upstream.spawn() for _ in range(6)]
    upstream.port.run()
    assert [call.status for call in made] == [200] * 4 + [None] * 2
    assert [call.journal.attempts[0].queued for call in made[:4]] == pytest.approx([0.0, 0.0, 0.1, 0.2])
    assert all(isinstance(call.error, RateLimited) for call in made[4:])


def test_nobody_waits_beyond_his_deadline():
    upstream = world(limit={"wait": 5.0}, burst=1)
    upstream.spawn()
    hurried = upstream.spawn(within=0.05)
    patient = upstream.spawn(within=0.5)
    upstream.port.run()
    assert isinstance(hurried.error, RateLimited)
    assert hurried.took == 0.0
    assert patient.status == 200


def test_repeats_are_counted_and_never_wait():
    upstream = world(503, burst=1, rate=1, limit={"wait": 5.0})
    made = upstream.make()
    assert made.status == 503  # the last real outcome stands
    assert len(made.journal.attempts) == 2
    assert made.journal.attempts[1].error.startswith("RateLimited")


def test_an_attempt_that_was_not_sent_costs_no_token():
    upstream = world(REFUSE, 200, burst=1, rate=0.001)
    assert upstream.make().status == 200


def test_a_call_that_is_cut_while_it_waits_gives_its_token_back():
    upstream = world(burst=1, rate=1, limit={"wait": 5.0}, timeout={"total": None})
    upstream.make()
    waiting = upstream.upstream.pipeline.run(upstream.open_call())
    upstream.port.spawn(waiting, at=upstream.port.now())
    upstream.port.run(until=upstream.port.now() + 0.1)
    before = upstream.upstream.bucket.tokens(upstream.port.now())
    cancel(waiting)
    assert upstream.upstream.bucket.tokens(upstream.port.now()) == pytest.approx(before + 1)


def test_a_refusal_does_not_reach_the_limiter_or_the_endpoint():
    upstream = world(burst=1, rate=0.001)
    for _ in range(30):
        upstream.make()
    status = upstream.upstream.status(upstream.port.now())
    assert status["concurrency"]["in_flight"] == 0
    assert status["endpoints"][0]["circuit"]["state"] == "closed"


def test_only_observed_it_tells_and_lets_everybody_pass():
    upstream = world(burst=1, rate=1, limit={"observe": True, "wait": 0.5})
    made = [upstream.spawn() for _ in range(3)]
    upstream.port.run()
    assert [call.status for call in made] == [200] * 3
    assert decisions(upstream) == {"would refuse": 2}
    assert upstream.told(Observed) == [Observed("payments", "rate_limit", "refuse; next in 1 s")] * 2


def test_one_that_is_switched_off_is_not_there():
    upstream = World(script(200))
    assert upstream.upstream.bucket is None
    assert upstream.upstream.status(0.0)["rate_limit"] is None


def test_a_deadline_that_passes_in_the_wait_is_told_as_such():
    upstream = world((0.2, Fault.TIMEOUT), burst=1, rate=10, limit={"wait": 1.0}, retry=None)
    upstream.spawn()
    late = upstream.spawn(within=0.15)
    upstream.port.run()
    assert isinstance(late.error, DeadlineExceeded)


# Its part of a bucket that processes share


def shared_world(granted=0, **limit) -> World:
    """One that has just been granted so much."""
    upstream = world(limit={"shared": True, **limit}, root={"shared": {"redis": "redis://n1"}})
    grant(upstream, granted, at=0.0)
    return upstream


def grant(upstream: World, granted: int, *, at: float) -> None:
    bucket = upstream.upstream.bucket
    bucket.answer(bucket.ask(at), Answer(granted), at)


async def granting(upstream: World, granted: int) -> None:
    grant(upstream, granted, at=upstream.port.now())


def test_a_leased_token_is_taken_and_without_one_a_call_is_refused():
    upstream = shared_world(1)
    made = [upstream.spawn() for _ in range(2)]
    upstream.port.run()
    assert [call.status for call in made] == [200, None]
    assert isinstance(made[1].error, RateLimited)
    assert decisions(upstream) == {"refused": 1}


def test_one_that_waits_goes_once_something_was_leased():
    upstream = shared_world(0, wait=0.4)
    made = upstream.spawn()
    upstream.port.spawn(granting(upstream, 1), at=0.2)
    upstream.port.run()
    assert made.status == 200
    assert 0.2 <= made.journal.attempts[0].queued <= 0.3


def test_one_for_which_nothing_was_leased_in_time_is_refused_and_leaves_its_turn():
    upstream = shared_world(0, wait=0.3)
    made = upstream.spawn()
    upstream.port.spawn(granting(upstream, 0), at=0.2)
    upstream.port.run()
    assert isinstance(made.error, RateLimited)
    assert made.took <= 0.3
    assert upstream.upstream.bucket.tokens(0.3) == 0.0


def test_a_call_that_is_cut_while_it_waits_leaves_its_turn():
    upstream = shared_world(0, wait=0.4)
    waiting = upstream.upstream.pipeline.run(upstream.open_call())
    upstream.port.spawn(waiting, at=0.0)
    upstream.port.run(until=0.05)
    assert upstream.upstream.bucket.tokens(0.05) == -1.0
    cancel(waiting)
    assert upstream.upstream.bucket.tokens(0.05) == 0.0
