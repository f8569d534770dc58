"""Rate limits, pauses and priorities over real sockets: sync, asyncio and trio; httpx and httpx2."""

from __future__ import annotations

import json
import threading
import time

import anyio
import pytest

from resilient_http import Resilience, call_options
from resilient_http.scope import Scope, enter_scope
from tests.live.callers import Caller
from tests.live.servers import answer, echo, gated


def upstream(server, **own):
    return {"upstreams": {"payments": {"endpoints": [server.url], "retry": None, **own}}}


def test_calls_wait_for_their_turn_and_are_refused_when_it_is_too_far(caller, fault_server):
    server = fault_server(answer(200))
    settings = upstream(server, rate_limit={"rate": 10, "burst": 1, "wait": 0.3})

    async def body(client):
        started = time.monotonic()
        for _ in range(3):
            await client.get("http://payments/")
        return time.monotonic() - started

    assert 0.19 < caller.run(caller.resilience(settings), body) < 1.0
    assert len(server.requests) == 3


def test_above_the_rate_a_call_is_refused_without_being_sent(caller, fault_server):
    server = fault_server(answer(200))

    async def body(client):
        await client.get("http://payments/")
        with pytest.raises(caller.errors.RateLimited) as caught:
            await client.get("http://payments/")
        return caught.value

    error = caller.run(caller.resilience(upstream(server, rate_limit={"rate": 0.1, "burst": 1})), body)

    assert 9.0 < error.retry_in <= 10.0
    assert isinstance(error, caller.module.HTTPError)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "headers", [{"Retry-After": "20"}, {"RateLimit-Reset": "20"}, {"RateLimit": '"default";r=0;t=20'}]
)
def test_a_429_pauses_its_route_and_credential_for_all_callers(caller, fault_server, headers):
    server = fault_server([answer(429, headers=headers), answer(200, "ok")])
    resilience = caller.resilience(upstream(server, pauses={"route": 60}))

    async def body(client):
        mine, other = {"Authorization": "Bearer secret"}, {"Authorization": "Bearer other"}
        assert (await client.get("http://payments/a?page=1", headers=mine)).status_code == 429
        with pytest.raises(caller.errors.RateLimited) as caught:
            await client.get("http://payments/a?page=2", headers=mine)
        assert (await client.get("http://payments/a", headers=other)).text == "ok"
        assert (await client.get("http://payments/b", headers=mine)).text == "ok"
        return caught.value

    error = caller.run(resilience, body)

    assert 19.0 < error.retry_in <= 20.0
    assert "secret" not in f"{error!r}{error.journal}{json.dumps(resilience.status())}"
    assert len(server.requests) == 3


def test_the_priority_of_a_call_is_passed_on(caller, fault_server):
    server = fault_server(echo())
    resilience = caller.resilience(upstream(server, priority_header="X-Priority"))

    async def body(client):
        await client.get("http://payments/")
        await client.get("http://payments/", extensions=call_options(priority="sheddable"))
        with enter_scope(Scope(priority="critical")):
            await client.get("http://payments/")
            await client.get("http://payments/", extensions=call_options(priority="default"))

    caller.run(resilience, body)

    said = [request.header("X-Priority") for request in server.requests]
    assert said == ["default", "sheddable", "critical", "default"]


def test_a_critical_call_overtakes_those_that_wait_in_threads(fault_server):
    gate = threading.Event()
    server = fault_server([gated(gate), answer(200)])
    settings = upstream(server, concurrency={"limit": 1}, timeout={"pool": 5.0, "attempt": 5.0, "read": 5.0})
    with Resilience(settings) as resilience, resilience.client() as client:

        def call(name, **options):
            thread = threading.Thread(target=lambda: client.get(f"http://payments/{name}", **options))
            thread.start()
            return thread

        threads = [call("first")]
        server.wait_for_requests(1)
        limit = resilience.dispatcher.registry.named["payments"].limit
        for number, options in enumerate([{}, {}, {"extensions": call_options(priority="critical")}], 1):
            threads.append(call(f"{number}", **options))
            while limit.waiting < number:
                time.sleep(0.001)
        gate.set()
        for thread in threads:
            thread.join()

    assert [request.target for request in server.requests][:2] == ["/first", "/3"]


def test_a_critical_call_overtakes_those_that_wait_in_tasks(backend, fault_server):
    gate = threading.Event()
    server = fault_server([gated(gate), answer(200)])
    settings = upstream(server, concurrency={"limit": 1}, timeout={"pool": 5.0, "attempt": 5.0, "read": 5.0})
    caller = Caller("trio", backend)
    resilience = caller.resilience(settings)

    async def body(client):
        limit = resilience.dispatcher.registry.named["payments"].limit
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.get, "http://payments/first")
            while not server.requests:  # noqa: ASYNC110 - what happens in a thread of the server sets no event
                await anyio.sleep(0.001)
            for number, options in enumerate([{}, {}, call_options(priority="critical")], 1):
                tasks.start_soon(
                    lambda number=number, options=options: client.get(f"http://payments/{number}", extensions=options)
                )
                while limit.waiting < number:  # noqa: ASYNC110 - nor does the queue
                    await anyio.sleep(0.001)
            gate.set()

    caller.run(resilience, body)

    assert [request.target for request in server.requests][:2] == ["/first", "/3"]
