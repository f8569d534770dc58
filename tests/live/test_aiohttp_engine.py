"""The engine aiohttp: what reaches the wire, what failed before it, and what it refuses."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time

import anyio
import pytest

from resilient_http import Resilience, SettingsError
from resilient_http.engines import pool
from tests.live.callers import Caller
from tests.live.servers import (
    answer,
    echo,
    hang,
    reset,
)
from tests.telemetry.sdk import tracing

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def upstream(*endpoints, **settings):
    return {"upstreams": {"payments": {"endpoints": list(endpoints), **settings}}}


async def some(*chunks):
    for chunk in chunks:
        yield chunk


RESET = reset()
BOUNDARY = "multipart/form-data; boundary=b"
REQUESTS = {
    "raw path": ("GET", "/a%2Fb//c;d?q=%20&Q=+&e=é", {}),
    "fields": ("GET", "/", {"headers": [("X-Two", "a"), ("x-two", "b"), ("aCCept", "x/y"), ("Cookie", "a=1; b=2")]}),
    "host": ("GET", "/", {"headers": {"Host": "other.example"}}),
    "empty post": ("POST", "/", {}),
    "bytes": ("POST", "/", {"content": b"x" * 1000}),
    "large": ("PUT", "/", {"content": b"x" * 3_000_000}),
    "form": ("POST", "/", {"data": {"a": "1"}}),
    "json": ("PATCH", "/", {"json": {"a": 1}}),
    "multipart": ("POST", "/", {"files": {"f": b"x" * 100_000}, "headers": {"Content-Type": BOUNDARY}}),
    "stream": ("POST", "/", {"content": [b"one", b"", b"two" * 1000]}),
    "sized stream": ("POST", "/", {"content": [b"one", b"two"], "headers": {"Content-Length": "6"}}),
}  # fmt: skip


@pytest.mark.parametrize("which", REQUESTS)
def test_a_request_reaches_the_wire_as_with_the_default_engine(caller, fault_server, which):
    method, path, options = REQUESTS[which]
    if isinstance(options.get("content"), list):
        options = {**options, "content": None, "chunks": options["content"]}
    server = fault_server(echo())

    async def body(client):
        chunks = options.get("chunks")
        given = {name: value for name, value in options.items() if name not in ("chunks", "content")}
        if chunks or options.get("content"):
            given["content"] = some(*chunks) if chunks else options["content"]
        response = await client.request(method, f"http://payments{path}", **given)
        assert response.http_version == "HTTP/1.1"
        assert response.reason_phrase == "OK"
        return json.loads(response.content), dict(response.headers)

    default = Caller("asyncio", caller.backend)
    assert caller.run(caller.resilience(upstream(server.url)), body) == default.run(
        default.resilience(upstream(server.url)), body
    )
    ours, usual = server.requests
    assert (ours.method, ours.target, ours.headers, ours.body) == (
        usual.method,
        usual.target,
        usual.headers,
        usual.body,
    )


@pytest.mark.parametrize("chunks", [(b"ab",), (b"ab", b"cd")], ids=["too short", "too long"])
def test_a_stream_that_is_not_as_long_as_it_said_costs_its_connection_and_no_other(caller, fault_server, chunks):
    server = fault_server(answer(200, "ok"))

    async def body(client):
        with pytest.raises(caller.module.LocalProtocolError):
            await client.post("http://payments/", content=some(*chunks), headers={"Content-Length": "3"})
        return (await client.get("http://payments/")).text

    assert caller.run(caller.resilience(upstream(server.url)), body) == "ok"
    assert server.requests[-1].connection == 2


def test_what_the_users_generator_raises_passes_and_says_nothing_about_the_endpoint(caller, fault_server):
    server = fault_server(answer())

    async def broken():
        yield b"one"
        raise OSError("my file is gone")

    async def body(client):
        with pytest.raises(OSError, match="my file is gone"):
            await client.post("http://payments/", content=broken())

    resilience = caller.resilience(upstream(server.url))
    caller.run(resilience, body)

    limit = resilience.status()["upstreams"]["payments"]
    assert (limit["concurrency"]["in_flight"], limit["endpoints"][0]["in_flight"]) == (0, 0)
    assert limit["endpoints"][0]["load"] == 0


def test_a_large_body_that_is_read_slowly_comes_whole_and_makes_the_server_wait(caller, fault_server):
    size = 20_000_000
    server = fault_server(answer(200, b"x" * size))

    async def body(client):
        response = await client.open_stream("http://payments/")
        await anyio.sleep(0.2)
        held = response.extensions["network_stream"]._connection.content.total_bytes
        return held, len(await client.read(response))

    held, read = caller.run(caller.resilience(upstream(server.url)), body)

    assert held < 1_000_000
    assert read == size


def test_a_request_that_closes_its_connection_leaves_none(caller, fault_server):
    server = fault_server(answer(200))

    resilience = caller.resilience(upstream(server.url))

    async def body(client):
        await client.get("http://payments/", headers={"Connection": "close"})
        assert resilience.async_port.engines.connections() == 0
        await client.get("http://payments/")

    caller.run(resilience, body)

    assert [request.connection for request in server.requests] == [1, 2]


def test_nothing_is_written_to_a_connection_that_is_lost(caller, fault_server, caplog):
    server = fault_server(RESET, read_body=False)

    async def body(client):
        with pytest.raises(caller.module.ReadError) as caught:
            await client.post("http://payments/", content=b"x" * 20_000_000)
        return caught.value.journal.attempts

    (attempt,) = caller.run(caller.resilience(upstream(server.url)), body)

    assert attempt.sent
    assert "asyncio" not in {record.name for record in caplog.records}  # it warns of such writes


# ------------------------------------------------------------------------------------------------ loops and backends


def test_trio_is_told_to_take_the_other_engine_and_that_is_not_the_endpoints_failure(backend, fault_server):
    server, caller = fault_server(answer()), Caller("trio", backend, "aiohttp")
    resilience = caller.resilience(upstream(server.url))

    async def body(client):
        for _ in range(2):
            with pytest.raises(SettingsError, match='on trio leave `engine` at "default"') as caught:
                await client.get("http://payments/")
        return caught.value.path

    async def story():
        async with resilience.async_client() as client:
            return await body(client)

    assert anyio.run(story, backend="trio") == "engine"
    assert server.connections == 0
    endpoint = resilience.status()["upstreams"]["payments"]["endpoints"][0]
    assert (endpoint["load"], endpoint["in_flight"], endpoint["circuit"]["state"]) == (0, 0, "closed")


async def call_without_closing(resilience, url):
    assert (await resilience.async_client().get(url)).status_code == 200


# `filterwarnings = error` fails it when anything is left to the garbage collector.
def test_each_loop_has_connections_of_its_own_and_closes_them_when_it_ends(caller, fault_server):
    server = fault_server()
    resilience = caller.resilience()
    for _ in range(3):
        asyncio.run(call_without_closing(resilience, server.url))

    server.wait_for_open_connections(0)
    assert server.connections == 3
    gc.collect()
    assert not resilience.async_port._pools


def test_sync_clients_have_the_default_engine_and_a_transport_of_the_users_stays(caller, fault_server):
    server, module = fault_server(answer(200, "ok")), caller.module
    resilience = caller.resilience(upstream(server.url))
    with resilience, resilience.client() as client:
        assert client.get("http://payments/").text == "ok"

    async def body(client):
        return (await client.get("http://payments/")).text

    mock = module.MockTransport(lambda request: module.Response(200, text="mock"))
    assert caller.run(resilience, body, transport=mock) == "mock"
    assert Caller("trio", caller.backend, "aiohttp").run(
        Resilience({"backend": caller.backend, **upstream(server.url)}), body, transport=mock
    ) == "mock"  # fmt: skip


def test_without_aiohttp_the_setting_says_what_to_install(monkeypatch, backend):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    for name in ("aiohttp_engine", "aiohttp_connection"):
        monkeypatch.delitem(sys.modules, f"resilient_http.engines.{name}", raising=False)

    with pytest.raises(SettingsError, match=r'pip install "resilient-http\[aiohttp\]"') as caught:
        Resilience({"backend": backend, "engine": "aiohttp"})
    assert caught.value.path == "engine"
    Resilience({"backend": backend})


def test_the_default_engine_does_not_import_aiohttp():
    assert "aiohttp" not in pool.__dict__
    code = "import sys, resilient_http; resilient_http.Resilience().async_client(); sys.exit('aiohttp' in sys.modules)"
    assert asyncio.run(_exit_code(code)) == 0


async def _exit_code(code):
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    return await process.wait()


@pytest.mark.parametrize("instrumented", [False, True])
def test_each_attempt_has_one_span_of_ours_whoever_instruments_httpx(fault_server, instrumented):
    server = fault_server([answer(503), answer(200)])
    caller = Caller("asyncio", "httpx", "aiohttp")

    async def body(client):
        return await client.get("http://payments/")

    with tracing(instrumented=instrumented) as spans:
        settings = upstream(server.url, retry={"backoff": {"base": 0.001, "throttled_base": 0.001}})
        caller.run(caller.resilience(settings), body)
        kinds = [span.kind.name for span in spans.all()]

    assert kinds == ["CLIENT", "CLIENT", "INTERNAL"]
    parents = {request.header("traceparent") for request in server.requests}
    assert len(parents) == 2
    assert None not in parents


@pytest.mark.parametrize("closed", ["engine", "response"])
def test_closing_while_a_body_is_read_ends_the_reader(caller, fault_server, closed):
    server = fault_server(type(answer())(lambda exchange: (exchange.send(OK[:-1]), hang().act(exchange))))
    resilience = caller.resilience(upstream(server.url))

    async def body(client):
        response = await client.open_stream("http://payments/")
        async with anyio.create_task_group() as tasks:

            async def read():
                with pytest.raises(caller.module.ReadError):
                    async for _ in response.stream:
                        pass

            tasks.start_soon(read)
            await anyio.sleep(0.05)
            await (resilience.async_port if closed == "engine" else response).aclose()

    started = time.monotonic()
    caller.run(resilience, body)
    assert time.monotonic() - started < 1.0


def test_the_time_that_the_users_code_takes_with_a_stream_is_not_the_servers(caller, fault_server):
    server = fault_server(answer(200, "x" * 200_000))

    async def body(client):
        response = await client.open_stream("http://payments/")
        await asyncio.sleep(0.4)
        return len(await client.read(response))

    assert caller.run(caller.resilience(upstream(server.url, timeout={"read": 0.2})), body) == 200_000
