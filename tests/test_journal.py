"""The journal: what it tells a person, a program, and another process."""

from __future__ import annotations

import json
import pickle
from types import SimpleNamespace

import pytest

from resilient_http.journal import Journal, describe, journal_of
from resilient_http.state.outcome import Fault, Outcome


def told() -> Journal:
    """A call whose first attempt broke off, whose second waited for a permit, and was answered."""
    journal = Journal("GET")
    journal.upstream, journal.budget = "payments", 2.0
    first = journal.open_entry(0.0)
    first.endpoint, first.duration, first.sent = "http://10.0.0.1:8080", 0.25, True
    first.error, first.fault, first.outcome = "ReadError: reset", Fault.BROKEN, Outcome.UNANSWERED
    first.decide("retry", "broken off", 0.1)
    second = journal.open_entry(0.35)
    second.endpoint, second.duration, second.sent = "http://10.0.0.2:8080", 1.5, True
    second.queued, second.status, second.outcome = 0.02, 200, Outcome.SUCCESS
    return journal


def test_it_reads_as_one_line_for_a_person():
    assert str(told()) == (
        "GET payments: "
        "attempt 1 at http://10.0.0.1:8080: ReadError: reset after 250 ms -> retry: broken off in 100 ms; "
        "attempt 2 at http://10.0.0.2:8080: 200 after 1.50 s (queued 20 ms)"
    )


def test_an_attempt_that_was_not_sent_says_so():
    journal = Journal("POST")
    journal.upstream = "payments"
    entry = journal.open_entry(0.0)
    entry.error = "CircuitOpen: circuit of payments is open"
    entry.decide("raise", "refused")
    line = "POST payments: attempt 1: CircuitOpen: circuit of payments is open after 0 ms, not sent -> raise: refused"
    assert str(journal) == line


def test_an_answer_that_was_returned_although_it_failed_says_why():
    journal = Journal("GET")
    entry = journal.open_entry(0.0)
    entry.status = 503
    entry.decide("return", "status 503, 3 of 3 attempts made")
    assert str(entry) == "attempt 1: 503 after 0 ms -> return: status 503, 3 of 3 attempts made"


def test_a_call_without_an_attempt_says_so():
    assert str(Journal("GET")) == "GET ?: no attempt was made"
    assert Journal("GET").last is None


def test_its_attempts_are_in_order_and_cannot_be_changed():
    attempts = told().attempts
    assert isinstance(attempts, tuple)
    assert [entry.number for entry in attempts] == [1, 2]
    assert told().last.number == 2


def test_it_counts_what_was_sent():
    journal = told()
    journal.open_entry(2.0)
    assert (len(journal.attempts), journal.sent) == (3, 2)


def test_a_program_reads_it_as_json():
    journal = told()
    journal.note("fallback: answered with a fixed response")
    assert json.loads(json.dumps(journal.as_dict())) == {
        "notes": ["fallback: answered with a fixed response"],
        "upstream": "payments",
        "method": "GET",
        "budget": 2.0,
        "attempts": [
            {
                "number": 1,
                "hedge": False,
                "endpoint": "http://10.0.0.1:8080",
                "started": 0.0,
                "queued": 0.0,
                "duration": 0.25,
                "sent": True,
                "status": None,
                "error": "ReadError: reset",
                "fault": "broken off",
                "outcome": "unanswered",
                "decision": "retry",
                "delay": 0.1,
                "why": "broken off",
            },
            {
                "number": 2,
                "hedge": False,
                "endpoint": "http://10.0.0.2:8080",
                "started": 0.35,
                "queued": 0.02,
                "duration": 1.5,
                "sent": True,
                "status": 200,
                "error": None,
                "fault": None,
                "outcome": "success",
                "decision": "return",
                "delay": 0.0,
                "why": "",
            },
        ],
    }


def test_it_pickles():
    again = pickle.loads(pickle.dumps(told()))
    assert (str(again), again.as_dict()) == (str(told()), told().as_dict())


def test_one_attempts_entry_does_not_change_another():
    first, second = told().attempts
    fresh = Journal("GET").open_entry(0.0)
    assert (fresh.endpoint, fresh.status, fresh.error, fresh.why) == ("", None, None, "")
    assert first.status is None
    assert second.why == ""


def test_it_can_be_read_in_a_debugger():
    assert repr(told()).startswith("<Journal GET payments: attempt 1")
    assert repr(told().last).startswith("<attempt 2 at")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("bad"), "ValueError: bad"),
        (ValueError(), "ValueError"),
        (OSError("one\n  two\ttabs"), "OSError: one two tabs"),
        (ValueError("x" * 1000), "ValueError: " + "x" * 200),
        (ValueError("a\x1b[2J\u202e"), r"ValueError: a\x1b[2J\u202e"),
    ],
)
def test_an_exception_is_one_line(error, line):
    assert describe(error) == line


def test_it_is_found_on_a_response_on_an_exception_and_on_one_that_leads_to_its_response():
    journal = told()
    response = SimpleNamespace(extensions={"resilient_http": journal})
    error, bad_status = LookupError("refused"), LookupError("503")
    error.journal, bad_status.response = journal, response
    assert journal_of(response) is journal_of(error) is journal_of(bad_status) is journal


@pytest.mark.parametrize("outcome", [None, LookupError("foreign"), SimpleNamespace(extensions={})])
def test_what_has_none_has_none(outcome):
    assert journal_of(outcome) is None


def test_what_was_decided_about_the_whole_call_is_told_last():
    journal = told()
    journal.note("fallback: answered with a fixed response")
    assert str(journal) == f"{told()}; fallback: answered with a fixed response"
    assert journal.notes == ("fallback: answered with a fixed response",)
    assert pickle.loads(pickle.dumps(journal)).notes == journal.notes
