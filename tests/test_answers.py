"""What an inbound caller is told when nobody has caught an exception of ours."""

import json
import logging

import httpx
import pytest

from resilient_http import (
    Cancelled,
    CircuitOpen,
    DeadlineExceeded,
    NoEndpoint,
    RateLimited,
    ResilienceError,
    Saturated,
    SettingsError,
    answer_to,
)
from resilient_http import httpx2 as over_httpx2
from resilient_http.journal import Journal

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


@pytest.mark.parametrize(("retry_in", "seconds"), [
        (None, "1"), (0.0, "1"), (0.2, "1"), (1.0, "1"), (1.001, "2"), (7.2, "8"), (86_399.5, "86400"), (1e9, "86400"),
        (float("inf"), "86400"),
    ],
)  # fmt: skip
def test_what_was_refused_is_a_503_that_says_when_to_come_again(retry_in, seconds):
    answer = answer_to(refused(retry_in))

    assert answer.status == 503
    assert ("retry-after", seconds) in answer.headers
    assert MARKER in answer.headers


def test_a_caller_that_has_gone_is_nothing_to_be_warned_of():
    answer = answer_to(Cancelled("payments: the caller has gone", upstream="payments"))

    assert (answer.status, answer.body, answer.level) == (499, b"", logging.INFO)
    assert answer.headers == (("content-length", "0"),)
    assert answer.cause == "payments: the caller has gone"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        TimeoutError(),
        KeyboardInterrupt(),
        SettingsError("wrong", path="timeout", value=0),
        ResilienceError("of no kind that is answered"),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("late"),
        ExceptionGroup("two", [late(), ValueError("no")]),
        ExceptionGroup("two", [ValueError("no"), late()]),
        ExceptionGroup("deep", [late(), ExceptionGroup("inner", [refused(1.0), ValueError("no")])]),
        BaseExceptionGroup("base", [late(), KeyboardInterrupt()]),
    ],
    ids=repr,
)
def test_what_is_not_ours_is_not_answered(error):
    assert answer_to(error) is None


@pytest.mark.parametrize(
    "error",
    [
        refused(1.0),
        Saturated("payments: 10 calls at once", upstream="payments"),
        RateLimited("payments: too many", upstream="payments"),
        NoEndpoint("payments has no endpoint", upstream="payments"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_each_way_of_being_refused_is_a_503_with_the_marker(error):
    answer = answer_to(error)

    assert answer.status == 503
    assert MARKER in answer.headers
    assert "retry-after" in dict(answer.headers)


@pytest.mark.parametrize("kind", ["DeadlineExceeded", "CircuitOpen", "Cancelled"])
def test_those_over_httpx2_are_answered_alike(kind):
    error = getattr(over_httpx2, kind)("payments: no", upstream="payments")

    assert answer_to(error).status == {"DeadlineExceeded": 504, "CircuitOpen": 503, "Cancelled": 499}[kind]


def test_a_group_of_ours_is_answered_as_its_first():
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [late()]), refused(1.0)])

    assert answer_to(group).status == 504
    assert answer_to(ExceptionGroup("outer", [refused(1.0), late()])).status == 503
    assert answer_to(BaseExceptionGroup("outer", [Cancelled("gone"), late()])).status == 499


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json, text/plain", "application/json"),
        ("application/problem+json", "application/json"),
        ("", "application/json"),
        ("image/png", "application/json"),
        ("text/html, APPLICATION/JSON", "application/json"),
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


@pytest.mark.parametrize("accept", ["application/json", "text/plain"])
def test_details_tell_the_journal_and_nothing_else_does(accept):
    error = late()
    error.journal = Journal("GET")
    error.journal.upstream = "payments"

    plain, detailed = answer_to(error, accept=accept), answer_to(error, accept=accept, details=True)

    assert b"payments" not in plain.body
    assert b"deadline of 1 s" not in plain.body
    assert "the deadline of 1 s passed" in detailed.body.decode()
    assert str(error.journal) in detailed.body.decode()
    assert plain.cause == detailed.cause == f"{error} ({error.journal})"


def test_what_was_refused_without_a_journal_has_no_empty_line_in_its_text():
    body = answer_to(refused(1.0), accept="text/plain", details=True).body.decode()

    assert body == "a service that this one depends on is not available\ncircuit of payments is open\n"


def test_nobody_keeps_an_answer():
    for error in (late(), refused(1.0)):
        assert ("cache-control", "no-store") in answer_to(error).headers


@pytest.mark.parametrize(("path", "shown"), [
        ("/a\n2026 forged", "/a\\n2026 forged"), ("/\x1b[2J", "/\\x1b[2J"), ("/\u2028\u202e", "/\\u2028\\u202e"),
        ("/Grüße/\\n", "/Grüße/\\n"), ("/\udc80", "/\\udc80"),
    ],
)  # fmt: skip
def test_a_path_cannot_forge_a_line_of_the_log(caplog, path, shown):
    answer_to(late()).log(logging.getLogger("resilient_http.test"), "GET", path)

    (record,) = caplog.records
    assert record.getMessage() == f"GET {shown} answered with 504: payments: the deadline of 1 s passed"
    assert record.funcName == "test_a_path_cannot_forge_a_line_of_the_log"
