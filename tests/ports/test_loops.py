"""Connections of an event loop are closed when that loop ends, without anybody saying so."""

import asyncio
import gc

import pytest
import trio

from resilient_http import Resilience


async def call_without_closing(resilience, url):
    response = await resilience.async_client().get(url)
    assert response.status_code == 200


@pytest.mark.parametrize("run", [lambda work: asyncio.run(work()), trio.run], ids=["asyncio", "trio"])
def test_each_loop_closes_its_connections_when_it_ends(fault_server, backend, run):
    server = fault_server()
    resilience = Resilience({"backend": backend})
    for _ in range(3):
        run(lambda: call_without_closing(resilience, server.url))

    server.wait_for_open_connections(0)
    assert server.connections == 3
    gc.collect()
    assert not resilience.async_port._pools


def test_a_loop_that_was_closed_without_ceremony_is_forgotten(fault_server):
    server = fault_server()
    resilience = Resilience()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(call_without_closing(resilience, server.url))
    loop.close()

    def forget():
        asyncio.run(call_without_closing(resilience, server.url))
        gc.collect()

    with pytest.warns(ResourceWarning):
        # Python closes the sockets that were left open, and says so.
        forget()

    server.wait_for_open_connections(0)
    assert loop not in resilience.async_port._pools


async def test_a_loop_that_goes_on_keeps_its_connections(fault_server):
    server = fault_server()
    async with Resilience() as resilience:
        await call_without_closing(resilience, server.url)
        await call_without_closing(resilience, server.url)

        assert server.connections == 1
