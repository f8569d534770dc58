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
    break_off_body,
    close_before_answer,
    close_idle,
    echo,
    hang,
    raw,
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


@pytest.mark.parametrize("used", [False, True], ids=["fresh", "reused"])
@pytest.mark.parametrize("end", [close_before_answer(), RESET, raw(b"HTTP/1.1 2"), raw(b"nonsense\r\n\r\n")])
def test_a_post_that_was_dropped_after_receipt_counts_as_sent_and_is_not_repeated(caller, fault_server, used, end):
    server = fault_server([answer(), end] if used else end)

    async def body(client):
        if used:
            await client.post("http://payments/", content=b"first")
        with pytest.raises(caller.module.HTTPError) as caught:
            await client.post("http://payments/", content=b"order")
        return caught.value

    error = caller.run(caller.resilience(upstream(server.url)), body)

    (attempt,) = error.journal.attempts
    assert attempt.sent
    assert (attempt.outcome, attempt.fault.value) == ("unanswered", "broken off")
    slammed = caller.module.ReadError if end is RESET else caller.module.RemoteProtocolError
    assert isinstance(error, slammed)
    assert [request.body for request in server.requests].count(b"order") == 1
    assert server.connections == 1


def test_a_dropped_kept_connection_is_repeated_where_everybody_can_see_it(caller, fault_server):
    server = fault_server([close_idle(), answer(200, "ok")])

    async def body(client):
        await client.get("http://payments/")
        return await client.get("http://payments/")

    settings = upstream(server.url, retry={"backoff": {"base": 0.001}})
    response = caller.run(caller.resilience(settings), body)

    first, second = response.extensions["resilient_http"].attempts
    assert first.sent
    assert (first.fault.value, second.status) == ("broken off", 200)


@pytest.mark.parametrize("which", ["refused", "name"])
def test_what_does_not_connect_was_not_sent(caller, refused_url, which):
    url = refused_url if which == "refused" else "http://no-such-name.invalid:8080"

    async def body(client):
        with pytest.raises(caller.module.ConnectError) as caught:
            await client.post("http://payments/", content=b"x")
        return caught.value.journal.attempts

    attempts = caller.run(caller.resilience(upstream(url, retry={"backoff": {"base": 0.001}})), body)

    assert len(attempts) == 3  # a POST too, because it was never sent
    assert not any(attempt.sent for attempt in attempts)


@pytest.mark.parametrize("url", ["http://payments/", None], ids=["named", "by its own host"])
def test_tls_names_and_verifies_the_endpoint(caller, fault_server, tls, url):
    server = fault_server(answer(200, "ok"), tls=tls.server_context("localhost", "api.example"))
    own = f"https://localhost:{server.port}"
    trusted = {"verify": str(tls.ca_file)}
    settings = upstream(own, tls=trusted) | {"defaults": {"tls": trusted}}

    async def body(client):
        response = await client.get(url or own)
        stream = response.extensions["network_stream"]
        assert stream.get_extra_info("ssl_object").selected_alpn_protocol() in ("http/1.1", None)
        assert stream.get_extra_info("server_addr")[1] == server.port
        return response.text

    assert caller.run(caller.resilience(settings), body) == "ok"
    assert server.server_names == ["localhost"]


def test_the_setting_host_and_the_sni_hostname_of_a_request_name_it_otherwise(caller, fault_server, tls):
    server = fault_server(answer(200), tls=tls.server_context("api.example", "other.example"))
    settings = {"tls": {"verify": str(tls.ca_file)}}
    own = f"https://127.0.0.1:{server.port}"

    async def body(client):
        await client.get("http://payments/")
        await client.get(own, extensions={"sni_hostname": "other.example"})

    caller.run(caller.resilience(upstream(own, host="api.example", **settings) | {"defaults": settings}), body)

    assert server.server_names == ["api.example", "other.example"]
    assert server.requests[0].header("Host") == "api.example"


@pytest.mark.parametrize("wrong", ["name", "authority"])
def test_an_endpoint_that_is_not_to_be_trusted_is_not_asked_twice(caller, fault_server, tls, wrong):
    server = fault_server(answer(), tls=tls.server_context("other.example" if wrong == "name" else "localhost"))
    trusted = {"verify": str(tls.ca_file)} if wrong == "name" else {}

    async def body(client):
        with pytest.raises(caller.module.ConnectError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            await client.get("http://payments/")
        return caught.value.journal.attempts

    attempts = caller.run(caller.resilience(upstream(f"https://localhost:{server.port}", tls=trusted)), body)

    assert [(entry.fault.value, entry.sent) for entry in attempts] == [("untrusted", False)]


INVALID = {
    "a line in a header": {"headers": {"X-A": "secret\r\nX-B: 1"}},
    "a length that is not the body's": {"content": b"abc", "headers": {"Content-Length": "2"}},
}


@pytest.mark.parametrize("which", INVALID)
def test_a_request_that_cannot_be_written_is_refused_before_it_is_sent(caller, fault_server, which):
    server = fault_server(answer())

    async def body(client):
        with pytest.raises(caller.module.LocalProtocolError) as caught:
            await client.post("http://payments/", **INVALID[which])
        return caught.value

    error = caller.run(caller.resilience(upstream(server.url)), body)

    (attempt,) = error.journal.attempts
    assert (attempt.sent, attempt.outcome) == (False, "neutral")
    assert "secret" not in f"{error} {error.journal}"
    assert server.requests == []


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


ENDS = {
    "length, FIN": break_off_body(),
    "length, RST": break_off_body(reset=True),
    "chunk, FIN": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"),
    "no chunk": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nnonsense\r\n"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["get", "stream"])
@pytest.mark.parametrize("which", ENDS)
def test_a_body_that_breaks_off_is_no_answer(caller, fault_server, which, stream):
    server = fault_server(ENDS[which])

    async def body(client):
        started = time.monotonic()
        with pytest.raises((caller.module.RemoteProtocolError, caller.module.ReadError)) as caught:
            await (client.stream("GET", "http://payments/") if stream else client.get("http://payments/"))
        return caught.value.journal.attempts[0].outcome, time.monotonic() - started

    outcome, took = caller.run(caller.resilience(upstream(server.url, retry=None)), body)

    assert outcome == "unanswered"
    assert took < 0.5


def test_a_body_that_ends_with_its_connection_is_whole_unless_it_was_reset(caller, fault_server):
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    server = fault_server(raw(head + b"all of it"))

    async def body(client):
        whole = (await client.get("http://payments/")).text
        server.play(reset_after(head + b"half of it"))
        with pytest.raises(caller.module.ReadError):
            await client.get("http://payments/")
        return whole

    assert caller.run(caller.resilience(upstream(server.url, retry=None)), body) == "all of it"


def reset_after(data):
    def act(exchange):
        exchange.send(data)
        exchange.wait(0.05)
        exchange.reset()

    return type(answer())(act)


def test_answers_without_a_body_and_those_before_the_answer_keep_the_connection(caller, fault_server):
    server = fault_server(
        [
            answer(204),
            answer(304),
            answer(200, "not for HEAD"),
            type(answer())(lambda exchange: exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)),
            type(answer())(lambda exchange: exchange.send(OK.replace(b"OK", "Schön".encode("latin-1")))),
        ]
    )

    async def body(client):
        statuses = [(await client.request(method, "http://payments/")).status_code for method in ("GET", "GET", "HEAD")]
        hinted = await client.get("http://payments/")
        named = await client.get("http://payments/")
        return statuses, hinted.text, "link" in hinted.headers, named.extensions["reason_phrase"]

    assert caller.run(caller.resilience(upstream(server.url)), body) == (
        [204, 304, 200],
        "ok",
        False,
        "Schön".encode("latin-1"),
    )
    assert server.connections == 1


def test_an_answer_before_the_upload_has_ended_is_the_answer(caller, fault_server, caplog):
    def too_large(exchange):
        exchange.send_head(413, {"Content-Length": "3", "Connection": "close"})
        exchange.send(b"big")
        exchange.wait(0.1)
        exchange.reset()

    server = fault_server(type(answer())(too_large), read_body=False)

    async def body(client):
        response = await client.post("http://payments/", content=b"x" * 20_000_000)
        return response.status_code, response.text

    assert caller.run(caller.resilience(upstream(server.url)), body) == (413, "big")
    assert not caplog.records  # asyncio warns of what is written to a lost connection


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


def test_a_connection_that_the_server_has_closed_is_not_taken_though_the_loop_has_not_seen_it(caller, fault_server):
    server = fault_server(answer(200, "ok", hang_up=True))

    async def body(client):
        for _ in range(3):
            assert (await client.post("http://payments/", content=b"x")).text == "ok"
            time.sleep(0.05)  # the loop is busy with something else, and goes on with this at once

    caller.run(caller.resilience(upstream(server.url)), body)

    assert server.connections == 3


def test_nothing_is_written_to_a_connection_that_is_lost(caller, fault_server, caplog):
    server = fault_server(RESET, read_body=False)

    async def body(client):
        with pytest.raises(caller.module.ReadError) as caught:
            await client.post("http://payments/", content=b"x" * 20_000_000)
        return caught.value.journal.attempts

    (attempt,) = caller.run(caller.resilience(upstream(server.url)), body)

    assert attempt.sent
    assert "asyncio" not in {record.name for record in caplog.records}  # it warns of such writes


def test_an_answer_that_nobody_asked_for_is_given_to_nobody(caller, fault_server):
    server = fault_server([type(answer())(lambda exchange: exchange.send(OK + OK)), answer(200, "mine")])

    async def body(client):
        first = (await client.get("http://payments/")).text
        await anyio.sleep(0.02)
        return first, (await client.get("http://payments/")).text

    assert caller.run(caller.resilience(upstream(server.url)), body) == ("ok", "mine")
    assert server.connections == 2


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


@pytest.mark.parametrize(
    "headers",
    [
        [("Host", "a"), ("Host", "b")],
        [("Content-Length", "1"), ("Transfer-Encoding", "chunked")],
        [("Content-Length", "1" * 5000)],
    ],
    ids=["two hosts", "two lengths", "a long length"],
)
def test_what_servers_could_take_for_two_requests_is_refused(caller, fault_server, headers):
    server = fault_server(echo())

    async def body(client):
        with pytest.raises(caller.module.LocalProtocolError):
            await client.post("http://payments/", content=b"x", headers=headers)

    caller.run(caller.resilience(upstream(server.url)), body)

    assert server.requests == []


def test_another_scheme_is_refused_as_by_the_default_engine(caller, fault_server):
    server = fault_server(echo())

    async def body(client):
        with pytest.raises(caller.module.UnsupportedProtocol, match="ftp"):
            await client.get("ftp://payments/")

    caller.run(caller.resilience(upstream(server.url)), body)
