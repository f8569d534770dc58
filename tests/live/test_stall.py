"""When we ourselves stall or lack resources, that says nothing about the endpoint."""

from __future__ import annotations

import os
import resource
import time

import anyio
import httpx
import pytest

from resilient_http.events import Stalled
from tests.live.callers import Caller
from tests.live.servers import answer, hang


def upstream(*endpoints, **settings):
    return {"upstreams": {"payments": {"endpoints": list(endpoints), "retry": None, **settings}}}


@pytest.mark.parametrize("way", [("asyncio", "default"), ("trio", "default"), ("asyncio", "aiohttp")], ids="-".join)
def test_a_timeout_that_a_blocked_event_loop_fires_late_is_neutral_and_told(way, backend, fault_server):
    server = fault_server(hang())
    caller = Caller(way[0], backend, way[1])
    events = []
    resilience = caller.resilience(upstream(server.url, timeout={"read": 2.0}), listeners=[events.append])

    async def body(client):
        async def block():
            await anyio.to_thread.run_sync(server.wait_for_requests, 1)
            await anyio.sleep(0.1)  # the client waits for the answer by now: the block begins before its timeout
            time.sleep(2.8)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(block)
            with pytest.raises(caller.module.ReadTimeout) as caught:
                await client.get("http://payments/")
        return caught.value.journal.attempts[0].outcome

    assert caller.run(resilience, body) == "neutral"
    (stalled,) = [event for event in events if isinstance(event, Stalled)]
    assert stalled.endpoint == server.url
    assert "late" in stalled.why


def test_a_timeout_in_time_counts_as_a_failure(caller, fault_server):
    server = fault_server(hang())
    events = []
    settings = upstream(server.url, timeout={"read": 0.1}, circuit=None)
    resilience = caller.resilience(settings, listeners=[events.append])

    async def body(client):
        outcomes = []
        for _ in range(5):  # the machine that runs the tests may itself stall now and then, and is told so
            with pytest.raises(caller.module.ReadTimeout) as caught:
                await client.get("http://payments/")
            outcomes.append(caught.value.journal.attempts[0].outcome)
        return outcomes

    outcomes = caller.run(resilience, body)

    assert "unanswered" in outcomes
    assert outcomes.count("neutral") == sum(isinstance(event, Stalled) for event in events)


@pytest.mark.parametrize("engine", ["default", "aiohttp"])
def test_a_lack_of_file_descriptors_is_neutral_and_told(engine, fault_server):
    server = fault_server(answer(200, headers={"Connection": "close"}))
    events = []
    caller = Caller("sync" if engine == "default" else "asyncio", "httpx", engine)

    async def body(client):
        await client.get("http://payments/")  # all is imported, and its connection is closed
        server.wait_for_open_connections(0)
        usual = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, usual[1]))
        try:
            with pytest.raises(httpx.ConnectError) as caught:
                await client.get("http://payments/")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, usual)
        assert (await client.get("http://payments/")).status_code == 200
        return caught.value.journal.attempts

    (attempt,) = caller.run(caller.resilience(upstream(server.url), listeners=[events.append]), body)
    assert (attempt.outcome, attempt.sent) == ("neutral", False)
    (stalled,) = [event for event in events if isinstance(event, Stalled)]
    assert stalled.why == "lack of local resources"
