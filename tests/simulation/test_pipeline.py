"""The composed pipeline on a virtual clock: what a caller sees, what is told, and what is left behind."""

from __future__ import annotations

import math
import re

import pytest

from resilient_http.errors import CircuitOpen, DeadlineExceeded, Saturated
from resilient_http.events import (
    AttemptFinished,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    RetryScheduled,
    RetrySuppressed,
)
from resilient_http.ports.simulated import SimulatedFailure
from resilient_http.state.outcome import Fault
from tests.simulation.world import HANG, QUICK, REFUSE, World, by_host, cancel, script, throttled

THREE = ["http://n1", "http://n2", "http://n3"]


# One call


def test_a_good_answer_takes_one_attempt():
    world = World(script(200))
    made = world.make()
    assert (made.status, made.took) == (200, QUICK)
    assert len(made.journal.attempts) == 1


def test_a_repeat_goes_to_another_endpoint():
    world = World(script(503, 502, 200), endpoints=THREE)
    made = world.make()
    assert made.status == 200
    assert {entry.endpoint for entry in made.journal.attempts} == set(THREE)


def test_an_attempt_that_hangs_is_given_up_and_repeated_elsewhere():
    world = World(script(HANG, 200), endpoints=THREE[:2], timeout={"attempt": 0.5})
    made = world.make()
    assert made.status == 200
    assert [entry.duration for entry in made.journal.attempts] == [0.5, pytest.approx(QUICK)]


def test_a_call_ends_at_its_total_however_it_is_repeated():
    world = World(script(HANG), timeout={"total": 2.0, "attempt": 1.5})
    made = world.make()
    assert isinstance(made.error, DeadlineExceeded)
    assert made.error.budget == 2.0
    assert made.error.journal is made.journal
    assert made.took == 2.0


def test_a_callers_own_deadline_ends_it_earlier():
    made = World(script(HANG)).make(within=0.3)
    assert isinstance(made.error, DeadlineExceeded)
    assert (made.took, made.error.budget) == (0.3, 0.3)


def test_a_caller_with_a_longer_deadline_is_bound_by_the_total():
    made = World(script(HANG), timeout={"total": 2.0, "attempt": None}).make(within=60.0)
    assert (made.took, made.error.budget) == (2.0, 2.0)


def test_a_call_without_any_deadline_waits_as_long_as_it_takes():
    world = World(script((3600.0, 200)), timeout={"total": None, "attempt": None})
    assert (world.make().status, world.port.now()) == (200, 3600.0)


def test_a_post_is_not_repeated_unless_it_provably_was_not_sent():
    assert World(script(503, 200)).make("POST").status == 503
    assert World(script(REFUSE, 201)).make("POST").status == 201
    assert World(script(503, 201)).make("POST", repeatable=True).status == 201


def test_the_last_real_response_stands_when_its_own_failure_opened_the_circuit():
    world = World(script(throttled(retry_after="1")), circuit={"quiet_streak": 1})
    made = world.make()
    assert made.status == 503
    first, second = made.journal.attempts
    assert (first.decision, first.outcome, first.sent) == ("retry", "failure", True)
    assert (second.decision, second.outcome, second.sent) == ("return", "refused", False)


def test_the_last_real_exception_stands_when_its_own_failure_opened_the_circuit():
    made = World(script(REFUSE), circuit={"quiet_streak": 1}).make()
    assert isinstance(made.error, SimulatedFailure)
    assert made.decisions == ["retry", "raise"]


def test_without_retries_a_call_makes_one_attempt():
    made = World(script(503, 200), retry=None).make()
    assert (made.status, len(made.journal.attempts)) == (503, 1)


def test_switched_off_it_chooses_an_endpoint_and_does_nothing_else():
    world = World(script(503), enabled=False, concurrency={"limit": 1, "queue": 0}, timeout={"total": 0.001})
    calls = [world.spawn() for _ in range(50)]
    world.port.run()
    assert [(made.status, len(made.journal.attempts)) for made in calls] == [(503, 1)] * 50


# Circuits


def test_a_dead_endpoint_is_called_no_more_and_calls_are_refused_at_once():
    world = World(script(REFUSE), retry=None)
    for _ in range(5):
        assert isinstance(world.make().error, SimulatedFailure)
    made = world.make()
    assert isinstance(made.error, CircuitOpen)
    assert made.took == 0.0
    assert 0 < made.error.retry_in <= 6.0
    assert made.journal.sent == 0


def test_an_endpoint_that_came_back_is_found_by_probes():
    world = World(script(*[REFUSE] * 5, 200), retry=None)
    for _ in range(5):
        world.make()
    refused = world.make()
    probes = [world.spawn(at=world.port.now() + refused.error.retry_in) for _ in range(20)]
    world.port.run()
    assert sum(made.good for made in probes) == 1
    assert world.make().good
    assert world.upstream.endpoints.members[0].circuit.mode == "closed"
    assert [type(event) for event in world.told(CircuitOpened, CircuitHalfOpened, CircuitClosed)] == [
        CircuitOpened,
        CircuitHalfOpened,
        CircuitClosed,
    ]


def test_without_circuits_a_dead_endpoint_is_called_again_and_again():
    world = World(script(REFUSE), circuit=None, retry=None)
    assert all(isinstance(world.make().error, SimulatedFailure) for _ in range(100))


def test_a_call_that_waits_for_a_permit_holds_no_probe():
    world = World(script((1.0, 200)), concurrency={"limit": 1}, timeout={"pool": None}, retry=None)
    world.spawn(at=0.0)
    circuit = world.upstream.endpoints.members[0].circuit
    waiting = world.spawn(at=0.1)
    world.port.run(until=0.5)
    circuit.half_open()
    assert circuit.admits(0.5)
    world.port.run()
    assert waiting.good


def test_a_backup_gets_nothing_while_the_others_are_well():
    world = World(by_host(n1=200, spare=200), endpoints=["http://n1", {"url": "http://spare", "backup": True}])
    assert {made.journal.attempts[0].endpoint for made in world.traffic(calls=50, rate=100.0)} == {"http://n1"}


def test_an_endpoint_of_twice_the_weight_gets_twice_the_calls():
    world = World(by_host(n1=200, n2=200), endpoints=["http://n1", {"url": "http://n2", "weight": 2}])
    heavier = sum(made.journal.attempts[0].endpoint == "http://n2" for made in world.traffic(calls=3000, rate=10.0))
    assert heavier == pytest.approx(2000, rel=0.05)


def test_a_backup_takes_over_when_all_others_are_open():
    endpoints = ["http://n1", {"url": "http://spare", "backup": True}]
    world = World(by_host(n1=REFUSE, spare=200), endpoints=endpoints)
    calls = list(world.traffic(calls=30, rate=1.0))
    assert all(made.good for made in calls if len(made.journal.attempts) > 1)  # the backup is where repeats go
    assert all(made.good for made in calls[5:])
    probes = [made for made in calls[5:] if made.journal.attempts[0].endpoint == "http://n1"]
    assert len(probes) <= 3


# The limit


def test_a_call_in_backoff_holds_no_permit():
    world = World(script(throttled(retry_after="2"), 200), concurrency={"limit": 1, "queue": 0})
    waiting = world.spawn(at=0.0)
    quick = world.spawn(at=1.0)
    world.port.run()
    assert quick.took == pytest.approx(QUICK)
    assert waiting.status == 200


def test_waiting_for_a_permit_does_not_eat_the_time_of_the_attempt():
    world = World(script((0.9, 200)), concurrency={"limit": 1}, timeout={"attempt": 1.0, "pool": None}, retry=None)
    calls = [world.spawn() for _ in range(3)]
    world.port.run()
    assert [made.status for made in calls] == [200] * 3
    assert [made.journal.attempts[0].queued for made in calls] == pytest.approx([0.0, 0.9, 1.8])


def test_a_wait_for_a_permit_ends_with_the_pool_timeout():
    world = World(script((5.0, 200)), concurrency={"limit": 1}, timeout={"attempt": None, "pool": 0.5})
    world.spawn()
    second = world.spawn()
    world.port.run()
    assert isinstance(second.error, Saturated)
    assert second.took == 0.5


def test_a_wait_for_a_permit_that_the_deadline_ends_is_a_deadline_exceeded():
    world = World(script((5.0, 200)), concurrency={"limit": 1}, timeout={"attempt": None, "pool": 2.0})
    world.spawn()
    second = world.spawn(within=0.5)
    world.port.run()
    assert isinstance(second.error, DeadlineExceeded)
    assert second.took == 0.5


@pytest.mark.parametrize("within", [math.inf, 0.5], ids=["pool timeout", "deadline"])
def test_a_wait_for_a_permit_says_nothing_about_an_endpoint(within):
    world = World(script((5.0, 200)), concurrency={"limit": 1}, timeout={"attempt": None, "pool": 1.5}, retry=None)
    world.spawn()
    waiting = [world.spawn(within=within) for _ in range(100)]
    world.port.run()
    (member,) = world.upstream.endpoints.members
    assert {made.journal.attempts[0].endpoint for made in waiting} == {""}
    assert not any(made.journal.attempts[0].sent for made in waiting)
    assert member.circuit.mode == "closed"
    assert member.load(world.port.now()) == 0.0


def test_there_are_never_more_attempts_under_way_than_connections():
    world = World(script((0.5, 200)), concurrency={"limit": 50}, pool={"max_connections": 7}, timeout={"pool": None})
    for _ in range(40):
        world.spawn()
    most = 0
    for tick in range(1, 60):
        world.port.run(until=tick * 0.05)
        most = max(most, world.upstream.endpoints.members[0].in_flight)
    assert most == 7


def test_without_a_limit_the_connections_are_the_limit_and_all_others_wait():
    world = World(script((0.5, 200)), concurrency=None, pool={"max_connections": 7}, timeout={"pool": None})
    calls = [world.spawn() for _ in range(70)]
    world.port.run()
    assert all(made.good for made in calls)
    assert world.port.now() == 5.0


def settled(world):
    """Nothing is held: no permit, no place in the queue, nothing in flight, no probe."""
    limit = world.upstream.limit
    assert (limit.in_flight, limit.waiting) == (0, 0)
    assert [member.in_flight for member in world.upstream.endpoints.members] == [0] * len(
        world.upstream.endpoints.members
    )


@pytest.mark.parametrize(
    ("answers", "own"),
    [
        ([200], {}),
        ([404], {}),
        ([503], {}),
        ([REFUSE], {}),
        ([Fault.BROKEN], {}),
        ([HANG], {"timeout": {"total": 1.0}}),
        ([HANG], {"timeout": {"attempt": 0.1}}),
        ([REFUSE], {"circuit": {"quiet_streak": 1}}),
        ([Fault.FOREIGN], {}),
        ([Fault.CANCELLED], {}),
        ([(0.3, 200)], {"concurrency": {"limit": 1, "queue": 0}}),
        ([(0.3, 200)], {"concurrency": {"limit": 1, "queue": 1}, "timeout": {"pool": 0.1}}),
        ([(0.3, 503)], {"concurrency": {"limit": 2, "queue": 2}}),
    ],
    ids=[
        "good",
        "not found",
        "failing",
        "dead",
        "broken off",
        "deadline",
        "attempt timeout",
        "open circuit",
        "foreign",
        "cancelled",
        "saturated",
        "queued too long",
        "repeats refused",
    ],
)
def test_every_permit_comes_back_however_a_call_ends(answers, own):
    world = World(script(*answers), endpoints=THREE, **own)
    calls = [world.spawn(at=i * 0.01) for i in range(20)]
    world.port.run()
    assert all(made.took >= 0 for made in calls)  # each came to its end
    settled(world)


@pytest.mark.parametrize("until", [0.01, 1.0, 2.0], ids=["in an attempt", "in backoff", "in a repeat"])
def test_every_permit_comes_back_when_the_caller_goes_away(until):
    world = World(script((0.5, throttled(retry_after="1")), HANG), retry={"budget": {"ratio": 0.0, "floor": 0.0}})
    running = world.upstream.pipeline.run(world.open_call())
    world.port.spawn(running)
    world.port.run(until=until)
    cancel(running)
    settled(world)
    world.upstream.endpoints.members[0].circuit.half_open()
    assert world.upstream.endpoints.members[0].circuit.admits(until)


def test_a_token_comes_back_when_the_caller_goes_away_in_backoff():
    world = World(script(throttled(retry_after="2")), retry={"budget": {"ratio": 0.0, "floor": 0.0}})
    running = world.upstream.pipeline.run(world.open_call())
    world.port.spawn(running)
    world.port.run(until=1.0)
    assert world.upstream.budget.tokens(1.0) == 2.0
    cancel(running)
    assert world.upstream.budget.tokens(1.0) == 3.0


# What is told


def test_attempts_and_decisions_are_told_in_order():
    world = World(script(503, 503, 200))
    world.make()
    assert [type(event) for event in world.events] == [
        AttemptFinished,
        RetryScheduled,
        AttemptFinished,
        RetryScheduled,
        AttemptFinished,
    ]
    assert [event.number for event in world.told(AttemptFinished)] == [1, 2, 3]
    assert [event.number for event in world.told(RetryScheduled)] == [2, 3]
    assert [event.outcome for event in world.told(AttemptFinished)] == ["failure", "failure", "success"]
    assert {event.upstream for event in world.events} == {"payments"}


def test_a_call_that_is_given_up_says_so_last():
    world = World(script(500))
    world.make()
    assert isinstance(world.events[-1], RetrySuppressed)
    assert isinstance(world.events[-2], AttemptFinished)


def test_an_opening_circuit_is_told_once_with_its_next_probe():
    world = World(script(REFUSE), retry=None)
    for _ in range(20):
        world.make()
    (event,) = world.told(CircuitOpened)
    assert (event.upstream, event.endpoint) == ("payments", "http://n1")
    assert 4.0 <= event.retry_in <= 6.0


# The journal


def test_the_journal_tells_all_that_happened():
    world = World(script(throttled(429, retry_after="2"), (0.1, Fault.BROKEN), 200), endpoints=THREE, seed=3)
    journal = world.make(within=9.0).journal
    assert (journal.method, journal.upstream, journal.budget, journal.sent) == ("GET", "payments", 9.0, 3)
    first, second, third = journal.attempts
    assert [entry.number for entry in journal.attempts] == [1, 2, 3]

    assert (first.status, first.error, first.fault, first.outcome) == (429, None, None, "neutral")
    assert (first.started, first.duration, first.queued, first.sent) == (0.0, QUICK, 0.0, True)
    assert (first.decision, first.why) == ("retry", "status 429")
    assert 2.0 <= first.delay <= 2.4

    assert second.started == pytest.approx(QUICK + first.delay)
    assert (second.status, second.fault, second.outcome) == (None, Fault.BROKEN, "unanswered")
    assert second.error == "SimulatedFailure: broken off"
    assert (second.decision, second.why) == ("retry", "broken off")

    assert third.started == pytest.approx(second.started + 0.1 + second.delay)
    assert (third.status, third.outcome, third.decision, third.why) == (200, "success", "return", "")


def test_the_journal_reads_as_one_line_for_a_person():
    world = World(script(throttled(429, retry_after="2"), REFUSE, 200), endpoints=THREE)
    line = str(world.make().journal)
    assert "\n" not in line
    assert re.fullmatch(
        r"GET payments: "
        r"attempt 1 at http://n\d: 429 after 20 ms -> retry: status 429 in 2\.\d\d s; "
        r"attempt 2 at http://n\d: SimulatedFailure: unreachable after 1 ms, not sent -> retry: unreachable in \d+ ms; "
        r"attempt 3 at http://n\d: 200 after 20 ms",
        line,
    )


def test_the_journal_of_a_refused_call_says_why_nothing_was_sent():
    world = World(script(200))
    world.upstream.endpoints.members[0].circuit.force_open()
    made = world.make()
    assert str(made.journal) == (
        "GET payments: attempt 1: CircuitOpen: circuit of payments at http://n1 is open; it is held open by hand "
        "after 0 ms, not sent"
    )
    assert made.journal.sent == 0


def test_the_journal_of_a_call_that_waited_for_its_permit_says_so():
    world = World(script((0.5, 200)), concurrency={"limit": 1})
    world.spawn()
    second = world.spawn()
    world.port.run()
    assert str(second.journal) == "GET payments: attempt 1 at http://n1: 200 after 500 ms (queued 500 ms)"


def test_a_call_without_a_deadline_has_no_budget_in_its_journal():
    made = World(script(200), timeout={"total": None}).make(within=math.inf)
    assert made.journal.budget is None
