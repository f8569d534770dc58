"""HTTP/1.1 on the wire, over each engine: what was sent, what broke off, whose answer is whose."""

from __future__ import annotations

import functools
import sys
import threading
import time
from unittest import mock

import httpcore
import httpx
import pytest

from resilient_http import Resilience
from tests.live.servers import answer, break_off_body, close_before_answer, close_idle, echo, raw, reset

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
RESET = reset()


def upstream(*endpoints, **settings):
    return {"upstreams": {"payments": {"endpoints": list(endpoints), **settings}}}


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


def reset_after(data):
    def act(exchange):
        exchange.send(data)
        exchange.wait(0.05)
        exchange.reset()

    return type(answer())(act)


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


def test_a_connection_that_the_server_has_closed_is_not_taken_though_the_loop_has_not_seen_it(caller, fault_server):
    server = fault_server(answer(200, "ok", hang_up=True))

    async def body(client):
        for _ in range(3):
            assert (await client.post("http://payments/", content=b"x")).text == "ok"
            time.sleep(0.05)  # the loop is busy with something else, and goes on with this at once

    caller.run(caller.resilience(upstream(server.url)), body)

    assert server.connections == 3


def test_an_answer_that_nobody_asked_for_is_given_to_nobody(caller, fault_server):
    server = fault_server([type(answer())(lambda exchange: exchange.send(OK + OK)), answer(200, "mine")])

    async def body(client):
        first = (await client.get("http://payments/")).text
        time.sleep(0.02)
        return first, (await client.get("http://payments/")).text

    assert caller.run(caller.resilience(upstream(server.url)), body) == ("ok", "mine")
    assert server.connections == 2


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


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "6"}], ids=["chunked", "of a length"])
def test_a_body_may_come_in_pieces_of_whatever_is_like_bytes(caller, fault_server, headers):
    server = fault_server(echo())
    pieces = [b"ab", bytearray(b"cd"), memoryview(b"ef")]

    async def in_turn():
        for piece in pieces:
            yield piece

    async def body(client):
        content = iter(pieces) if caller.kind == "sync" else in_turn()
        return (await client.post("http://payments/", content=content, headers=headers)).status_code

    assert caller.run(caller.resilience(upstream(server.url)), body) == 200
    assert server.requests[0].body == b"abcdef"


def test_another_scheme_is_refused_as_by_the_default_engine(caller, fault_server):
    server = fault_server(echo())

    async def body(client):
        with pytest.raises(caller.module.UnsupportedProtocol, match="ftp"):
            await client.get("ftp://payments/")

    caller.run(caller.resilience(upstream(server.url)), body)


def acted(*data):
    """Sends these bytes, one after the other, and stays."""

    def act(exchange):
        for each in data:
            exchange.send(each)
            exchange.wait(0.05)

    return type(answer())(act)


def test_an_answer_to_head_with_a_body_costs_its_connection(caller, fault_server):
    server = fault_server([acted(OK), answer(200, "mine")])

    async def body(client):
        head = await client.request("HEAD", "http://payments/")
        time.sleep(0.02)
        return head.content, (await client.get("http://payments/")).text

    assert caller.run(caller.resilience(upstream(server.url)), body) == (b"", "mine")
    assert server.connections == 2


def test_what_comes_after_an_answer_while_the_connection_rests_is_given_to_nobody(caller, fault_server):
    server = fault_server([acted(OK, OK), answer(200, "mine")])

    async def body(client):
        first = (await client.get("http://payments/")).text
        time.sleep(0.1)
        return first, (await client.get("http://payments/")).text

    assert caller.run(caller.resilience(upstream(server.url)), body) == ("ok", "mine")
    assert server.connections == 2


def test_a_stream_whose_body_has_come_with_its_head_is_read_as_any_other(caller, fault_server):
    server = fault_server(acted(OK))

    async def body(client):
        response, content = await client.stream("GET", "http://payments/")
        again = await client.get("http://payments/")
        return content, response.num_bytes_downloaded, response.is_closed, again.text

    resilience = caller.resilience(upstream(server.url))
    assert caller.run(resilience, body) == (b"ok", 2, True, "ok")
    assert server.connections == 1
    assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 0


def test_a_stream_has_its_connection_until_it_is_closed(caller, fault_server):
    server = fault_server(answer(200, "ok", {"Connection": "close"}))

    async def body(client):
        response = await client.open_stream("http://payments/")
        where = response.extensions["network_stream"].get_extra_info("server_addr")
        content = await client.read(response)
        await client.close_stream(response)
        return where[1], content

    assert caller.run(caller.resilience(upstream(server.url)), body) == (server.port, b"ok")


@pytest.mark.parametrize("size", [2, 65536 - 42])
def test_what_the_loop_or_tls_holds_behind_an_answer_is_given_to_nobody(caller, fault_server, tls, size):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %5d\r\n\r\n" % size  # 42 bytes: one read is 65536

    def two_records(exchange):
        exchange.send(head + b"x" * size)
        exchange.send(OK)

    server = fault_server([type(answer())(two_records), answer(200, "mine")], tls=tls.server_context("localhost"))
    settings = upstream(f"https://localhost:{server.port}", tls={"verify": str(tls.ca_file)})

    async def body(client):
        first = (await client.get("http://payments/")).content
        time.sleep(0.05)
        return len(first), (await client.get("http://payments/")).text

    assert len(head) == 42
    assert caller.run(caller.resilience(settings), body) == (size, "mine")


def test_what_the_loop_holds_behind_a_full_read_is_given_to_nobody(caller, fault_server):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 65494\r\n\r\n"
    server = fault_server([acted(head + b"x" * 65494 + OK), answer(200, "mine")])

    async def body(client):
        first = (await client.get("http://payments/")).content
        time.sleep(0.05)
        return len(first), (await client.get("http://payments/")).text

    assert caller.run(caller.resilience(upstream(server.url)), body) == (65494, "mine")


# What httpx's transports and httpcore do beside it, of the default engine.

BODIES = ({}, {"content": b"abc"}, {"content": [b"a", b"b"]}, {"content": b"x" * 100_000})


@pytest.mark.parametrize("options", BODIES)
@pytest.mark.parametrize("stream", [False, True], ids=["get", "stream"])
def test_the_trace_extension_tells_what_it_tells_with_httpx(fault_server, options, stream):
    server = fault_server(answer(200, "ok"))

    def told(client):
        names = []
        tracing = {"trace": lambda name, _info: names.append(name)}
        for _ in range(2):
            if stream:
                with client.stream("POST", server.url, extensions=tracing, **options) as response:
                    response.read()
            else:
                client.post(server.url, extensions=tracing, **options)
        return names

    with httpx.Client() as bare, Resilience() as resilience, resilience.client() as ours:
        assert told(ours) == told(bare)


async def test_the_trace_extension_tells_the_same_in_async_code(fault_server):
    server = fault_server(answer(200, "ok"))

    async def told(client):
        names = []

        async def note(name, _info):
            names.append(name)

        await client.get(server.url, extensions={"trace": note})
        await client.post(server.url, content=b"abc", extensions={"trace": note})
        return names

    resilience = Resilience()
    async with httpx.AsyncClient() as bare, resilience, resilience.async_client() as ours:
        assert await told(ours) == await told(bare)


def test_who_wraps_httpxs_transport_sees_each_request_from_then_on_and_until_then(fault_server, monkeypatch):
    server, seen = fault_server(answer(200, "ok")), []
    plain = httpx.HTTPTransport.handle_request

    def wrapper(self, request):
        seen.append(request.url.host)
        return plain(self, request)

    with Resilience(upstream(server.url)) as resilience, resilience.client() as client:
        client.get("http://payments/")
        with monkeypatch.context() as patch:
            patch.setattr(httpx.HTTPTransport, "handle_request", wrapper)
            client.get("http://payments/")
        client.get("http://payments/")

    assert seen == ["payments"]
    assert server.connections == 1  # the same ones beneath


def test_a_request_to_upgrade_has_the_connection_to_itself(fault_server):
    def switch(exchange):
        exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello")
        exchange.wait(0.5)

    server = fault_server([answer(200), type(answer())(switch), answer(200, "still here")])
    headers = {"Connection": "upgrade", "Upgrade": "echo"}

    with Resilience(upstream(server.url)) as resilience, resilience.client() as client:
        client.get("http://payments/")
        with client.stream("GET", "http://payments/", headers=headers) as response:
            assert response.status_code == 101
            assert response.extensions["network_stream"].read(100, timeout=1.0) == b"hello"
        assert client.get("http://payments/").text == "still here"

    assert [request.connection for request in server.requests] == [1, 2, 1]


def test_one_that_asked_to_upgrade_and_was_not_is_not_in_the_way_of_the_next(caller, fault_server):
    server = fault_server(answer(200, "ok"))
    headers = {"Connection": "upgrade", "Upgrade": "echo"}

    async def body(client):
        return [(await client.get("http://payments/", headers=more)).text for more in ({}, headers, {}, headers, {})]

    assert caller.run(caller.resilience(upstream(server.url)), body) == ["ok"] * 5


def test_who_wraps_httpcores_connection_sees_each_request_and_connections_are_kept(fault_server, monkeypatch):
    server, seen = fault_server(answer(200, "ok")), []
    plain = httpcore.HTTPConnection.handle_request

    @functools.wraps(plain)
    def wrapper(self, request):
        seen.append(request.url.target)
        return plain(self, request)

    with Resilience(upstream(server.url)) as resilience, resilience.client() as client:
        client.get("http://payments/0")
        with monkeypatch.context() as patch:
            patch.setattr(httpcore.HTTPConnection, "handle_request", wrapper)
            for number in range(1, 4):
                client.get(f"http://payments/{number}")
        client.get("http://payments/4")

    assert seen == [b"/1", b"/2", b"/3"]
    assert [request.connection for request in server.requests] == [1, 2, 2, 2, 3]


@pytest.mark.parametrize("name", ["httpx.HTTPTransport.handle_request", "httpcore.HTTPConnection.handle_request"])
def test_a_mock_without_a_home_sees_each_request(fault_server, name):
    server = fault_server(answer(200, "ok"))
    owner, kind, method = name.split(".")
    plain = getattr(getattr(sys.modules[owner], kind), method)

    with Resilience(upstream(server.url)) as resilience, resilience.client() as client:
        with mock.patch(name, autospec=True, side_effect=plain) as seen:
            assert client.get("http://payments/").text == "ok"
        assert seen.call_count == 1
        assert client.get("http://payments/").text == "ok"


def test_what_is_logged_of_an_exchange_has_no_header_and_what_is_traced_has_the_url(fault_server, caplog):
    server, seen = fault_server(answer(200, "ok", {"Set-Cookie": "sid=secret"})), []
    headers = {"Authorization": "Bearer secret"}

    def note(name, info):
        seen.append(info["request"].url.target if "request" in info else None)

    with Resilience(upstream(server.url)) as resilience, resilience.client() as client:
        with caplog.at_level("DEBUG", logger="httpcore.http11"):
            client.get("http://payments/a", headers=headers)
        client.get("http://payments/b", headers=headers, extensions={"trace": note})

    told = [record.getMessage() for record in caplog.records if record.name == "httpcore.http11"]
    assert "send_request_headers.started request=<Request [b'GET']>" in told
    assert "Bearer" not in "".join(told)
    assert b"/b" in seen


def test_closing_in_another_thread_ends_who_reads_and_gives_nobody_his_bytes(fault_server):
    def half(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        exchange.wait(5.0)

    server, ended = fault_server([type(answer())(half), answer(200, "mine")]), []

    with Resilience(upstream(server.url)) as resilience, resilience.client() as client:
        response = client.send(client.build_request("GET", "http://payments/"), stream=True)

        def read():
            try:
                response.read()
            except httpx.HTTPError as exc:
                ended.append(exc)

        reader = threading.Thread(target=read)
        reader.start()
        time.sleep(0.1)
        response.close()
        reader.join(2.0)
        assert client.get("http://payments/").text == "mine"

    assert len(ended) == 1
    assert server.connections == 2
