"""What an inbound request says about time and trace, in literals."""

import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http import Cancellation, DeadlineExceeded
from resilient_http.inbound import Inbound
from resilient_http.settings.inbound import InboundSettings

EXPECTED = "x-envoy-expected-rq-timeout-ms"
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRUSTED = "10.1.2.3"


def reader(**inbound):
    return Inbound(InboundSettings(**{"reserve": 0.0, "trusted_peers": ["10.0.0.0/8", "2001:db8::1"], **inbound}))


def arrive(headers=None, peer="192.0.2.1", **inbound):
    return reader(**inbound).arrive((headers or {}).get, peer)


def budget(headers=None, peer="192.0.2.1", **inbound):
    return arrive(headers, peer, **inbound).scope.deadline.budget


def test_without_a_header_the_configured_timeout_is_the_budget():
    assert budget(timeout=4.0) == 4.0


def test_the_deadline_counts_from_the_arrival():
    before = time.monotonic()
    arrival = arrive(timeout=4.0)
    assert before + 4.0 <= arrival.scope.deadline.expires <= time.monotonic() + 4.0


def test_without_timeout_and_header_nothing_bounds():
    assert budget(timeout=None) == float("inf")


@pytest.mark.parametrize("peer", ["192.0.2.1", TRUSTED, None, "", "nonsense"])
def test_a_header_shortens_the_budget_for_anybody(peer):
    assert budget({EXPECTED: "250"}, peer, timeout=4.0) == 0.25


@pytest.mark.parametrize("timeout", [4.0, None])
def test_a_header_of_a_stranger_never_lengthens_the_budget(timeout):
    assert budget({EXPECTED: "60000"}, timeout=timeout) == (timeout or 60.0)


def test_a_header_of_a_trusted_peer_lengthens_it_up_to_the_maximum():
    assert budget({EXPECTED: "20000"}, TRUSTED, timeout=4.0) == 20.0
    assert budget({EXPECTED: "90000"}, TRUSTED, timeout=4.0, max=30.0) == 30.0


def test_the_maximum_never_shortens_what_the_settings_grant():
    assert budget({EXPECTED: "90000"}, TRUSTED, timeout=50.0, max=30.0) == 50.0


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        (TRUSTED, True),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::1", True),
        ("2001:db8::2", False),
        ("11.0.0.1", False),
        ("fe80::1%eth0", False),
        ("testclient", False),
        (None, False),
    ],
)
def test_peers_are_trusted_by_address_and_network(peer, trusted):
    assert budget({EXPECTED: "20000"}, peer, timeout=4.0) == (20.0 if trusted else 4.0)


def test_a_unix_socket_is_trusted_by_name():
    assert budget({EXPECTED: "20000"}, None, timeout=4.0, trusted_peers=["unix"]) == 20.0
    assert budget({EXPECTED: "20000"}, "", timeout=4.0, trusted_peers=["unix"]) == 20.0
    assert budget({EXPECTED: "20000"}, TRUSTED, timeout=4.0, trusted_peers=["unix"]) == 4.0


def test_of_several_headers_the_smallest_counts():
    headers = {"x-mine-ms": "300", "grpc-timeout": "200m"}
    assert budget(headers, deadline_headers=("X-Mine-Ms", "grpc-timeout")) == 0.2


@pytest.mark.parametrize(
    ("header", "value", "seconds"),
    [
        ({"name": "request-timeout", "unit": "s"}, "2", 2.0),
        ({"name": "request-timeout", "unit": "s"}, "0.5", 0.5),
        ({"name": "request-timeout", "unit": "ms"}, "500", 0.5),
        ({"name": "request-timeout", "unit": "grpc"}, "500m", 0.5),
        ("connect-timeout-ms", "1500", 1.5),
        ("grpc-timeout", "1S", 1.0),
        ("grpc-timeout", "3000000u", 3.0),
        ("grpc-timeout", "99999999n", 0.099999999),
    ],
)
def test_each_header_has_its_unit(header, value, seconds):
    name = header if isinstance(header, str) else header["name"]
    assert budget({name: value}, deadline_headers=[header]) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", ["", "soon", "-5", "+5", "5s", "1e3", "\u0665", "5,7", "9" * 16, "0x10", "1_000", "31536000001", "nan"]
)
def test_a_value_that_is_malformed_or_absurd_is_ignored_and_counted(value):
    inbound = reader(timeout=4.0)
    assert inbound.arrive({EXPECTED: value}.get, TRUSTED).scope.deadline.budget == 4.0
    assert inbound.status() == {"ignored": {EXPECTED: 1}}


@pytest.mark.parametrize("value", ["", "5", "5s", "S", "123456789S", "-1S", "1 S", "1.5S"])
def test_a_grpc_timeout_that_is_malformed_is_ignored_and_counted(value):
    inbound = reader(timeout=4.0, deadline_headers=["grpc-timeout"])
    assert inbound.arrive({"grpc-timeout": value}.get, None).scope.deadline.budget == 4.0
    assert inbound.status() == {"ignored": {"grpc-timeout": 1}}


def test_zero_milliseconds_mean_no_timeout_and_are_no_mistake():
    inbound = reader(timeout=4.0)
    assert inbound.arrive({EXPECTED: "0"}.get, None).scope.deadline.budget == 4.0
    assert inbound.status() == {"ignored": {}}


def test_zero_of_grpc_is_a_deadline_that_has_passed():
    assert arrive({"grpc-timeout": "0n"}, deadline_headers=["grpc-timeout"]).exhausted


@given(st.text(), st.sampled_from([None, TRUSTED, "192.0.2.1"]))
def test_whatever_the_headers_hold_is_never_an_error_and_never_exceeds_the_maximum(text, peer):
    headers = {EXPECTED: text, "grpc-timeout": text, "x-request-start": text}
    arrival = arrive(headers, peer, timeout=4.0, max=30.0, deadline_headers=[EXPECTED, "grpc-timeout"])
    assert 0.0 <= arrival.scope.deadline.budget <= 30.0
    assert arrival.queued >= 0.0


@pytest.mark.parametrize("unit", [1.0, 1e3, 1e6, 1e9], ids=["s", "ms", "us", "ns"])
@pytest.mark.parametrize("prefix", ["", "t="])
def test_time_in_a_trusted_queue_is_taken_off(prefix, unit):
    start = f"{prefix}{int((time.time() - 1.5) * unit)}"
    arrival = arrive({"x-request-start": start}, TRUSTED, timeout=4.0)
    assert arrival.queued == pytest.approx(1.5, abs=1.1 if unit == 1.0 else 0.1)
    assert arrival.scope.deadline.budget == pytest.approx(4.0 - arrival.queued)


def test_a_fraction_of_a_second_counts():
    arrival = arrive({"x-request-start": f"t={time.time() - 1.25:.3f}"}, TRUSTED, timeout=4.0)
    assert arrival.queued == pytest.approx(1.25, abs=0.1)


def test_a_strangers_queue_time_is_not_believed():
    assert budget({"x-request-start": f"{time.time() - 2:.3f}"}, timeout=4.0) == 4.0


@pytest.mark.parametrize("ahead", [0.5, 100.0, -4000.0])
def test_a_clock_that_differs_takes_nothing_off(ahead):
    inbound = reader(timeout=4.0)
    arrival = inbound.arrive({"x-request-start": f"{time.time() + ahead:.3f}"}.get, TRUSTED)
    assert arrival.queued == 0.0
    assert inbound.status()["ignored"] == ({} if ahead == 0.5 else {"x-request-start": 1})


def test_a_request_that_has_waited_too_long_has_nothing_left_and_says_why():
    arrival = arrive({"x-request-start": f"{time.time() - 5:.3f}"}, TRUSTED, timeout=4.0)
    assert arrival.exhausted
    error = arrival.exceeded()
    assert isinstance(error, DeadlineExceeded)
    assert "nothing left of its budget of 4 s, 5 s of which it had waited in a queue" in str(error)


def test_a_route_replaces_the_default_but_neither_header_nor_queue_time():
    arrival = arrive({"x-request-start": f"{time.time() - 5:.3f}"}, TRUSTED, timeout=4.0)
    arrival.allow(30.0)
    assert not arrival.exhausted
    assert arrival.scope.deadline.budget == pytest.approx(25.0, abs=0.1)

    shortened = arrive({EXPECTED: "250"}, timeout=4.0)
    shortened.allow(30.0)
    assert shortened.scope.deadline.budget == 0.25
    shortened.allow(0.1)
    assert shortened.scope.deadline.budget == 0.1
    shortened.allow(None)
    assert shortened.scope.deadline.budget == 0.25


def test_the_reserve_is_kept_back_but_at_most_a_fifth():
    assert budget(timeout=4.0, reserve=0.05) == pytest.approx(3.95)
    assert budget({EXPECTED: "100"}, timeout=4.0, reserve=0.05) == pytest.approx(0.08)


def test_once_answered_nothing_is_bounded_and_nothing_cancelled():
    cancellation = Cancellation()
    arrival = reader().arrive({}.get, None, cancellation=cancellation)
    arrival.answered()
    cancellation.request()
    assert arrival.scope.deadline.left(time.monotonic()) == float("inf")
    assert not cancellation.requested


def test_what_outlives_a_request_has_no_deadline_but_a_trace():
    scope = reader().connect({EXPECTED: "250", "traceparent": PARENT}.get)
    assert scope.deadline is None
    assert scope.headers == (("traceparent", PARENT),)


def trace_of(headers):
    return dict(arrive(headers).scope.headers)


def test_trace_headers_are_passed_on():
    headers = {"traceparent": PARENT, "tracestate": "a=1", "baggage": "b=2", "cookie": "c=3"}
    assert trace_of(headers) == {"traceparent": PARENT, "tracestate": "a=1", "baggage": "b=2"}


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "nonsense",
        PARENT.upper(),
        PARENT.replace("00-", "ff-", 1),
        PARENT + "-extra\n",
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        PARENT + "\u00e9",
    ],
)
def test_a_malformed_traceparent_is_dropped_with_its_tracestate(parent):
    assert trace_of({"traceparent": parent, "tracestate": "a=1", "baggage": "b=2"}) == {"baggage": "b=2"}


def test_a_traceparent_of_a_later_version_may_be_longer():
    later = PARENT.replace("00-", "01-", 1) + "-more"
    assert trace_of({"traceparent": later}) == {"traceparent": later}


@pytest.mark.parametrize("value", ["a=1\r\nx: y", "a=\u00e9", "a=\x00"])
def test_a_header_that_could_not_be_sent_is_not_passed_on(value):
    assert trace_of({"baggage": value}) == {}


ATTEMPT = "x-envoy-attempt-count"


@pytest.mark.parametrize(("count", "repeated"), [("1", False), ("2", True), (" 17 ", True)])
def test_a_trusted_peer_says_whether_a_request_is_a_repeat(count, repeated):
    assert arrive({ATTEMPT: count}, TRUSTED).scope.repeated is repeated


def test_a_stranger_cannot_say_that_it_is():
    assert not arrive({ATTEMPT: "2"}).scope.repeated


@given(st.text(max_size=20))
def test_whatever_stands_there_is_no_error(count):
    inbound = reader()
    repeated = inbound.arrive({ATTEMPT: count}.get, TRUSTED).scope.repeated
    said = count.strip()
    assert repeated is (said.isascii() and said.isdigit() and len(said) <= 6 and int(said) > 1)


@pytest.mark.parametrize("count", ["0", "-2", "two", "2, 2", "1e3", ""])
def test_a_malformed_count_is_counted(count):
    inbound = reader()
    assert not inbound.arrive({ATTEMPT: count}.get, TRUSTED).scope.repeated
    assert inbound.status() == {"ignored": {ATTEMPT: 1}}


def test_the_header_of_repeats_can_be_switched_off():
    assert not arrive({ATTEMPT: "2"}, TRUSTED, repeat_header=None).scope.repeated


# Priority


@pytest.mark.parametrize(
    ("peer", "value", "priority"),
    [
        ("10.0.0.1", "sheddable", "sheddable"),
        ("10.0.0.1", " Critical ", "critical"),
        ("10.0.0.1", "urgent", None),
        ("10.0.0.1", None, None),
        ("192.0.2.1", "critical", None),
    ],
)
def test_a_priority_is_believed_of_a_trusted_peer_alone(peer, value, priority):
    inbound = Inbound(InboundSettings(priority_header="X-Priority", trusted_peers=("10.0.0.0/8",)))
    arrival = inbound.arrive({"x-priority": value}.get, peer)
    assert arrival.scope.priority == priority
    assert inbound.status() == {"ignored": {"x-priority": 1} if value == "urgent" else {}}


def test_without_the_setting_no_header_says_a_priority():
    inbound = Inbound(InboundSettings(trusted_peers=("10.0.0.0/8",)))
    assert inbound.arrive({"x-priority": "critical"}.get, "10.0.0.1").scope.priority is None


@pytest.mark.parametrize(("argv", "environment", "warns"), [
        (["uvicorn", "--forwarded-allow-ips", "*"], None, True), (["uvicorn", "--forwarded-allow-ips=*"], None, True),
        (["uvicorn"], "*", True), (["uvicorn", "--forwarded-allow-ips", "10.0.0.1", "*"], "10.0.0.1", False),
        (["uvicorn"], None, False),
    ],
)  # fmt: skip
def test_a_server_that_lets_anybody_pose_as_a_trusted_peer_is_warned_of(monkeypatch, caplog, argv, environment, warns):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    if environment is not None:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", environment)

    Inbound(InboundSettings())
    assert not caplog.records
    Inbound(InboundSettings(trusted_peers=("10.0.0.1",)))

    assert ["pose as a trusted peer" in record.getMessage() for record in caplog.records] == [True] * warns
