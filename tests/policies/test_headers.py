"""What each attempt tells its upstream about itself."""

from __future__ import annotations

import math

import pytest

from resilient_http.call import Attempt, Call
from resilient_http.policies.headers import HeadersPolicy
from resilient_http.ports.simulated import SimulatedPort
from tests.simulation.world import ended


def sent_headers(policy, *, attempts=1, within=math.inf, streamed=False, limit=math.inf, repeated=False, key=None):
    """The headers of each attempt of a call; they are a tenth of a second apart."""
    port = SimulatedPort(None)
    call = Call(port, "POST", started=port.now(), streamed=streamed)
    call.bound(within, within)
    call.repeated, call.key = repeated, key
    told = []

    async def send(attempt):
        told.append(dict(attempt.headers))

    async def make():
        for _ in range(attempts):
            attempt = Attempt(call, port.now())
            attempt.expires = min(call.expires, port.now() + limit)
            await policy(attempt, send)
            await port.sleep(0.1)

    ended(port, make())
    return told


@pytest.mark.parametrize(
    ("unit", "says"), [("ms", ["500", "400"]), ("s", ["0.500", "0.400"]), ("grpc", ["500m", "400m"])]
)
def test_what_is_left_is_told_anew_with_each_attempt(unit, says):
    told = sent_headers(HeadersPolicy(deadline=("x-left", unit)), attempts=2, within=0.5)
    assert [headers["x-left"] for headers in told] == says


def test_without_a_deadline_nothing_is_told_of_it():
    assert sent_headers(HeadersPolicy(deadline=("x-left", "ms"))) == [{}]


def test_the_attempts_own_time_is_told_when_that_is_less():
    assert sent_headers(HeadersPolicy(deadline=("x-left", "ms")), within=60.0, limit=3.0) == [{"x-left": "3000"}]


def test_nothing_left_is_never_told_as_no_timeout():
    assert sent_headers(HeadersPolicy(deadline=("x-left", "ms")), within=0.0) == [{"x-left": "1"}]


@pytest.mark.parametrize(("streamed", "says"), [(False, "200"), (True, "900")])
def test_who_streams_an_answer_has_until_the_deadline(streamed, says):
    told = sent_headers(HeadersPolicy(deadline=("x-left", "ms")), within=0.9, limit=0.2, streamed=streamed)
    assert told == [{"x-left": says}]


@pytest.mark.parametrize(("repeated", "says"), [(False, ["1", "2"]), (True, ["2", "3"])])
def test_which_attempt_it_is_never_1_for_a_request_that_is_a_repeat(repeated, says):
    told = sent_headers(HeadersPolicy(number="x-attempt"), attempts=2, repeated=repeated)
    assert [headers["x-attempt"] for headers in told] == says


def test_all_attempts_carry_the_same_key():
    assert sent_headers(HeadersPolicy(), attempts=2, key="a-key") == [{"idempotency-key": "a-key"}] * 2
    assert sent_headers(HeadersPolicy()) == [{}]


def test_what_else_the_attempt_carries_stays():
    port = SimulatedPort(None)
    attempt = Attempt(Call(port, "GET", started=0.0), 0.0)
    attempt.headers = (("traceparent", "00-1"),)

    async def send(attempt):
        return attempt.headers

    assert ended(port, HeadersPolicy(number="x-attempt")(attempt, send)) == (
        ("traceparent", "00-1"),
        ("x-attempt", "1"),
    )
