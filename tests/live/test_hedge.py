"""Hedges over real sockets: who wins, and what becomes of the loser."""

from __future__ import annotations

import io
import threading
import time

import anyio
import pytest

from resilient_http import Resilience, Scope, call_options, deadline, enter_scope
from resilient_http.events import HedgeFinished, HedgeSuppressed
from tests.live.callers import Caller
from tests.live.servers import answer, delay, drip_body, hang
from tests.live.test_cancellation import open_sockets

SLOW, AFTER = 2.0, 0.1


def upstream(*endpoints, **settings):
    settings = {"hedge": {"delay": AFTER}, "retry": {"budget": None}, **settings}
    return {"upstreams": {"payments": {"endpoints": list(endpoints), **settings}}}


def by_turns(*behaviours):
    """One script for several servers: whichever is asked, the requests get the behaviours in turn; the last stays."""
    left, lock = list(behaviours), threading.Lock()

    def choose(_):
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return choose


@pytest.mark.parametrize("stream", [False, True], ids=["get", "stream"])
def test_a_second_node_answers_for_one_that_hangs_and_nothing_is_left(caller, fault_server, stream):
    script = by_turns(hang(), answer(200, "the hedge"))
    nodes, sockets, events = [fault_server(script) for _ in range(2)], open_sockets(), []

    async def body(client):
        started = time.monotonic()
        if stream:
            response, content = await client.stream("GET", "http://payments/")
        else:
            response = await client.get("http://payments/")
            content = response.content
        took = time.monotonic() - started
        return response, content, took

    resilience = caller.resilience(upstream(*(node.url for node in nodes)), listeners=[events.append])
    response, content, took = caller.run(resilience, body)
    journal = response.extensions["resilient_http"]

    assert content == b"the hedge"
    assert AFTER <= took < SLOW / 2
    assert [(entry.hedge, entry.decision) for entry in journal.attempts] == [(False, "lost"), (True, "return")]
    assert sorted(len(node.requests) for node in nodes) == [1, 1]
    assert journal.attempts[0].duration >= AFTER * 0.9  # it began a little after its call
    assert "None" not in str(journal)
    assert HedgeFinished("payments", 2, won=True) in events
    for node in nodes:
        node.wait_for_open_connections(0)
    settled(resilience)
    assert open_sockets() == sockets


def settled(resilience):
    """Wait until the loser, which nobody waits for, has given back what it held."""
    until = time.monotonic() + 2
    while time.monotonic() < until:
        status = resilience.status()["upstreams"]["payments"]
        held = status["concurrency"]["in_flight"], [endpoint["in_flight"] for endpoint in status["endpoints"]]
        if held[0] == 0 and not any(held[1]):
            return
        time.sleep(0.01)
    pytest.fail(f"still held: {held}")


def test_the_loser_costs_no_connection_and_no_permit(caller, fault_server):
    def slow_now_and_then(request):
        return hang() if len(node.requests) % 3 == 1 else answer(200, "ok")

    node = fault_server(slow_now_and_then)
    settings = upstream(
        node.url, pool={"max_connections": 2}, concurrency={"limit": 2}, circuit=None, hedge={"delay": 0.05}
    )
    resilience = caller.resilience(settings)

    async def body(client):
        texts = []
        for _ in range(20):
            texts.append((await client.get("http://payments/")).text)
            if caller.kind == "sync":
                settled(resilience)
        return texts

    assert caller.run(resilience, body) == ["ok"] * 20
    settled(resilience)
    assert resilience.status()["upstreams"]["payments"]["hedges"]["won"] >= 8


def test_the_first_may_still_win(caller, fault_server):
    node = fault_server(by_turns(delay(0.3, answer(200, "the first")), hang()))

    async def body(client):
        return await client.get("http://payments/")

    resilience = caller.resilience(upstream(node.url))
    response = caller.run(resilience, body)

    assert response.text == "the first"
    assert [entry.decision for entry in response.extensions["resilient_http"].attempts] == ["return", "lost"]
    settled(resilience)


def test_a_post_is_sent_once(caller, fault_server):
    node = fault_server(delay(0.3, answer(201)))

    async def body(client):
        return await client.post("http://payments/", content=b"x")

    assert caller.run(caller.resilience(upstream(node.url)), body).status_code == 201
    assert len(node.requests) == 1


def test_one_with_a_key_is_hedged_under_that_key(caller, fault_server):
    node = fault_server(by_turns(hang(), answer(201)))

    async def body(client):
        return await client.post("http://payments/", content=b"x", extensions=call_options(idempotency_key="auto"))

    assert caller.run(caller.resilience(upstream(node.url)), body).status_code == 201
    first, hedge = (request.header("Idempotency-Key") for request in node.requests)
    assert first == hedge is not None


def test_a_call_may_switch_it_off(caller, fault_server):
    node = fault_server(delay(0.3, answer(200)))

    async def body(client):
        return await client.get("http://payments/", extensions=call_options(hedge=None))

    caller.run(caller.resilience(upstream(node.url)), body)
    assert len(node.requests) == 1


def test_when_both_hang_the_deadline_ends_both(caller, fault_server):
    node = fault_server(drip_body(0.02))

    async def body(client):
        started = time.monotonic()
        with deadline(0.4), pytest.raises(caller.errors.DeadlineExceeded):
            await client.get("http://payments/")
        return time.monotonic() - started

    resilience = caller.resilience(upstream(node.url))
    assert 0.35 <= caller.run(resilience, body) < 0.4 + 0.25
    assert len(node.requests) == 2
    settled(resilience)


def test_what_follows_a_call_follows_both_its_attempts(caller, fault_server):
    """The trace of the inbound request, a context variable, is there in threads of ours too."""
    node = fault_server(by_turns(hang(), answer(200)))
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    async def body(client):
        with enter_scope(Scope(headers=(("traceparent", trace),))):
            await client.get("http://payments/")

    caller.run(caller.resilience(upstream(node.url)), body)
    assert [request.header("traceparent") for request in node.requests] == [trace] * 2


@pytest.mark.parametrize("way", [("asyncio", "default"), ("trio", "default"), ("asyncio", "aiohttp")], ids="-".join)
def test_a_caller_that_gives_up_takes_both_along(way, backend, fault_server):
    node = fault_server(hang())
    caller = Caller(way[0], backend, way[1])
    resilience = caller.resilience(upstream(node.url))

    async def body(client):
        with anyio.move_on_after(0.3):
            await client.get("http://payments/")

    caller.run(resilience, body)
    assert len(node.requests) == 2
    settled(resilience)
    node.wait_for_open_connections(0)


def test_when_there_is_no_thread_for_it_the_call_is_made_without(backend, fault_server):
    node, events = fault_server(delay(0.3, answer(200, "ok"))), []
    resilience = Resilience({"backend": backend, **upstream(node.url)}, listeners=[events.append])
    resilience.sync_port._threads._limit = 0
    with resilience, resilience.client() as client:
        response = client.get("http://payments/")
        assert response.text == "ok"
    assert len(node.requests) == 1
    assert HedgeSuppressed("payments", "threads") in events
    assert "no hedge: threads" in str(response.extensions["resilient_http"])
    assert resilience.status()["upstreams"]["payments"]["hedges"] == {"suppressed: threads": 1}


def test_thirty_two_threads_hedge_at_once(backend, fault_server):
    node = fault_server(lambda request: delay(0.4 if len(node.requests) % 2 else 0.0, answer(200, "ok")))
    settings = upstream(node.url, circuit=None)  # where threads starve each other, ten in a row may wait for 0.25 s
    texts = []
    with Resilience({"backend": backend, **settings}) as resilience, resilience.client() as client:

        def call():
            texts.extend(client.get("http://payments/").text for _ in range(3))

        threads = [threading.Thread(target=call) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        settled(resilience)
        hedges = resilience.status()["upstreams"]["payments"]["hedges"]

    assert texts == ["ok"] * 96
    assert hedges["sent"] == hedges.get("won", 0) + hedges.get("lost", 0) > 10


class SlowFile(io.BytesIO):
    """A file that gives its content bit by bit."""

    def read(self, size=-1):
        time.sleep(0.02)
        return super().read(min(size, 20_000) if size > 0 else 20_000)


def test_a_file_is_never_sent_by_two_attempts_at_once(caller, fault_server):
    node = fault_server(delay(0.3, answer(200)))
    content = bytes(range(256)) * 1000

    async def body(client):
        return await client.request("PUT", "http://payments/", files={"f": SlowFile(content)})

    assert caller.run(caller.resilience(upstream(node.url)), body).status_code == 200
    (request,) = node.requests
    assert content in request.body


def test_what_is_in_memory_is_hedged_whole(caller, fault_server):
    node = fault_server(by_turns(hang(), answer(200)))

    async def body(client):
        return await client.request("PUT", "http://payments/", files={"f": b"x" * 100_000})

    assert caller.run(caller.resilience(upstream(node.url)), body).status_code == 200
    assert [request.body.count(b"x" * 100_000) for request in node.requests] == [1, 1]
