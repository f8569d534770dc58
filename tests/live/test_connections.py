"""Connections: kept, renewed before they go stale, through proxies, over HTTP/2."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import anyio
import pytest

from resilient_http import Resilience
from tests.live.callers import Caller
from tests.live.servers import answer, echo, hang, raw


def upstream(*endpoints, **settings):
    return {"upstreams": {"payments": {"endpoints": list(endpoints), **settings}}}


def test_a_request_that_cannot_be_repeated_takes_a_fresh_connection(caller, fault_server):
    server = fault_server(answer(200))

    async def body(client):
        await client.post("http://payments/", content=b"1")
        await client.post("http://payments/", content=b"2")
        time.sleep(1.2)
        await client.get("http://payments/")
        time.sleep(1.2)
        await client.post("http://payments/", content=b"3")

    caller.run(caller.resilience(upstream(server.url)), body)

    assert [request.connection for request in server.requests] == [1, 1, 1, 2]
    assert [request.body for request in server.requests] == [b"1", b"2", b"", b"3"]


def test_the_servers_keep_alive_limit_is_obeyed(caller, fault_server):
    server = fault_server(answer(200, headers={"Keep-Alive": "timeout=1"}))

    async def body(client):
        await client.get("http://payments/")
        await client.get("http://payments/")
        time.sleep(0.7)
        await client.get("http://payments/")

    caller.run(caller.resilience(upstream(server.url)), body)

    assert [request.connection for request in server.requests] == [1, 1, 2]


def test_a_renewed_tls_connection_shakes_hands_anew(caller, fault_server, tls):
    server = fault_server(answer(200, headers={"Keep-Alive": "timeout=1"}), tls=tls.server_context("localhost"))
    settings = upstream(f"https://localhost:{server.port}", tls={"verify": str(tls.ca_file)})

    async def body(client):
        await client.get("http://payments/")
        time.sleep(0.7)
        return await client.get("http://payments/")

    assert caller.run(caller.resilience(settings), body).status_code == 200
    assert server.server_names == ["localhost", "localhost"]


def test_a_post_to_a_node_that_went_away_while_idle_was_provably_not_sent(caller, fault_server):
    server = fault_server(answer(200))

    async def body(client):
        await client.post("http://payments/", content=b"1")
        server.stop()
        time.sleep(1.1)
        with pytest.raises(caller.module.ConnectError) as caught:
            await client.post("http://payments/", content=b"2")
        return caught.value

    settings = upstream(server.url, retry={"backoff": {"base": 0.01}})
    error = caller.run(caller.resilience(settings), body)

    assert not any(entry.sent for entry in error.journal.attempts)


def test_an_address_that_hangs_leaves_time_for_the_next(backend, monkeypatch, unanswered_url, fault_server):
    port = int(unanswered_url.rpartition(":")[2])
    server = fault_server(answer(200, "ok"), host="127.0.0.2", port=port)
    kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    addresses = [(*kind, ("127.0.0.1", port)), (*kind, ("127.0.0.2", port))]
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *args, **more: addresses if host == "two.example" else real(host, *args, **more),
    )
    settings = upstream(f"http://two.example:{port}", timeout={"connect": 0.6}, retry=None)
    with Resilience({"backend": backend, **settings}) as resilience, resilience.client() as client:
        started = time.monotonic()
        assert client.get("http://payments/").text == "ok"

    assert 0.25 <= time.monotonic() - started < 0.6
    assert len(server.requests) == 1


def test_a_proxy_is_told_the_endpoints_address(caller, fault_server):
    if caller.engine == "aiohttp":
        pytest.skip("the engine aiohttp goes through no proxy")
    proxy = fault_server(echo())

    async def body(client):
        return await client.get("http://payments/charges")

    caller.run(caller.resilience(upstream("http://10.0.0.1:8080", proxy=proxy.url)), body)

    assert proxy.requests[0].target == "http://10.0.0.1:8080/charges"
    assert proxy.requests[0].header("Host") == "10.0.0.1:8080"


def test_http2_is_spoken_when_it_is_switched_on(caller, nginx, tls, tmp_path):
    if caller.engine == "aiohttp":
        pytest.skip("the engine aiohttp speaks HTTP/1.1")
    certificate, key = tls.server_files(tmp_path, "localhost")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    nginx(
        f"listen 127.0.0.1:{port} ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key};"
        "location / { return 200 ok; }"
    )
    settings = upstream(f"https://localhost:{port}", http2=True, tls={"verify": str(tls.ca_file)})

    async def body(client):
        return [await client.get("http://payments/") for _ in range(3)]

    responses = caller.run(caller.resilience(settings), body)

    assert [(response.http_version, response.text) for response in responses] == [("HTTP/2", "ok")] * 3


def test_connections_of_a_dropped_origin_are_closed(fault_server):
    server = fault_server(answer(200))
    with Resilience() as resilience, resilience.client() as client:
        client.get(f"{server.url}/")
        found = resilience.dispatcher.registry.find(client.build_request("GET", server.url).url)
        resilience.sync_port.retire(found.endpoints.members[0])
        client.get(f"{fault_server(answer(200)).url}/")
        server.wait_for_open_connections(0)


def test_cancelled_async_calls_cost_no_connection(backend, fault_server):
    server = fault_server(hang())
    caller = Caller("asyncio", backend)
    resilience = caller.resilience(upstream(server.url, pool={"max_connections": 10}, circuit=None, retry=None))

    async def body(client):
        async with anyio.create_task_group() as tasks:

            async def cut():
                with anyio.move_on_after(0.05):
                    await client.get("http://payments/")

            for _ in range(40):
                tasks.start_soon(cut)
        server.play(answer(200))
        return [(await client.get("http://payments/")).status_code for _ in range(20)]

    assert caller.run(resilience, body) == [200] * 20
    assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 0


def test_thirty_two_threads_share_one_resilience(fault_server):
    server = fault_server(answer(200, "ok"))
    results = []
    with Resilience(upstream(server.url)) as resilience, resilience.client() as client:

        def work():
            results.extend(client.get("http://payments/").text for _ in range(20))

        threads = [threading.Thread(target=work) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        status = resilience.status()["upstreams"]["payments"]

    assert results == ["ok"] * 640
    assert status["concurrency"]["in_flight"] == 0
    assert status["endpoints"][0]["in_flight"] == 0


def test_a_connection_that_is_too_old_takes_no_further_request(caller, fault_server):
    server = fault_server(answer(200))

    async def body(client):
        for wait in (0.0, 0.0, 0.6):
            time.sleep(wait)
            await client.get("http://payments/")

    caller.run(caller.resilience(upstream(server.url, pool={"max_age": 0.5})), body)

    assert [request.connection for request in server.requests] == [1, 1, 2]
    server.wait_for_open_connections(0)


def test_over_http2_a_post_that_was_written_counts_as_sent(backend, nginx, tls, tmp_path):
    certificate, key = tls.server_files(tmp_path, "localhost")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    nginx(
        f"listen 127.0.0.1:{port} ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key};"
        "location / { return 503; }"
    )
    settings = upstream(f"https://localhost:{port}", http2=True, tls={"verify": str(tls.ca_file)}, circuit=None)
    caller = Caller("asyncio", backend)
    journals = []

    async def body(client):
        async def post():
            response = await client.post("http://payments/", content=b"x")
            journals.append(response.extensions["resilient_http"])

        async with anyio.create_task_group() as tasks:
            for _ in range(30):
                tasks.start_soon(post)

    caller.run(caller.resilience(settings), body)

    assert [len(journal.attempts) for journal in journals] == [1] * 30


def test_over_http2_streams_that_were_left_cost_their_connection_and_no_call(backend, nginx, tls, tmp_path):
    certificate, key = tls.server_files(tmp_path, "localhost")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "big").write_bytes(b"x" * 5_000_000)
    nginx(
        f"listen 127.0.0.1:{port} ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key};"
        f"http2_max_concurrent_streams 4; location /big {{ root {tmp_path}; }} location / {{ return 200 ok; }}"
    )
    settings = upstream(f"https://localhost:{port}", http2=True, tls={"verify": str(tls.ca_file)}, circuit=None)
    caller = Caller("asyncio", backend)

    async def body(client):
        for _ in range(8):
            response = await client.open_stream("http://payments/big")
            assert response.http_version == "HTTP/2"
            await client.close_stream(response)
        return [(await client.get("http://payments/")).text for _ in range(4)]

    assert caller.run(caller.resilience(settings), body) == ["ok"] * 4


def test_what_connects_while_all_is_closed_is_closed_too(backend, fault_server):
    server = fault_server(answer(200))
    resilience = Resilience({"backend": backend, **upstream(server.url, retry=None)})

    async def story():
        async with resilience.async_client() as client:
            for yields in range(60):
                call = asyncio.create_task(client.get("http://payments/"))
                for _ in range(yields % 12):
                    await asyncio.sleep(0)
                await resilience.aclose()
                await asyncio.gather(call, return_exceptions=True)
            await resilience.aclose()
            await anyio.to_thread.run_sync(server.wait_for_open_connections, 0)

    asyncio.run(story())


@pytest.mark.parametrize("more", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL", b"\r\n", b"more than it said"])
@pytest.mark.parametrize("kind", ["sync", "asyncio", "trio"])
def test_what_comes_behind_an_answer_is_not_taken_for_the_next(kind, backend, fault_server, more):
    too_much = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nAA" + more, closes=False)
    server, caller = fault_server([too_much, answer(200, "ok")]), Caller(kind, backend)

    async def body(client):
        return [(await client.get("http://payments/")).text for _ in range(3)]

    assert caller.run(caller.resilience(upstream(server.url, retry=None)), body) == ["AA", "ok", "ok"]
