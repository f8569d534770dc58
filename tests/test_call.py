"""Call and attempt: deadlines that narrow, and an end that comes once."""

from __future__ import annotations

import math

import pytest

from resilient_http.call import Attempt, Call
from resilient_http.errors import Saturated
from resilient_http.ports.simulated import SimulatedPort
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.outcome import Fault, Outcome


def call_at(now: float = 0.0) -> Call:
    port = SimulatedPort(None)
    port._clock = now
    call = Call(port, "GET", started=now)
    call.enter("payments", None, "GET", repeatable=True, replayable=True)
    return call


# Call


def test_the_deadline_that_ends_first_wins_and_the_journal_knows_it():
    call = call_at()
    assert (call.expires, call.journal.budget) == (math.inf, None)
    call.bound(10.0, 10.0)
    call.bound(2.0, 2.0)
    call.bound(5.0, 5.0)
    assert (call.expires, call.budget, call.journal.budget) == (2.0, 2.0, 2.0)


def test_it_is_overdue_from_a_hair_before_its_deadline():
    call = call_at()
    call.bound(2.0, 2.0)
    assert not call.overdue(1.99)
    assert call.overdue(1.996)
    assert call.overdue(2.0)


def test_without_a_deadline_it_is_never_overdue():
    assert not call_at().overdue(1e12)


def test_the_error_of_its_deadline_says_where_it_was():
    call = call_at()
    call.bound(2.0, 2.0)
    call.port._clock = 2.0
    assert str(call.exceeded()) == (
        "payments: the deadline of 2 s passed after 2.000 s: 2.00 s before the first attempt; nothing had been sent"
    )
    attempt = Attempt(call, 0.5)
    attempt.entry.endpoint = "http://n1"
    attempt.sent = True
    attempt.end(2.0, TimeoutError("late"))
    error = call.exceeded()
    assert str(error) == (
        "payments: the deadline of 2 s passed after 2.000 s: 500 ms before the first attempt, "
        "1.50 s in attempt 1 at http://n1 (TimeoutError); attempt 1 had no answer yet"
    )
    assert (error.upstream, error.budget, error.journal) == ("payments", 2.0, call.journal)


def test_each_hop_begins_with_endpoints_untried_and_goes_on_in_the_same_journal():
    call = call_at()
    Attempt(call, 0.0)
    call.tried = (Endpoint("http", "n1", 80),)
    call.enter("refunds", "request", "POST", repeatable=False, replayable=False)
    assert call.tried == ()
    assert (call.upstream, call.method, call.repeatable, call.replayable) == ("refunds", "POST", False, False)
    assert call.journal.upstream == "refunds"
    assert Attempt(call, 1.0).number == 2


# Attempt


def test_an_attempt_opens_its_entry_in_the_journal():
    call = call_at(100.0)
    attempt = Attempt(call, 100.5)
    assert attempt.number == 1
    assert call.journal.last is attempt.entry
    assert attempt.entry.started == 0.5


def test_an_attempt_has_the_time_of_its_call():
    call = call_at()
    call.bound(2.0, 2.0)
    assert Attempt(call, 0.0).expires == 2.0


def test_those_who_want_to_know_its_end_are_told_once_and_the_oldest_first():
    attempt, told = Attempt(call_at(), 1.0), []
    attempt.at_end(lambda ended, now: told.append(("first", ended, now)))
    attempt.at_end(lambda ended, now: told.append(("second", ended, now)))
    attempt.end(3.5)
    attempt.end(9.0, LookupError("late"))
    assert told == [("first", attempt, 3.5), ("second", attempt, 3.5)]
    assert (attempt.entry.duration, attempt.entry.error) == (2.5, None)


def test_an_answer_was_sent():
    attempt = Attempt(call_at(), 0.0)
    attempt.answer(503)
    assert (attempt.sent, attempt.status) == (True, 503)
    attempt.end(0.1)
    assert (attempt.entry.sent, attempt.entry.status, attempt.entry.decision) == (True, 503, "return")


@pytest.mark.parametrize("sent", [True, False])
def test_a_failure_is_noted_with_its_reason(sent):
    attempt = Attempt(call_at(), 0.0)
    attempt.sent, attempt.fault = sent, Fault.TIMEOUT
    error = LookupError("no answer")
    attempt.end(0.1, error)
    entry = attempt.entry
    assert (entry.error, entry.fault, entry.sent, entry.decision) == (
        "LookupError: no answer",
        Fault.TIMEOUT,
        sent,
        "raise",
    )


def test_those_who_are_told_of_the_end_see_the_exception_which_is_not_held_longer():
    attempt, seen = Attempt(call_at(), 0.0), []
    error = LookupError("no answer")
    attempt.at_end(lambda ended, now: seen.append(ended.error))
    attempt.end(0.1, error)
    assert seen == [error]
    assert attempt.error is None


def test_a_refused_attempt_is_neither_under_way_nor_sent():
    attempt = Attempt(call_at(), 0.0)
    attempt.end(0.0, Saturated("payments: all permits are taken", upstream="payments"))
    assert (attempt.entry.outcome, attempt.entry.sent, attempt.entry.fault) == ("refused", False, None)


def test_what_it_counts_as_is_noted():
    attempt = Attempt(call_at(), 0.0)
    attempt.at_end(lambda ended, now: ended.conclude(Outcome.FAILURE))
    attempt.end(0.1, LookupError("reset"))
    assert attempt.entry.outcome == "failure"


def test_an_attempt_cannot_be_sent_before_an_endpoint_was_chosen():
    attempt = Attempt(call_at(), 0.0)
    with pytest.raises(RuntimeError, match="before an endpoint was chosen"):
        _ = attempt.chosen
    attempt.endpoint = Endpoint("http", "n1", 80)
    assert attempt.chosen.host == "n1"


def test_one_attempt_does_not_change_another():
    call = call_at()
    first, second = Attempt(call, 0.0), Attempt(call, 0.0)
    first.narrowed = True
    first.headers += (("traceparent", "00"),)
    assert not second.narrowed
    assert second.headers == ()
