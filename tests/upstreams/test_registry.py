"""Registry: which unnamed upstreams are kept, by the calls of real clients."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import anyio
import httpx
import pytest

from resilient_http import Resilience
from tests.live.behaviours import answer, drip_body, hang

FAILING = {"retry": None, "circuit": {"streak": 3, "min_calls": 3, "open_for": 60.0}}
MOCK = httpx.MockTransport(lambda request: httpx.Response(503 if "bad" in request.url.host else 200))


def names(resilience):
    return list(resilience.status()["upstreams"])


def url_of(number):
    return f"http://host-{number}.example"


def test_ten_thousand_origins_hold_the_state_of_a_thousand():
    with Resilience() as resilience, resilience.client(transport=MOCK) as client:
        for number in range(10_000):
            client.get(url_of(number))
        assert names(resilience) == [url_of(number) for number in range(9_000, 10_000)]


def test_the_one_unused_for_longest_goes():
    with Resilience({"unnamed_upstreams": 3}) as resilience, resilience.client(transport=MOCK) as client:
        for number in (1, 2, 3, 1, 4):
            client.get(url_of(number))
        assert set(names(resilience)) == {url_of(number) for number in (1, 3, 4)}


def test_a_limit_that_is_lowered_holds_after_some_calls_and_one_that_is_raised_at_once():
    with Resilience({"unnamed_upstreams": 30}) as resilience, resilience.client(transport=MOCK) as client:
        for number in range(30):
            client.get(url_of(number))
        resilience.reload({"unnamed_upstreams": 3})
        for _ in range(4):
            client.get(url_of(29))
        assert set(names(resilience)) == {url_of(number) for number in (27, 28, 29)}
        resilience.reload({"unnamed_upstreams": 4})
        client.get(url_of(30))
        assert len(names(resilience)) == 4


def test_settings_of_the_defaults_that_change_count_nothing_anew():
    with Resilience({"unnamed_upstreams": 1}) as resilience, resilience.client(transport=MOCK) as client:
        client.get(url_of(1))
        resilience.reload({"unnamed_upstreams": 1, "defaults": {"retry": None}})
        client.get(url_of(1))
        client.get(url_of(2))
        assert names(resilience) == [url_of(2)]


@pytest.mark.parametrize("in_flight", [1, 0], ids=["in an attempt", "between two"])
async def test_one_that_a_call_waits_in_stays(in_flight, fault_server):
    server = fault_server(hang() if in_flight else answer(503, headers={"Retry-After": "5"}))

    def waits():
        status = resilience.status()["upstreams"].get(server.url)
        return bool(server.requests) and status["endpoints"][0]["in_flight"] == in_flight

    async with (
        Resilience({"unnamed_upstreams": 2}) as resilience,
        resilience.async_client() as client,
        resilience.async_client(transport=MOCK) as other,
    ):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.get, server.url)
            with anyio.fail_after(5):
                while not waits():  # noqa: ASYNC110
                    await anyio.sleep(0.01)
            before = resilience.dispatcher.registry.find(httpx.URL(server.url))
            for number in range(10):
                await other.get(url_of(number))
            assert names(resilience) == [server.url, url_of(9)]
            assert resilience.dispatcher.registry.find(httpx.URL(server.url)) is before
            tasks.cancel_scope.cancel()
        for number in range(2):
            await other.get(url_of(number))
        assert names(resilience) == [url_of(0), url_of(1)]


def test_while_all_are_in_use_a_new_one_keeps_its_state_too(fault_server):
    servers = [fault_server(drip_body(0.05)) for _ in range(3)]
    with Resilience({"unnamed_upstreams": 2, "defaults": FAILING}) as resilience, ExitStack() as streams:
        client = streams.enter_context(resilience.client())
        for server in servers:
            streams.enter_context(client.stream("GET", server.url))
        with resilience.client(transport=MOCK) as other:
            for _ in range(3):
                other.get("http://bad.example")
            known = names(resilience)
            assert set(known) >= {server.url for server in servers}
            streams.close()
            for number in range(2):
                other.get(url_of(number))
        assert set(names(resilience)) == {url_of(0), url_of(1)}
        assert "http://bad.example" in known


def test_threads_that_call_many_origins_at_once_leave_nothing_in_use():
    with Resilience({"unnamed_upstreams": 5}) as resilience, resilience.client(transport=MOCK) as client:

        def call(first):
            for number in range(first, first + 200):
                client.get(url_of(number % 20))

        threads = [threading.Thread(target=call, args=[first]) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.get(url_of(0))
        assert len(names(resilience)) == 5
