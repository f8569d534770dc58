"""Deadlines over real sockets: hard, in sync code too."""

from __future__ import annotations

import time

import anyio
import pytest

from resilient_http import deadline, detached
from resilient_http.scope import current_scope
from tests.live.callers import Caller
from tests.live.servers import answer, delay, drip_body, drip_headers, hang

LATE = 0.25


def upstream(*endpoints, **settings):
    return {"upstreams": {"payments": {"endpoints": list(endpoints), **settings}}}


def exceeded_after(caller, settings, *, budget, stream=False, url="http://payments/"):
    """The error, and how long it took, of a call under a deadline."""

    async def body(client):
        started = time.monotonic()
        with deadline(budget), pytest.raises(caller.errors.DeadlineExceeded) as caught:
            await (client.stream("GET", url) if stream else client.get(url))
        return caught.value, time.monotonic() - started

    return caller.run(caller.resilience(settings), body)


@pytest.mark.parametrize("stream", [False, True], ids=["get", "stream"])
@pytest.mark.parametrize("behaviour", [drip_body(0.05), drip_headers(0.05), hang()], ids=["body", "headers", "silence"])
def test_a_drip_ends_at_the_deadline(caller, fault_server, behaviour, stream):
    server = fault_server(behaviour)

    error, took = exceeded_after(caller, upstream(server.url), budget=0.4, stream=stream)

    assert 0.35 <= took < 0.4 + LATE
    assert error.budget == pytest.approx(0.4)
    assert isinstance(error, caller.module.TimeoutException)
    assert "payments: the deadline of 0.4 s passed" in str(error)
    assert error.journal.attempts[0].sent


def test_a_connect_that_hangs_ends_at_the_deadline(caller, unanswered_url):
    error, took = exceeded_after(caller, upstream(unanswered_url), budget=0.3)

    assert took < 0.3 + LATE
    assert not error.journal.attempts[0].sent


def test_the_total_timeout_of_the_upstream_is_a_deadline_too(caller, fault_server):
    server = fault_server(drip_body(0.05))

    async def body(client):
        started = time.monotonic()
        with pytest.raises(caller.errors.DeadlineExceeded):
            await client.get("http://payments/")
        return time.monotonic() - started

    assert caller.run(caller.resilience(upstream(server.url, timeout={"total": 0.3})), body) < 0.3 + LATE


def test_an_attempt_that_is_cut_is_repeated_within_the_deadline(caller, fault_server):
    server = fault_server([drip_body(0.05), answer(200, "ok")])
    settings = upstream(server.url, timeout={"attempt": 0.2}, retry={"backoff": {"base": 0.01}})

    async def body(client):
        return await client.get("http://payments/")

    response = caller.run(caller.resilience(settings), body)

    assert response.text == "ok"
    assert response.extensions["resilient_http"].attempts[0].fault.value == "timeout"


def test_the_smallest_deadline_wins(caller, fault_server):
    server = fault_server(hang())

    async def body(client):
        started = time.monotonic()
        with deadline(5.0), deadline(0.2), deadline(3.0), pytest.raises(caller.errors.DeadlineExceeded) as caught:
            await client.get("http://payments/")
        return time.monotonic() - started, caught.value.budget

    took, budget = caller.run(caller.resilience(upstream(server.url)), body)

    assert took < 0.2 + LATE
    assert budget == pytest.approx(0.2)


def test_detached_work_is_not_cut(caller, fault_server):
    server = fault_server(delay(0.3, answer(200, "done")))

    async def body(client):
        with deadline(0.1), detached():
            return await client.get("http://payments/")

    assert caller.run(caller.resilience(upstream(server.url)), body).text == "done"


def test_a_timeout_of_the_users_narrows_and_never_widens(caller, fault_server):
    server = fault_server(hang())
    settings = upstream(server.url, timeout={"read": 0.5}, retry=None)

    async def read_timeout(client, **options):
        started = time.monotonic()
        with pytest.raises(caller.module.ReadTimeout):
            await client.get("http://payments/", **options)
        return time.monotonic() - started

    async def body(client):
        return (
            await read_timeout(client),
            await read_timeout(client, timeout=5.0),
            await read_timeout(client, timeout=0.1),
        )

    own, wider, narrower = caller.run(caller.resilience(settings), body)

    assert 0.5 <= own < 0.5 + LATE
    assert 0.5 <= wider < 0.5 + LATE
    assert 0.1 <= narrower < 0.1 + LATE


def test_backoff_that_does_not_fit_returns_the_real_response_at_once(caller, fault_server):
    server = fault_server(answer(503, "busy", headers={"Retry-After": "2"}))

    async def body(client):
        started = time.monotonic()
        with deadline(1.0):
            return await client.get("http://payments/"), time.monotonic() - started

    response, took = caller.run(caller.resilience(upstream(server.url)), body)

    assert (response.status_code, response.text) == (503, "busy")
    assert took < 0.3
    assert "does not fit into the deadline" in response.extensions["resilient_http"].attempts[0].why


def test_a_deadline_that_has_passed_sends_nothing(caller, fault_server):
    server = fault_server(answer(200))

    error, _ = exceeded_after(caller, upstream(server.url), budget=0.0)

    assert server.requests == []
    assert error.journal.attempts == ()


def test_the_pool_is_usable_after_cut_calls(caller, fault_server):
    server = fault_server(drip_body(0.02))

    async def body(client):
        for _ in range(5):
            with deadline(0.05), pytest.raises(caller.errors.DeadlineExceeded):
                await client.get("http://payments/")
        server.play(answer(200, "ok"))
        return [(await client.get("http://payments/")).text for _ in range(5)]

    settings = upstream(server.url, pool={"max_connections": 2}, circuit=None)
    resilience = caller.resilience(settings)

    assert caller.run(resilience, body) == ["ok"] * 5
    assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 0
    assert resilience.status()["upstreams"]["payments"]["endpoints"][0]["in_flight"] == 0


@pytest.mark.parametrize("total", [3.0, None])
def test_a_response_that_is_set_aside_costs_no_more_than_there_is_to_spare(caller, fault_server, total):
    server = fault_server(
        lambda request: drip_body(0.05, status=503) if len(server.requests) == 1 else answer(200, "ok")
    )
    settings = upstream(server.url, timeout={"total": total}, retry={"backoff": {"throttled_base": 0.1}})

    async def body(client):
        started = time.monotonic()
        _, content = await client.stream("GET", "http://payments/")
        return content, time.monotonic() - started

    content, took = caller.run(caller.resilience(settings), body)

    assert content == b"ok"
    assert took < 0.5 + 0.1 + 2 * LATE


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_body_streamed_over_a_transport_of_the_users_ends_at_the_deadline(loop, backend):
    caller = Caller(loop, backend)

    class Endless(caller.module.AsyncByteStream):
        async def __aiter__(self):
            while True:
                await anyio.sleep(0.02)
                yield b"x"

        async def aclose(self):
            pass

    async def handler(_):
        return caller.module.Response(200, stream=Endless())

    async def body(client):
        started = time.monotonic()
        with deadline(0.3), pytest.raises(caller.errors.DeadlineExceeded):
            await client.stream("GET", "http://api.example/")
        return time.monotonic() - started

    assert caller.run(caller.resilience(), body, transport=caller.module.MockTransport(handler)) < 0.3 + LATE


def test_a_stream_that_the_callers_deadline_cuts_says_nothing_about_the_endpoint(caller, fault_server):
    server = fault_server(drip_body(0.01))

    async def body(client):
        with deadline(0.3), pytest.raises(caller.errors.DeadlineExceeded) as caught:
            await client.stream("GET", "http://payments/")
        return caught.value.journal.attempts[0].outcome

    assert caller.run(caller.resilience(upstream(server.url, timeout={"attempt": 0.1})), body) == "neutral"


def test_a_deadline_is_for_one_block():
    once = deadline(1.0)
    with once, pytest.raises(RuntimeError, match="one with block each"), once:
        pass
    assert current_scope().deadline is None
