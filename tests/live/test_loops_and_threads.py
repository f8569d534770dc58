"""One Resilience for everything at once: threads, event loops one after the other, and a loop beside threads."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import anyio

from resilient_http import Resilience
from tests.live.behaviours import answer


def echoing(request):
    return answer(200, request.target)


def test_thirty_two_threads_and_a_loop_share_one_resilience(backend, fault_server):
    server = fault_server(echoing)
    settings = {"backend": backend, "upstreams": {"payments": {"endpoints": [server.url]}}}

    with Resilience(settings) as resilience:
        client = resilience.client()

        def in_thread(number):
            return [client.get(f"http://payments/{number}-{turn}").text for turn in range(20)]

        async def in_loop():
            # Its connections end with the loop; resilience.aclose() would close those of the threads too.
            async with resilience.async_client() as async_client:

                async def task(number):
                    return [(await async_client.get(f"http://payments/a{number}-{turn}")).text for turn in range(20)]

                return await asyncio.gather(*map(task, range(32)))

        with ThreadPoolExecutor(33) as pool:
            loop = pool.submit(asyncio.run, in_loop())
            threads = list(pool.map(in_thread, range(32)))
            tasks = loop.result()
        limiter = resilience.status()["upstreams"]["payments"]["concurrency"]

    assert threads == [[f"/{number}-{turn}" for turn in range(20)] for number in range(32)]
    assert tasks == [[f"/a{number}-{turn}" for turn in range(20)] for number in range(32)]
    assert limiter["in_flight"] == limiter["queued"] == 0


def test_loops_one_after_the_other_close_their_connections(backend, fault_server):
    server = fault_server(echoing)
    resilience = Resilience({"backend": backend, "upstreams": {"payments": {"endpoints": [server.url]}}})
    client = resilience.async_client()

    async def one_call():
        return (await client.get("http://payments/")).text

    for loop in ["asyncio", "trio", "asyncio", "trio"]:
        assert anyio.run(one_call, backend=loop) == "/"
        server.wait_for_open_connections(0)
