"""Whatever the other side does, a call ends at its deadline, and its place in the pool, and all else, is free again."""

from __future__ import annotations

import threading
import time

import anyio
import pytest

from resilient_http import deadline
from tests.live.callers import Caller, count_tasks
from tests.live.hardships import HARDSHIPS, endless_auth
from tests.live.servers import answer, drip_body, raw
from tests.live.test_cancellation import open_sockets

BUDGET, LATE = 0.3, 0.25


# httpx leaves the generator of a request's body to the garbage collector when an upload is cut; trio warns of that.
@pytest.mark.filterwarnings("ignore:.*ByteStream.__aiter__:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("stream", [False, True], ids=["get", "stream"])
@pytest.mark.parametrize("hardship", HARDSHIPS)
def test_it_ends_at_the_deadline_and_holds_nothing(caller, hardship, stream):
    threads, sockets = set(threading.enumerate()), open_sockets()

    async def body(client):
        for _ in range(3):  # a machine that was late once has another chance; who is late by himself is so each time
            error, took = await once(client)
            if took < BUDGET + LATE:
                break
        return error, took

    async def once(client):
        send = client.stream if stream else client.request
        method, options = ("POST", {"content": b"x" * 20_000_000}) if hardship == "upload" else ("GET", {})
        if hardship == "auth flow":
            options["auth"] = endless_auth(caller.module)
        started, tasks = time.monotonic(), count_tasks()
        with deadline(BUDGET), pytest.raises(caller.errors.DeadlineExceeded) as caught:
            await send(method, "http://payments/", **options)
        took = time.monotonic() - started
        if caller.kind != "sync":
            await anyio.sleep(0.02)  # the loop's own closing of a generator that httpx has left behind is a task too
        assert count_tasks() == tasks
        return caught.value, took

    with HARDSHIPS[hardship]() as url:
        settings = {"endpoints": [url], "retry": {"backoff": {"throttled_base": 0.1}}}
        resilience = caller.resilience({"upstreams": {"payments": settings}})
        error, took = caller.run(resilience, body, follow_redirects=True, max_redirects=1000)

    assert BUDGET - 0.05 <= took < BUDGET + LATE
    assert error.budget == pytest.approx(BUDGET)
    assert f"payments: the deadline of {BUDGET} s" in str(error)
    assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 0
    assert open_sockets() == sockets
    begun = {thread.name for thread in set(threading.enumerate()) - threads}
    # A lookup may still be under way; and what looks after streams stays, one for the process.
    assert not {name for name in begun if "resolver" not in name and name != "resilient-http-reaper"}


@pytest.mark.parametrize("stream", [False, True], ids=["get", "stream"])
def test_a_wait_for_a_connection_ends_at_the_deadline(caller, fault_server, stream):
    server = fault_server(drip_body(0.02, chunks=10_000))

    async def body(client):
        holder = await client.open_stream("http://payments/")
        started = time.monotonic()
        with deadline(BUDGET), pytest.raises(caller.errors.DeadlineExceeded, match="waiting for a permit") as caught:
            await (client.stream("GET", "http://payments/") if stream else client.get("http://payments/"))
        took = time.monotonic() - started
        await client.close_stream(holder)
        server.play(answer(200, "free"))
        return caught.value, took, (await client.get("http://payments/")).text

    settings = {"endpoints": [server.url], "pool": {"max_connections": 1}, "concurrency": {"limit": 1, "queue": 5}}
    error, took, text = caller.run(caller.resilience({"upstreams": {"payments": settings}}), body)

    assert BUDGET - 0.05 <= took < BUDGET + LATE
    assert text == "free"
    assert len(server.requests) == 2
    assert not error.journal.attempts[0].sent


@pytest.mark.parametrize("stream", [False, True], ids=["get", "stream"])
def test_a_flood_of_little_chunks_ends_at_the_deadline(caller, fault_server, stream):
    flood = b"1\r\nx\r\n" * 5_000_000
    server = fault_server(raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + flood))

    async def body(client):
        started = time.monotonic()
        with deadline(BUDGET), pytest.raises(caller.errors.DeadlineExceeded):
            await (client.stream("GET", "http://payments/") if stream else client.get("http://payments/"))
        return time.monotonic() - started

    took = caller.run(caller.resilience({"upstreams": {"payments": {"endpoints": [server.url]}}}), body)

    assert BUDGET - 0.05 <= took < BUDGET + LATE


def test_an_upload_that_never_gets_anywhere_ends_at_the_deadline(backend, fault_server):
    server, caller = fault_server(answer()), Caller("sync", backend)

    def nothing():
        while True:
            time.sleep(0.01)
            yield b""

    async def body(client):
        started = time.monotonic()
        with deadline(BUDGET), pytest.raises(caller.errors.DeadlineExceeded):
            await client.post("http://payments/", content=nothing())
        return time.monotonic() - started

    took = caller.run(caller.resilience({"upstreams": {"payments": {"endpoints": [server.url]}}}), body)

    assert BUDGET - 0.05 <= took < BUDGET + LATE


def test_a_body_that_is_read_long_after_the_call_returned_ends_at_the_deadline(caller, fault_server):
    server = fault_server(drip_body(0.02))

    async def body(client):
        started = time.monotonic()
        with deadline(BUDGET):
            response = await client.open_stream("http://payments/")
        time.sleep(BUDGET / 2)
        with pytest.raises(caller.errors.DeadlineExceeded):
            await client.read(response)
        took = time.monotonic() - started
        server.play(answer(200, "free"))
        return took, (await client.get("http://payments/")).text

    settings = {"endpoints": [server.url], "pool": {"max_connections": 1}}
    took, text = caller.run(caller.resilience({"upstreams": {"payments": settings}}), body)

    assert BUDGET - 0.05 <= took < BUDGET + LATE
    assert text == "free"


def test_a_retry_after_that_does_not_fit_ends_the_call_at_once(caller, fault_server):
    server = fault_server(answer(503, "busy", headers={"Retry-After": "1"}))

    async def body(client):
        started = time.monotonic()
        with deadline(BUDGET):
            return await client.get("http://payments/"), time.monotonic() - started

    response, took = caller.run(caller.resilience({"upstreams": {"payments": {"endpoints": [server.url]}}}), body)

    assert (response.status_code, response.text) == (503, "busy")
    assert took < LATE
    assert len(server.requests) == 1
