"""An https endpoint behind an https proxy: TLS in TLS, which must keep to deadlines as everything else does."""

from __future__ import annotations

import time

import pytest

from resilient_http import deadline
from tests.live.servers import answer, drip_body, echo, hang, raw, tunnel

LATE = 0.25


@pytest.fixture
def proxy(fault_server, tls):
    return fault_server(tunnel(), tls=tls.server_context("127.0.0.1"))  # another name than the endpoint's


@pytest.fixture
def behind(proxy, tls):
    """The settings of an upstream behind the proxy."""

    def behind(server, **settings):
        own = {
            "endpoints": [f"https://localhost:{server.port}"],
            "proxy": proxy.url,
            "tls": {"verify": str(tls.ca_file)},
            "retry": None,
            **settings,
        }
        return {"upstreams": {"payments": own}}

    return behind


@pytest.fixture
def endpoint(fault_server, tls):
    """Starts an endpoint that speaks TLS."""

    def endpoint(script, **options):
        return fault_server(script, tls=tls.server_context("localhost"), **options)

    return endpoint


def test_calls_go_through_one_tunnel_one_after_the_other(caller, proxy, endpoint, behind):
    server = endpoint(echo())

    async def body(client):
        return [(await client.post("http://payments/charges", content=b"x" * 300_000)).json() for _ in range(3)]

    answers = caller.run(caller.resilience(behind(server)), body)

    assert [answer["body_length"] for answer in answers] == [300_000] * 3
    assert {answer["target"] for answer in answers} == {"/charges"}
    assert [(request.method, request.target) for request in proxy.requests] == [("CONNECT", f"localhost:{server.port}")]
    assert (proxy.server_names, server.server_names) == ([None], ["localhost"])


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_setting_host_is_the_endpoints_name_in_tls_and_not_the_proxys(caller, fault_server, tls, behind, scheme):
    proxy = fault_server(tunnel(), tls=tls.server_context("localhost") if scheme == "https" else None)
    server = fault_server(echo(), tls=tls.server_context("pay.example"))
    own = {"endpoints": [server.url], "host": "pay.example", "proxy": f"{scheme}://localhost:{proxy.port}"}

    async def body(client):
        return dict((await client.get("http://payments/")).json()["headers"])

    headers = caller.run(caller.resilience(behind(server, **own)), body)

    assert headers["Host"] == "pay.example"
    assert [request.target for request in proxy.requests] == [f"127.0.0.1:{server.port}"]
    assert proxy.server_names == (["localhost"] if scheme == "https" else [])
    assert server.server_names == ["pay.example"]


def test_a_plain_endpoint_is_reached_through_an_https_proxy(caller, fault_server, tls, behind):
    proxy = fault_server(echo(), tls=tls.server_context("localhost"))
    settings = behind(proxy, endpoints=["http://10.0.0.1:8080"], proxy=f"https://localhost:{proxy.port}")

    async def body(client):
        return (await client.get("http://payments/charges")).json()["target"]

    assert caller.run(caller.resilience(settings), body) == "http://10.0.0.1:8080/charges"


@pytest.mark.parametrize("stream", [False, True], ids=["get", "stream"])
def test_a_large_body_comes_back_whole(caller, endpoint, behind, stream):
    content = bytes(range(256)) * 4000
    server = endpoint(answer(200, content))

    async def body(client):
        if stream:
            return (await client.stream("GET", "http://payments/"))[1]
        return (await client.get("http://payments/")).content

    assert caller.run(caller.resilience(behind(server)), body) == content


def test_a_body_that_ends_with_its_connection_is_whole_as_without_a_proxy(caller, endpoint, behind):
    server = endpoint(raw(b"HTTP/1.1 200 OK\r\n\r\nall of it"))

    async def body(client):
        return (await client.get("http://payments/")).text

    assert caller.run(caller.resilience(behind(server)), body) == "all of it"


def exceeded(caller, settings, *, content=None):
    """The error, and how long it took, of a call with 0.3 s."""

    async def body(client):
        started = time.monotonic()
        with deadline(0.3), pytest.raises(caller.errors.DeadlineExceeded) as caught:
            await client.post("http://payments/", content=content)
        return caught.value, time.monotonic() - started

    return caller.run(caller.resilience(settings), body)


def test_a_handshake_that_hangs_inside_the_tunnel_ends_at_the_deadline(caller, proxy, fault_server, behind):
    server = fault_server(hang())  # it speaks no TLS

    _, took = exceeded(caller, behind(server))

    assert 0.25 <= took < 0.3 + LATE
    assert len(proxy.requests) == 1
    proxy.wait_for_open_connections(0)
    server.wait_for_open_connections(0)


def test_a_handshake_that_hangs_with_the_proxy_ends_at_the_deadline(caller, fault_server, endpoint, behind):
    silent = fault_server(hang())
    settings = behind(endpoint(answer()), proxy=f"https://localhost:{silent.port}")

    error, took = exceeded(caller, settings)

    assert 0.25 <= took < 0.3 + LATE
    assert not error.journal.attempts[0].sent


@pytest.mark.parametrize("behaviour", [hang(), drip_body(0.05)], ids=["silence", "drip"])
def test_an_answer_that_does_not_come_through_the_tunnel_ends_at_the_deadline(
    caller, proxy, endpoint, behind, behaviour
):
    error, took = exceeded(caller, behind(endpoint(behaviour)))

    assert 0.25 <= took < 0.3 + LATE
    assert error.journal.attempts[0].sent
    proxy.wait_for_open_connections(0)


# httpx leaves the generator of a request's body to the garbage collector when an upload is cut; trio warns of that.
@pytest.mark.filterwarnings("ignore:.*ByteStream.__aiter__:pytest.PytestUnraisableExceptionWarning")
def test_an_upload_that_nobody_takes_out_of_the_tunnel_ends_at_the_deadline(caller, endpoint, behind):
    server = endpoint(hang(), read_body=False)

    _, took = exceeded(caller, behind(server), content=b"x" * 8_000_000)

    assert 0.25 <= took < 0.3 + 2 * LATE  # so much is encrypted twice, by the client and by the proxy beside it


def test_a_proxy_that_hangs_up_in_the_handshake_is_no_answer(caller, proxy, endpoint, behind):
    proxy.play(raw(b"HTTP/1.1 200 OK\r\n\r\n"))

    async def body(client):
        with pytest.raises(caller.module.ConnectError) as caught:
            await client.get("http://payments/")
        return caught.value.journal.attempts[0].outcome

    assert caller.run(caller.resilience(behind(endpoint(answer()))), body) == "unanswered"


@pytest.mark.parametrize("which", ["proxy", "endpoint"])
def test_a_certificate_that_does_not_verify_is_not_retried(caller, fault_server, tls, behind, which):
    wrong, right = tls.server_context("other.example"), tls.server_context("localhost")
    server = fault_server(answer(), tls=wrong if which == "endpoint" else right)
    through = fault_server(tunnel(), tls=wrong if which == "proxy" else right)
    settings = behind(server, proxy=f"https://localhost:{through.port}", retry={"max_attempts": 3})

    async def body(client):
        with pytest.raises(caller.module.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get("http://payments/")

    caller.run(caller.resilience(settings), body)

    assert through.connections == 1
    assert server.requests == []
