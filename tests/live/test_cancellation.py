"""Cancellation: a caller that gives up costs no connection, and an inbound caller that goes away ends the work."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest
import trio

from resilient_http import Cancellation, Resilience, Scope, detached, enter_scope
from resilient_http.engines.pool import lender_of
from tests.live.servers import answer, delay, drip_body, hang

SOON = 0.15  # seconds in which a call ends when its inbound caller has gone: two looks, and a busy machine


@pytest.fixture(params=[("asyncio", "default"), ("trio", "default"), ("asyncio", "aiohttp")], ids="-".join)
def way(request):
    """Event loop and engine."""
    return request.param


def upstream(*endpoints, **settings):
    return {"upstreams": {"payments": {"endpoints": list(endpoints), **settings}}}


NARROW = {
    "pool": {"max_connections": 10},
    "concurrency": {"limit": 10, "queue": 10_000},
    "timeout": {"pool": 30.0},
    "circuit": None,
}


@asynccontextmanager
async def patience(loop, seconds):
    """The loop's own way of giving up: asyncio cancels a task once, trio at each checkpoint."""
    if loop == "trio":
        with trio.move_on_after(seconds):
            yield
    else:
        async with asyncio.timeout(seconds):
            yield


def lenders_of(resilience):
    """What lends connections in the running loop."""
    return [lender_of(engine) for engine in resilience.async_port.engines._engines.values()]


@pytest.mark.parametrize("callers", [20, 2], ids=["most in the queue", "most under way"])
@pytest.mark.parametrize("streamed", [False, True], ids=["get", "stream"])
def test_five_thousand_cancelled_requests_cost_no_connection(way, backend, nginx, streamed, callers):
    (loop, engine), server, dice = way, nginx(), random.Random(7)
    resilience = Resilience({"backend": backend, "engine": engine, **upstream(server.url, **NARROW)})

    async def request(client):
        if streamed:
            async with client.stream("GET", "http://payments/") as response:
                await response.aread()
        else:
            await client.get("http://payments/")

    async def impatient(client, count):
        for _ in range(count):
            with suppress(TimeoutError):
                async with patience(loop, dice.uniform(0.0, 0.004)):
                    await request(client)

    before = open_sockets()

    async def story():
        async with resilience, resilience.async_client() as client:
            async with anyio.create_task_group() as tasks:
                for _ in range(callers):
                    tasks.start_soon(impatient, client, 5000 // callers)
            left = [connection for lender in lenders_of(resilience) for connection in lender._connections._ends]
            answers = [await client.get("http://payments/") for _ in range(10)]
            return answers, left, resilience.status()["upstreams"]["payments"]["concurrency"]

    answers, left, limiter = anyio.run(story, backend=loop)

    assert [response.status_code for response in answers] == [200] * 10
    assert len(left) <= 10  # none, when the last of them were all cut
    if callers == 2:
        assert len(server.access_log) > 100  # many did get as far as the server
    assert all(connection.is_idle() or connection.is_closed() for connection in left)
    assert (limiter["limit"], limiter["in_flight"], limiter["queued"]) == (10, 0, 0)
    assert open_sockets() == before


@pytest.mark.parametrize("read", ["aiter_raw", "aiter_bytes", "aiter_lines"])
def test_who_gives_up_within_a_streamed_body_is_told_just_that(way, backend, fault_server, read):
    (loop, engine), server = way, fault_server(drip_body(0.01))
    resilience = Resilience({"backend": backend, "engine": engine, **upstream(server.url, **NARROW)})

    async def drain(client):
        async with client.stream("GET", "http://payments/") as response:
            async for _ in getattr(response, read)():
                pass

    async def story():
        async with resilience, resilience.async_client() as client:
            with anyio.move_on_after(0.1) as scope:
                await drain(client)
            with pytest.raises(TimeoutError):
                with anyio.fail_after(0.1):
                    await drain(client)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(drain, client)
                await anyio.sleep(0.1)
                tasks.cancel_scope.cancel()
            server.play(answer(200, "free"))
            return scope.cancelled_caught, (await client.get("http://payments/")).text

    assert anyio.run(story, backend=loop) == (True, "free")
    assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 0


# httpx leaves its own generators around ours to the garbage collector then; trio warns of that, also without us.
@pytest.mark.filterwarnings("ignore:.*async_generator object:pytest.PytestUnraisableExceptionWarning")
def test_who_leaves_a_streamed_body_half_read_costs_nothing(way, backend, fault_server):
    (loop, engine), server = way, fault_server(drip_body(0.001))
    resilience = Resilience({"backend": backend, "engine": engine, **upstream(server.url, **NARROW)})

    async def story():
        async with resilience, resilience.async_client() as client:
            for _ in range(20):
                async with (
                    client.stream("GET", "http://payments/") as response,
                    aclosing(response.aiter_bytes()) as body,
                ):
                    async for _ in body:
                        break
            server.play(answer(200, "free"))
            return (await client.get("http://payments/")).text

    assert anyio.run(story, backend=loop) == "free"
    assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 0


def open_sockets():
    """How many sockets this process has open."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists them is gone again
            count += str(descriptor.readlink()).startswith("socket:")
    return count


def cancelled_after(seconds):
    """A cancellation that somebody requests in a moment, from another thread."""
    cancellation = Cancellation()
    timer = threading.Timer(seconds, cancellation.request)
    timer.start()
    return cancellation


STAYS = 0.25  # seconds: long enough for an attempt to have begun, on a busy machine too
HARDSHIPS = {
    "no answer": lambda server, unanswered: (server(hang()).url, {}),
    "body drip": lambda server, unanswered: (server(drip_body(0.01)).url, {}),
    "connect": lambda server, unanswered: (unanswered, {}),
    "backoff": lambda server, unanswered: (server(answer(503, headers={"Retry-After": "3"})).url, {}),
}


@pytest.mark.parametrize("stream", [False, True], ids=["get", "stream"])
@pytest.mark.parametrize("hardship", HARDSHIPS)
def test_a_call_ends_when_its_inbound_caller_goes_away(caller, fault_server, unanswered_url, hardship, stream):
    url, settings = HARDSHIPS[hardship](fault_server, unanswered_url)
    cancelled = caller.errors.Cancelled  # what has to be imported for it takes as long as the caller stays

    async def body(client):
        started = time.monotonic()
        with enter_scope(Scope(cancellation=cancelled_after(STAYS))):
            with pytest.raises(cancelled, match="the inbound caller went away") as caught:
                await (client.stream("GET", "http://payments/") if stream else client.get("http://payments/"))
            return caught.value, time.monotonic() - started

    resilience = caller.resilience(upstream(url, **settings))
    error, took = caller.run(resilience, body)

    assert STAYS <= took < STAYS + SOON
    assert isinstance(error, caller.module.TransportError)
    assert hardship == "connect" or "had not been sent" not in str(error)
    assert error.journal.attempts[-1].outcome in ("neutral", "failure")  # a 503 had been answered before the backoff
    status = resilience.status()["upstreams"]["payments"]
    assert status["concurrency"]["in_flight"] == 0
    assert status["endpoints"][0]["in_flight"] == 0


def test_a_call_that_waits_for_a_permit_ends_too(caller, fault_server):
    server = fault_server(hang())

    async def body(client):
        limit = resilience.dispatcher.registry.named["payments"].limit
        assert limit.admit()
        with enter_scope(Scope(cancellation=cancelled_after(0.1))):
            started = time.monotonic()
            with pytest.raises(caller.errors.Cancelled):
                await client.get("http://payments/")
            took = time.monotonic() - started
        limit.release()
        return took

    resilience = caller.resilience(upstream(server.url, concurrency={"limit": 1}))

    assert caller.run(resilience, body) < 0.1 + SOON
    assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 0
    assert not server.requests


def test_after_the_caller_has_gone_nothing_is_sent(caller, fault_server):
    server, cancellation = fault_server(answer()), Cancellation()
    cancellation.request()

    async def body(client):
        with enter_scope(Scope(cancellation=cancellation)), pytest.raises(caller.errors.Cancelled):
            await client.get("http://payments/")

    caller.run(caller.resilience(upstream(server.url)), body)

    assert not server.requests


def test_detached_work_and_work_after_the_answer_are_not_cancelled(caller, fault_server):
    server = fault_server(delay(0.2, answer(200, "done")))
    lifted = Cancellation()
    lifted.lift()

    async def body(client):
        with enter_scope(Scope(cancellation=cancelled_after(0.05))), detached():
            first = await client.get("http://payments/")
        with enter_scope(Scope(cancellation=lifted)):
            lifted.request()
            second = await client.get("http://payments/")
        return first.text, second.text

    assert caller.run(caller.resilience(upstream(server.url)), body) == ("done", "done")


def test_the_watch_begins_with_the_first_call(caller, fault_server):
    server, watched = fault_server(answer()), []

    async def body(client):
        with enter_scope(Scope(cancellation=Cancellation(lambda: watched.append("begun")))):
            before = list(watched)
            await client.get("http://payments/")
            await client.get("http://payments/")
        return before

    assert caller.run(caller.resilience(upstream(server.url)), body) == []
    assert watched == ["begun"]
