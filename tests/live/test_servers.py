"""The servers that the other tests rely on, asked by bare httpx."""

import socket
import threading
import time

import httpx
import pytest

from tests.live.servers import (
    FaultServer,
    answer,
    break_off_body,
    close_before_answer,
    close_idle,
    delay,
    drip_body,
    drip_headers,
    echo,
    gated,
    hang,
    raw,
    redirect,
    reset,
)


@pytest.fixture
def client():
    with httpx.Client(timeout=2.0) as client:
        yield client


def test_an_answer_arrives_as_written_over_one_connection(fault_server, client):
    server = fault_server(answer(418, "short and stout", {"X-Pot": "tea"}))
    responses = [client.get(server.url), client.head(server.url), client.post(server.url, content=b"leaves")]
    assert [response.status_code for response in responses] == [418, 418, 418]
    assert [response.text for response in responses] == ["short and stout", "", "short and stout"]
    assert responses[0].headers["X-Pot"] == "tea"
    assert server.connections == 1


def test_requests_are_kept_as_they_came(fault_server, client):
    server = fault_server()
    client.post(f"{server.url}/path?query=1", content=b"body", headers={"X-Twice": "One"})
    client.put(server.url, content=iter([b"in ", b"chunks"]))
    first, second = server.requests
    assert (first.method, first.target, first.body) == ("POST", "/path?query=1", b"body")
    assert ("X-Twice", "One") in first.headers
    assert first.header("x-twice") == "One"
    assert second.body == b"in chunks"


def test_echo_tells_what_it_received(fault_server, client):
    received = client.post(f"{fault_server(echo()).url}/here", content=b"12345").json()
    assert (received["method"], received["target"], received["body_length"]) == ("POST", "/here", 5)
    assert ["Content-Length", "5"] in received["headers"]


def test_a_script_is_played_in_order_and_its_last_line_stays(fault_server, client):
    server = fault_server([answer(503), answer(200)])
    assert [client.get(server.url).status_code for _ in range(3)] == [503, 200, 200]
    server.play(answer(404))
    assert client.get(server.url).status_code == 404


def test_a_function_chooses_by_the_request(fault_server, client):
    server = fault_server(lambda request: answer(200 if request.target == "/good" else 500))
    assert client.get(f"{server.url}/good").status_code == 200
    assert client.get(f"{server.url}/bad").status_code == 500


def test_a_redirect_is_followed(fault_server, client):
    server = fault_server([redirect("/there"), answer(200)])
    assert client.get(server.url, follow_redirects=True).url.path == "/there"


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (hang(), httpx.ReadTimeout),
        (reset(), httpx.ReadError),
        (close_before_answer(), httpx.RemoteProtocolError),
        (break_off_body(), httpx.RemoteProtocolError),
        (break_off_body(reset=True), httpx.ReadError),
        (raw(b"no HTTP\r\n\r\n"), httpx.RemoteProtocolError),
        (delay(1.0), httpx.ReadTimeout),
        (drip_headers(1.0), httpx.ReadTimeout),
    ],
    ids=["hang", "reset", "close", "break-off", "break-off-by-reset", "raw", "delay", "drip-headers"],
)
def test_a_fault_is_what_httpx_says_it_is(fault_server, behaviour, error):
    server = fault_server(behaviour)
    with pytest.raises(error):
        httpx.get(server.url, timeout=0.2)
    assert len(server.requests) == 1


@pytest.mark.parametrize("behaviour", [drip_body(0.05, b"x", 4), drip_headers(0.05, 4)], ids=["body", "headers"])
def test_a_drip_outlives_the_timeout_of_one_read(fault_server, behaviour):
    started = time.monotonic()
    assert httpx.get(fault_server(behaviour).url, timeout=0.15).status_code == 200
    assert time.monotonic() - started >= 0.2


def test_a_stale_connection_breaks_a_request_that_the_server_has_received(fault_server, client):
    server = fault_server([answer(), close_before_answer()])
    client.get(server.url)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(server.url)
    assert [request.connection for request in server.requests] == [1, 1]


def test_an_idle_connection_is_lost_when_it_is_used_again(fault_server, client):
    server = fault_server(close_idle())
    assert client.get(server.url).status_code == 200
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(server.url)
    assert client.get(server.url).status_code == 200
    assert [request.connection for request in server.requests] == [1, 2]


def test_a_server_that_hangs_up_is_seen_by_the_pool(fault_server, client):
    server = fault_server(answer(hang_up=True))
    client.get(server.url)
    server.wait_for_open_connections(0)
    assert client.get(server.url).status_code == 200
    assert server.connections == 2


def test_a_gate_holds_the_answer(fault_server, client):
    gate = threading.Event()
    server = fault_server(gated(gate, answer(201)))
    opener = threading.Thread(target=lambda: (server.wait_for_requests(1), gate.set()))
    opener.start()
    assert client.get(server.url).status_code == 201
    opener.join()


def test_a_client_that_goes_away_ends_its_connection(fault_server):
    server = fault_server(drip_body(0.01))
    with httpx.stream("GET", server.url):
        assert server.open_connections == 1
    server.wait_for_open_connections(0)


def test_an_unread_upload_blocks(fault_server):
    server = fault_server(hang(), read_body=False)
    with pytest.raises(httpx.WriteTimeout):
        httpx.post(server.url, content=b"x" * 50_000_000, timeout=0.2)


@pytest.mark.parametrize("behaviour", [hang(), drip_body(60.0), gated(threading.Event())], ids=["hang", "drip", "gate"])
def test_a_stop_is_quick_whatever_is_under_way(behaviour):
    before = set(threading.enumerate())
    server = FaultServer(behaviour)
    with (
        socket.create_connection((server.host, server.port)) as under_way,
        socket.create_connection((server.host, server.port)),
    ):
        under_way.sendall(b"GET / HTTP/1.1\r\n\r\n")
        server.wait_for_requests(1)
        started = time.monotonic()
        server.stop()
    assert time.monotonic() - started < 0.5
    assert set(threading.enumerate()) <= before


def test_a_stopped_server_comes_back_on_its_port(fault_server, client):
    server = fault_server()
    client.get(server.url)
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)
    again = fault_server(answer(204), port=server.port)
    assert again.url == server.url
    assert client.get(again.url).status_code == 204


def test_waiting_for_a_request_that_does_not_come_says_so(fault_server):
    with pytest.raises(TimeoutError, match=r"did not see 1 requests within 0\.01 s"):
        fault_server().wait_for_requests(1, timeout=0.01)


def test_nobody_listens_on_the_refused_port(refused_url):
    with pytest.raises(httpx.ConnectError):
        httpx.get(refused_url)


def test_a_full_backlog_does_not_answer(unanswered_url):
    with pytest.raises(httpx.ConnectTimeout):
        httpx.get(unanswered_url, timeout=0.2)


def test_tls_is_served_for_its_names_and_the_asked_name_is_recorded(fault_server, tls):
    server = fault_server(tls=tls.server_context("payments.test", "127.0.0.1"))
    with httpx.Client(verify=tls.client_context()) as client:
        assert client.get(server.url).status_code == 200
        named = client.get(server.url, extensions={"sni_hostname": "payments.test"}, headers={"Connection": "close"})
        assert named.status_code == 200
    with httpx.Client(verify=tls.client_context()) as client:
        client.get(server.url, extensions={"sni_hostname": "payments.test"})
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            client.get(server.url.replace("127.0.0.1", "localhost"))
    assert server.server_names == [None, "payments.test", "localhost"]


def test_a_plain_server_hangs_in_the_handshake(fault_server, tls):
    server = fault_server()
    with pytest.raises(httpx.ConnectTimeout):
        httpx.get(server.url.replace("http", "https"), verify=tls.client_context(), timeout=0.2)


def test_nginx_answers_and_logs(nginx, client):
    server = nginx('location /teapot { return 418 "short and stout"; }')
    assert client.get(f"{server.url}/teapot").text == "short and stout"
    until = time.monotonic() + 2
    while not server.access_log and time.monotonic() < until:  # it logs when it has answered
        time.sleep(0.01)
    assert len(server.access_log) == 1
    server.kill()
    with pytest.raises(httpx.TransportError):
        client.get(server.url)


async def test_async_tests_run_on_asyncio_and_on_trio(fault_server, anyio_backend_name):
    async with httpx.AsyncClient() as client:
        assert (await client.get(fault_server().url)).status_code == 200
    assert anyio_backend_name in {"asyncio", "trio"}
