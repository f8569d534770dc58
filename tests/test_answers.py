"""What an inbound caller is told when nobody has caught an exception of ours."""

import json
import logging

import pytest

from resilient_http import Cancelled, CircuitOpen, DeadlineExceeded, Saturated, answer_to

MARKER = ("x-dependency-down", "1")


def late():
    return DeadlineExceeded("payments: the deadline of 1 s passed", upstream="payments", budget=1.0)


def refused(retry_in):
    return CircuitOpen("circuit of payments is open", upstream="payments", retry_in=retry_in)


def test_what_was_too_late_is_a_504_without_the_marker():
    answer = answer_to(late())

    assert answer.status == 504
    assert MARKER not in answer.headers
    assert answer.level == logging.WARNING
    assert answer.cause == "payments: the deadline of 1 s passed"


@pytest.mark.parametrize(("retry_in", "seconds"), [(None, "1"), (0.0, "1"), (0.2, "1"), (7.2, "8"), (1e9, "86400")])
def test_what_was_refused_is_a_503_that_says_when_to_come_again(retry_in, seconds):
    answer = answer_to(refused(retry_in))

    assert answer.status == 503
    assert ("retry-after", seconds) in answer.headers
    assert MARKER in answer.headers


def test_a_caller_that_has_gone_is_nothing_to_be_warned_of():
    answer = answer_to(Cancelled("payments: the caller has gone", upstream="payments"))

    assert (answer.status, answer.body, answer.level) == (499, b"", logging.INFO)


@pytest.mark.parametrize("error", [ValueError("no"), ExceptionGroup("two", [late(), ValueError("no")])])
def test_what_is_not_ours_is_not_answered(error):
    assert answer_to(error) is None


def test_a_group_of_ours_is_answered_as_its_first():
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [late()]), refused(1.0)])

    assert answer_to(group).status == 504


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json, text/plain", "application/json"),
        ("application/problem+json", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/plain; charset=utf-8"),
        ("TEXT/plain", "text/plain; charset=utf-8"),
    ],
)
def test_it_is_json_unless_the_caller_asks_for_text(accept, kind):
    answer = answer_to(late(), accept=accept)

    assert ("content-type", kind) in answer.headers
    assert ("content-length", str(len(answer.body))) in answer.headers


def test_the_upstream_is_named_only_where_details_are_asked_for():
    error = Saturated("payments: 10 calls at once", upstream="payments")

    assert b"payments" not in answer_to(error).body
    assert json.loads(answer_to(error, details=True).body)["detail"] == "payments: 10 calls at once"
