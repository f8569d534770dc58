"""What an inbound request's headers say about time and trace, in literals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http import inbound_scope
from resilient_http.settings.models import InboundSettings

EXPECTED = "x-envoy-expected-rq-timeout-ms"
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def scope_of(headers=None, *, now=100.0, **inbound):
    return inbound_scope(InboundSettings(**inbound), (headers or {}).get, now=now)


def budget(headers=None, **inbound):
    deadline = scope_of(headers, **{"reserve": 0.0, **inbound}).deadline
    return None if deadline is None else deadline.budget


def test_without_a_header_the_configured_timeout_is_the_budget():
    assert budget(timeout=4.0) == 4.0


def test_a_header_shortens_the_budget():
    assert budget({EXPECTED: "250"}, timeout=4.0) == 0.25


def test_a_header_never_lengthens_the_budget():
    assert budget({EXPECTED: "60000"}, timeout=4.0) == 4.0


def test_without_a_configured_timeout_the_header_alone_bounds():
    assert budget({EXPECTED: "250"}, timeout=None) == 0.25


def test_without_timeout_and_header_there_is_no_deadline():
    assert scope_of(timeout=None).deadline is None


def test_of_several_headers_the_smallest_counts():
    headers = {"x-mine": "300", "x-theirs": "200"}

    assert budget(headers, deadline_headers=("X-Mine", "X-Theirs")) == 0.2


@pytest.mark.parametrize(
    "value", ["", "soon", "-5", "+5", "1.5", "5s", "1e3", "0", "\u0665", "5,7", "9" * 16, "0x10", "1_000"]
)
def test_a_header_that_is_malformed_or_says_nothing_is_ignored(value):
    assert budget({EXPECTED: value}, timeout=4.0) == 4.0


def test_space_around_a_number_is_no_mistake():
    assert budget({EXPECTED: " 250 "}) == 0.25


def test_the_deadline_counts_from_the_arrival_less_the_reserve():
    deadline = scope_of(timeout=4.0, reserve=0.05, now=100.0).deadline

    assert deadline.expires == 103.95
    assert deadline.budget == 3.95


def test_the_reserve_takes_at_most_a_fifth_of_a_short_budget():
    assert budget({EXPECTED: "100"}, reserve=0.05) == pytest.approx(0.08)


@given(st.text(), st.floats(0.01, 100), st.floats(0, 10))
def test_whatever_a_header_says_the_budget_is_positive_and_never_longer_than_configured(value, timeout, reserve):
    assert 0 < budget({EXPECTED: value}, timeout=timeout, reserve=reserve) <= timeout


def test_what_outlives_a_request_has_no_deadline_but_its_trace():
    scope = inbound_scope(None, {EXPECTED: "250", "traceparent": PARENT}.get, now=100.0)

    assert scope.deadline is None
    assert scope.headers == (("traceparent", PARENT),)


def test_trace_headers_are_passed_on_as_they_came():
    headers = {"traceparent": PARENT, "tracestate": "vendor=1,other=2", "baggage": "user=7", "cookie": "a=b"}

    assert dict(scope_of(headers).headers) == {name: headers[name] for name in ("traceparent", "tracestate", "baggage")}


@pytest.mark.parametrize(
    "parent",
    [
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        PARENT.upper(),
        PARENT + "," + PARENT,
        PARENT + "\n",
        PARENT[:-1],
        "",
    ],
)
def test_a_malformed_traceparent_is_dropped_and_its_tracestate_with_it(parent):
    assert scope_of({"traceparent": parent, "tracestate": "vendor=1"}).headers == ()


def test_a_traceparent_of_a_later_version_is_passed_on():
    later = "01" + PARENT[2:] + "-more"

    assert scope_of({"traceparent": later}).headers == (("traceparent", later),)


def test_what_is_not_printable_is_not_passed_on():
    assert scope_of({"baggage": "a=\xe9"}).headers == ()
    assert scope_of({"baggage": "a=1\r\nX: y"}).headers == ()
