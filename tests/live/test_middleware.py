"""Middleware over real sockets: signing each attempt, and what it may await."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time

import anyio
import pytest
import trio

from resilient_http import DeadlineExceeded, ForeignAwait, Resilience, journal_of
from tests.live.servers import answer, hang

QUICK = {"retry": {"backoff": {"base": 0.01, "throttled_base": 0.01}}}


def upstream(server, **settings):
    return {"upstreams": {"payments": {"endpoints": [server.url], **QUICK, **settings}}}


async def sign(attempt, proceed):
    """By dotted path, too."""
    request = attempt.call.request
    what = f"{attempt.number} {request.method} {request.url.raw_path.decode()}\n".encode() + request.content
    attempt.headers += (("X-Signature", hmac.new(b"key", what, hashlib.sha256).hexdigest()),)
    return await proceed(attempt)


@pytest.mark.parametrize("way", [sign, f"{__name__}.sign", f"{__name__}:sign"], ids=["object", "path", "entry point"])
def test_each_attempt_is_signed_anew(caller, fault_server, way):
    server = fault_server([answer(503), answer(200)])

    async def body(client):
        return await client.post("http://payments/charges?a=1", content=b"{}", headers={"Idempotency-Key": "k"})

    response = caller.run(caller.resilience(upstream(server, middleware={"attempt": [way]})), body)

    assert response.status_code == 200
    for number, request in enumerate(server.requests, 1):
        what = f"{number} POST /charges?a=1\n{{}}".encode()
        signature = hmac.new(b"key", what, hashlib.sha256).hexdigest()
        assert dict(request.headers)["X-Signature"] == signature


def test_the_defaults_middleware_goes_around_every_upstream(caller, fault_server):
    server = fault_server()
    seen = []

    async def look(call, proceed):
        seen.append(call.upstream)
        return await proceed(call)

    async def body(client):
        await client.get("http://payments/")
        await client.get(server.url)

    caller.run(caller.resilience({"defaults": {"middleware": {"call": [look]}}, **upstream(server)}), body)
    assert seen == ["payments", server.url]


@pytest.mark.parametrize("ring", ["call", "attempt"])
def test_what_else_it_awaits_is_for_async_clients_and_ends_at_the_deadline(caller, fault_server, ring):
    server = fault_server()

    async def slow(subject, proceed):
        await anyio.sleep(5.0)
        return await proceed(subject)

    async def body(client):
        began = time.monotonic()
        with pytest.raises(ForeignAwait if caller.kind == "sync" else caller.errors.DeadlineExceeded):
            await client.get("http://payments/")
        return time.monotonic() - began

    settings = upstream(server, timeout={"total": 0.3}, middleware={ring: [slow]})
    resilience = caller.resilience(settings)
    assert caller.run(resilience, body) < 0.6
    status = resilience.status()["upstreams"]["payments"]
    assert status["concurrency"]["in_flight"] == 0
    assert status["endpoints"][0]["in_flight"] == 0
    assert server.requests == []


def test_a_foreign_await_is_told_by_name_in_a_sync_client(fault_server):
    class Foreign:
        def __await__(self):
            yield "something"

    async def middleware(call, proceed):
        await Foreign()

    server = fault_server()
    resilience = Resilience(upstream(server, middleware={"call": [middleware]}))
    with resilience.client() as client, pytest.raises(ForeignAwait, match="may await only proceed"):
        client.get("http://payments/")


@pytest.mark.parametrize("ring", ["call", "attempt"])
@pytest.mark.parametrize("library", [anyio, asyncio, trio])
def test_what_looks_for_a_loop_in_a_sync_client_is_a_foreign_await(fault_server, ring, library):
    async def slow(subject, proceed):
        await library.sleep(0.01)

    async def mistaken(subject, proceed):
        raise RuntimeError("something else")

    for middleware, error in ((slow, ForeignAwait), (mistaken, RuntimeError)):
        resilience = Resilience(upstream(fault_server(), middleware={ring: [middleware]}))
        with resilience.client() as client, pytest.raises(error) as caught:
            client.get("http://payments/")
        assert type(caught.value) is error or error is ForeignAwait
        assert journal_of(caught.value) is not None


@pytest.mark.parametrize("ring", ["call", "attempt"])
def test_a_streamed_response_that_it_does_not_return_is_freed(caller, fault_server, ring):
    server = fault_server(answer(200, "x" * 500_000))

    async def broken(subject, proceed):
        await proceed(subject)
        raise LookupError

    async def body(client):
        for _ in range(8):
            with pytest.raises(LookupError) as caught:
                await client.stream("GET", "http://payments/")
            assert journal_of(caught.value).attempts[0].status == 200

    settings = upstream(server, pool={"max_connections": 1}, middleware={ring: [broken]})
    resilience = caller.resilience(settings)
    caller.run(resilience, body)
    status = resilience.status()["upstreams"]["payments"]
    assert status["concurrency"]["in_flight"] == 0
    assert status["endpoints"][0]["circuit"]["state"] == "closed"
    assert status["endpoints"][0]["load"] == 0


def test_a_hanging_endpoint_is_still_its_own_failure(caller, fault_server):
    server = fault_server(hang())

    async def through(subject, proceed):
        return await proceed(subject)

    async def body(client):
        with pytest.raises(DeadlineExceeded):
            await client.get("http://payments/")

    middleware = {"call": [through], "attempt": [through]}

    async def hook(request):
        """Code of the user's around the call, which an async client has to cut."""

    hooks = {} if caller.kind == "sync" else {"event_hooks": {"request": [hook]}}
    # A second without an answer tells, whatever cuts it short (state/endpoint.py); the rest is a busy machine's.
    settings = upstream(server, timeout={"total": 1.2}, retry=None, middleware=middleware)
    resilience = caller.resilience(settings)
    caller.run(resilience, body, **hooks)
    assert resilience.status()["upstreams"]["payments"]["endpoints"][0]["load"] > 0  # the penalty of a failure
