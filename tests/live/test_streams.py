"""Streamed responses that nobody ends: their permit and their connection come back all the same."""

from __future__ import annotations

import gc
import threading
import time

import anyio
import pytest

from resilient_http.events import StreamReclaimed
from tests.live.callers import Caller
from tests.live.servers import answer, drip_body

# trio tells of generators that were left where they stood; here that is the point.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")

ONE = {"concurrency": {"limit": 1}, "pool": {"max_connections": 1}, "retry": None, "circuit": None}


def upstream(server, **own):
    return {"upstreams": {"payments": {"endpoints": [server.url], **ONE, **own}}}


def first_drips(server_of):
    """The first answer never ends, the others do at once."""
    return server_of([drip_body(0.05), answer(200, "ok")])


def reclamations(told):
    """What was told of them, which comes a moment after the permit came back."""
    give_up = time.monotonic() + 10.0
    while not any(isinstance(event, StreamReclaimed) for event in told):
        assert time.monotonic() < give_up, "nobody was told"
        time.sleep(0.01)
    return [event for event in told if isinstance(event, StreamReclaimed)]


@pytest.mark.parametrize("begun", [False, True], ids=["unread", "half read"])
def test_a_stream_that_was_collected_gives_back_its_permit_and_its_connection(caller, fault_server, begun):
    server, told = first_drips(fault_server), []
    resilience = caller.resilience(upstream(server), listeners=[told.append])

    async def body(client):
        response = await client.open_stream("http://payments/")
        reading = await read_some(caller, response) if begun else None
        assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 1
        del response, reading
        gc.collect()
        # Waits in the queue until the permit comes, at most for timeout.pool.
        return (await client.get("http://payments/")).text

    assert caller.run(resilience, body) == "ok"
    status = resilience.status()["upstreams"]["payments"]
    assert (status["concurrency"]["in_flight"], status["endpoints"][0]["in_flight"]) == (0, 0)
    if not begun:  # else it may have been closed by an iterator of httpx's that was collected too
        (reclaimed,) = reclamations(told)
        assert reclaimed.why == "the response was collected without having been closed"
    assert len(server.requests) == 2


@pytest.mark.parametrize("begun", [False, True], ids=["unread", "half read"])
def test_a_stream_that_nobody_reads_at_its_deadline_gives_them_back_and_says_so(caller, fault_server, begun):
    server, told = first_drips(fault_server), []
    settings = upstream(server, timeout={"total": 0.5, "pool": 5.0})
    resilience = caller.resilience(settings, listeners=[told.append])

    async def body(client):
        response = await client.open_stream("http://payments/")
        reading = await read_some(caller, response) if begun else None
        started = time.monotonic()
        for _ in range(2):
            try:
                text = (await client.get("http://payments/")).text  # the first waits for as long as its own deadline
                break
            except caller.errors.DeadlineExceeded:
                continue
        waited = time.monotonic() - started
        with pytest.raises(caller.errors.DeadlineExceeded):
            await (read_on(caller, reading[0]) if begun else client.read(response))
        await client.close_stream(response)
        return text, waited

    text, waited = caller.run(resilience, body)
    assert text == "ok"
    assert waited < 1.0
    (reclaimed,) = reclamations(told)
    assert reclaimed.why == "the response was neither read nor closed at its deadline"
    assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 0
    assert len(server.requests) == 2


def test_streams_that_are_read_or_closed_are_not_reclaimed(caller, fault_server):
    server, told = fault_server(answer(200, "ok" * 1000)), []
    resilience = caller.resilience(upstream(server, timeout={"total": 0.3}), listeners=[told.append])

    async def body(client):
        for _ in range(3):
            assert (await client.stream("GET", "http://payments/"))[1] == b"ok" * 1000
            response = await client.open_stream("http://payments/")
            await client.close_stream(response)
        gc.collect()
        time.sleep(0.5)

    caller.run(resilience, body)

    assert not [event for event in told if isinstance(event, StreamReclaimed)]
    assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 0


def test_streams_that_were_dropped_one_after_another_cost_nothing(caller, fault_server):
    server = fault_server(drip_body(0.05))
    resilience = caller.resilience(upstream(server, concurrency={"limit": 2}, pool={"max_connections": 2}))

    async def body(client):
        for number in range(8):
            response = await client.open_stream("http://payments/")
            reading = await read_some(caller, response) if number % 2 else None
            del response, reading
            gc.collect()
        server.play(answer(200, "ok"))
        assert (await client.get("http://payments/")).text == "ok"

    caller.run(resilience, body)
    server.wait_for_open_connections(0)


def test_a_stream_of_a_loop_that_has_ended_gives_its_permit_back(backend, fault_server):
    server = first_drips(fault_server)
    resilience = Caller("asyncio", backend).resilience(upstream(server))
    client = resilience.async_client()

    async def open_one():
        return await client.send(client.build_request("GET", "http://payments/"), stream=True)

    response = anyio.run(open_one)
    del response
    gc.collect()

    with resilience, resilience.client() as other:
        assert other.get("http://payments/").text == "ok"


async def read_some(caller, response):
    """A chunk of a streamed response, and the iterator that stands there: httpx2 closes what an iterator leaves."""
    if caller.kind == "sync":
        chunks = response.iter_raw()
        return chunks, next(chunks)
    chunks = response.aiter_raw()
    return chunks, await anext(chunks)


async def read_on(caller, chunks):
    return next(chunks) if caller.kind == "sync" else await anext(chunks)


def test_a_stream_that_another_thread_closes_while_it_is_read_is_not_the_endpoints_failure(backend, fault_server):
    server = fault_server(answer(200, "x" * 5_000_000))
    resilience = Caller("sync", backend).resilience(upstream(server, circuit={}))
    ended = set()
    with resilience, resilience.client() as client:
        for _ in range(8):
            response = client.send(client.build_request("GET", "http://payments/"), stream=True)
            chunks = response.iter_raw(1000)
            next(chunks)
            closer = threading.Thread(target=response.close)
            closer.start()
            try:
                for _ in chunks:
                    pass
            except Exception as exc:  # noqa: BLE001 - which it is, is what is asked
                ended.add(type(exc).__name__)
            closer.join()
        assert ended <= {"ReadError", "StreamClosed"}
        status = resilience.status()["upstreams"]["payments"]
    assert status["concurrency"]["in_flight"] == 0
    assert status["endpoints"][0]["circuit"]["state"] == "closed"
