"""Hedges on a virtual clock: one test per rule of the policy's docstring."""

from __future__ import annotations

import pytest

from resilient_http.errors import DeadlineExceeded
from resilient_http.events import HedgeFinished, HedgeSent, HedgeSuppressed, Observed
from resilient_http.ports.simulated import SimulatedFailure, SimulatedReply
from resilient_http.state.outcome import Fault
from tests.simulation.world import HANG, World, by_host, script

TWO = ["http://n1", "http://n2"]


def hedged(*answers, delay=0.1, endpoints=TWO, respond=None, **own):
    own = {"timeout": {"total": None, "attempt": None}, **own}
    return World(
        respond or script(*answers), endpoints=endpoints, hedge={"delay": delay, **own.pop("hedge", {})}, **own
    )


def test_when_the_first_takes_long_the_second_answers():
    world = hedged((5.0, 200), (0.02, 201))
    made = world.make()
    assert (made.status, made.took) == (201, pytest.approx(0.12))
    first, hedge = made.journal.attempts
    assert (first.hedge, hedge.hedge) == (False, True)
    assert {first.endpoint, hedge.endpoint} == set(TWO)
    assert (first.decision, first.why) == ("lost", "attempt 2 answered first")
    assert (hedge.decision, hedge.outcome) == ("return", "success")
    assert world.told(HedgeSent) == [HedgeSent("payments", 2, 0.1)]
    assert world.told(HedgeFinished) == [HedgeFinished("payments", 2, won=True)]
    assert world.upstream.record.hedges.as_dict() == {"sent": 1, "won": 1}


def test_when_the_first_answers_all_the_same_the_hedge_has_lost():
    world = hedged((0.15, 200), (5.0, 201))
    made = world.make()
    assert (made.status, made.took) == (200, pytest.approx(0.15))
    assert [entry.decision for entry in made.journal.attempts] == ["return", "lost"]
    assert world.upstream.record.hedges.as_dict() == {"lost": 1, "sent": 1}


def test_when_the_first_is_quick_none_is_sent():
    world = hedged((0.09, 200))
    assert len(world.make().journal.attempts) == 1
    assert world.upstream.record.hedges.as_dict() == {}


def test_a_bad_answer_does_not_win():
    world = hedged((0.5, 200), (0.02, 503))
    made = world.make()
    assert (made.status, made.took) == (200, pytest.approx(0.5))


def test_a_first_attempt_that_fails_waits_for_its_hedge():
    world = hedged((0.15, 503), (0.2, 200), retry={"max_attempts": 2})
    made = world.make()
    assert (made.status, made.took) == (200, pytest.approx(0.3))
    assert [entry.status for entry in made.journal.attempts] == [503, 200]


def test_when_both_fail_the_call_sees_the_first_and_may_be_repeated():
    world = hedged((0.15, Fault.BROKEN), (0.02, 503), (0.02, 200), circuit=None)
    made = world.make()
    assert made.status == 200
    assert [(entry.status, entry.decision) for entry in made.journal.attempts] == [
        (None, "retry"), (503, "return"), (200, "return"),
    ]  # fmt: skip


def test_hedges_count_as_attempts():
    world = hedged((0.15, Fault.BROKEN), (0.02, 503), retry={"max_attempts": 2}, circuit=None)
    made = world.make()
    assert isinstance(made.error, SimulatedFailure)
    assert "2 of 2 attempts made" in made.journal.attempts[0].why


def test_a_repeat_is_never_hedged():
    world = hedged((0.02, Fault.BROKEN), (5.0, 200), circuit=None)
    made = world.make()
    assert (made.status, len(made.journal.attempts)) == (200, 2)


@pytest.mark.parametrize("facts", [{"method": "POST"}, {"replayable": False}, {"at_once": False}])
def test_what_may_not_be_sent_twice_is_not(facts):
    made = hedged((5.0, 200)).make(**facts)
    assert (made.took, len(made.journal.attempts)) == (5.0, 1)


def test_for_a_request_that_is_a_repeat_none_is_sent():
    world = hedged((5.0, 200))
    call = world.open_call()
    call.repeated = True
    world.port.spawn(world.upstream.pipeline.run(call))
    world.port.run()
    assert len(call.journal.attempts) == 1


def test_with_a_single_endpoint_it_goes_to_the_same_one():
    made = hedged((5.0, 200), (0.02, 200), endpoints=["http://n1"]).make()
    assert [entry.endpoint for entry in made.journal.attempts] == ["http://n1"] * 2


# The delay


def test_a_quantile_rules_once_a_hundred_attempts_are_known():
    world = hedged(
        delay="p95",
        respond=lambda attempt, now: (
            (0.02 if world.upstream.record.latency.known < 100 else 5.0),
            SimulatedReply(200),
        ),
    )
    for _ in range(99):
        world.make()
    assert len(world.make().journal.attempts) == 1
    made = world.make()
    assert len(made.journal.attempts) == 2
    assert made.journal.attempts[1].started == pytest.approx(0.02, rel=0.1)


def test_a_loser_enters_the_latency_as_at_least_so_long():
    world = hedged((5.0, 200), (0.02, 200), delay="p95")
    for _ in range(100):
        world.upstream.record.latency.record(0.1)
    world.make()
    assert world.upstream.record.latency.known == 102
    # The delay and what the hedge took, as the histogram has it: a bucket's upper edge.
    assert 0.12 <= world.upstream.record.latency.quantile(1.0) < 0.15
    assert [member.latency.known for member in world.upstream.endpoints.members] == [1, 1]


def test_a_loser_that_was_patient_counts_as_silent_and_an_impatient_one_does_not():
    patient = hedged((30.0, 200), (0.02, 200), delay=1.5).make()
    impatient = hedged((30.0, 200), (0.02, 200), delay=0.2).make()
    assert patient.journal.attempts[0].outcome == "unanswered"
    assert impatient.journal.attempts[0].outcome == "neutral"


# What suppresses it


def suppressed(world):
    return [event.why for event in world.told(HedgeSuppressed)]


def test_none_is_sent_for_an_attempt_that_queued():
    world = hedged(
        (5.0, 200), concurrency={"limit": 1, "queue": 5}, timeout={"total": None, "attempt": None, "pool": 60}
    )
    first, second = world.spawn(), world.spawn(at=0.01)
    world.port.run()
    assert (len(first.journal.attempts), len(second.journal.attempts)) == (2, 1)
    # The first's hedge found no permit, and does not queue; the second was still in the queue, and was not hedged.
    assert first.journal.attempts[1].outcome == "refused"
    assert suppressed(world) == ["queued"]
    assert "no hedge: queued" in str(second.journal)


def test_none_is_sent_beside_a_probe_and_none_is_a_probe():
    world = hedged((5.0, 200), endpoints=["http://n1"])
    world.endpoint("n1").circuit.half_open()
    assert len(world.make().journal.attempts) == 1
    assert suppressed(world) == ["probe"]

    world = hedged(respond=by_host(n1=(5.0, 200), n2=(0.02, 200)))
    world.endpoint("n2").circuit.half_open()
    world.endpoint("n2").circuit.rules = world.endpoint("n1").circuit.rules
    call = world.open_call()
    call.tried = ()
    world.endpoint("n2").begin()  # so that the first attempt goes to n1
    world.port.spawn(world.upstream.pipeline.run(call))
    world.port.run()
    assert [entry.endpoint for entry in call.journal.attempts] == ["http://n1"] * 2


def test_none_is_sent_that_does_not_fit_into_the_deadline():
    world = hedged((5.0, 200), delay=0.4)
    for member in world.upstream.endpoints.members:
        for _ in range(20):
            member.latency.record(0.3)
    made = world.make(within=0.5)
    assert isinstance(made.error, DeadlineExceeded)
    assert len(made.journal.attempts) == 1
    assert suppressed(world) == ["deadline"]


def test_half_of_the_budget_is_kept_for_retries():
    world = hedged((5.0, 200), retry={"budget": {"ratio": 0.0, "floor": 0.0}}, circuit=None)
    for _ in range(5):
        world.make()
    assert world.upstream.record.hedges.as_dict() == {"lost": 1, "sent": 1, "suppressed: budget": 4}
    assert world.upstream.budget.tokens(world.port.now()) == 2.0


def test_a_hedge_that_was_not_sent_costs_nothing():
    world = hedged(
        respond=lambda attempt, now: (0.001, Fault.UNREACHABLE) if attempt.hedge else (0.3, SimulatedReply(200))
    )
    world.make()
    assert world.upstream.budget.tokens(world.port.now()) >= 3.0


def test_a_policy_that_only_observes_says_when_it_would_have_sent_one():
    world = hedged((5.0, 200), hedge={"observe": True})
    journal = world.make().journal
    assert len(journal.attempts) == 1
    assert journal.notes == ("hedge: would send a second attempt after 0.1 s, but only observes",)
    assert world.told(Observed) == [Observed("payments", "hedge", "send a second attempt after 0.1 s")]
    assert world.upstream.record.hedges.as_dict() == {"suppressed: observe": 1}


def test_one_that_only_observes_takes_nothing_from_the_budget_that_retries_share():
    world = hedged((5.0, 200), (5.0, 200), hedge={"observe": True})
    before = world.upstream.budget.tokens(world.port.now())
    world.make()
    world.make()
    assert world.upstream.budget.tokens(world.port.now()) >= before


# Nothing is left


def test_permits_and_places_come_back_from_winner_and_loser():
    world = hedged((5.0, 200), (0.02, 200), (0.15, 200), (5.0, 200))
    for _ in range(2):
        world.make()
    assert world.upstream.limit.in_flight == 0
    assert [member.in_flight for member in world.upstream.endpoints.members] == [0, 0]


def test_a_call_that_is_cut_cuts_both():
    world = hedged(HANG)
    made = world.make(within=0.5)
    assert isinstance(made.error, DeadlineExceeded)
    assert made.took == pytest.approx(0.5)
    assert world.upstream.limit.in_flight == 0
