"""A caller that goes away ends the outbound work of its request, and nothing else suffers; behind a real uvicorn."""

import json
import socket
import time

import httpx
import pytest

from tests.live.processes import served
from tests.live.servers import FaultServer, answer, delay, drip_body, hang

UVICORN = ["uvicorn", "--fd", "FD", "--log-level", "warning", "tests.resilient_http_fastapi.leaving:app"]


@pytest.fixture(scope="module")
def upstream():
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    return tmp_path_factory.mktemp("notes") / "notes"


@pytest.fixture(scope="module", params=["0", "1"], ids=["plain", "wrapped"])
def service(request, upstream, notes):
    environment = {
        "RESILIENT_HTTP_UPSTREAMS__PAYMENTS__ENDPOINTS": json.dumps([upstream.url]),
        "SERVICE_NOTES": str(notes),
        "SERVICE_WRAPPED": request.param,
    }
    with served(UVICORN, environment) as running:
        httpx.get(f"{running.url}/nowhere", timeout=30)
        yield running
        _, output = running.stop()
    assert "Cancelled" not in output


def connect(service, request_line, size=0):
    """A caller that has sent the head of a request, which announces a body of that size."""
    host, port = service.url.removeprefix("http://").split(":")
    caller = socket.create_connection((host, int(port)))
    caller.sendall(f"{request_line} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
    return caller


def visit_and_go(service, upstream, path):
    """Ask for a page, and hang up as soon as its outbound call has reached the upstream."""
    before = len(upstream.requests)
    with connect(service, f"GET {path}"):
        upstream.wait_for_requests(before + 1)
    return time.monotonic()


def noted(notes, path, within=5.0):
    """How the call ended, after how long, and when that was seen."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        lines = [line.split() for line in notes.read_text().splitlines()] if notes.exists() else []
        for where, ended, took in lines:
            if where == path:
                notes.write_text("")
                return ended, float(took), time.monotonic()
        time.sleep(0.005)
    raise AssertionError(f"{path} has noted nothing")


@pytest.mark.parametrize("path", ["/async", "/sync"])
def test_a_caller_that_hangs_up_ends_the_outbound_call(service, upstream, notes, path):
    upstream.play(hang())

    gone_at = visit_and_go(service, upstream, path)

    ended, _, seen_at = noted(notes, path)
    assert ended == "Cancelled"
    assert seen_at - gone_at < 0.25
    upstream.wait_for_open_connections(0)


def test_a_caller_that_hangs_up_ends_the_call_of_a_streamed_body(service, upstream, notes):
    upstream.play(hang())

    gone_at = visit_and_go(service, upstream, "/stream")

    # Whoever sees it first: our watcher, or Starlette, which then cancels the body.
    ended, _, seen_at = noted(notes, "/stream")
    assert ended in ("Cancelled", "CancelledError")
    assert seen_at - gone_at < 0.25
    upstream.wait_for_open_connections(0)


def test_a_caller_that_hangs_up_leaves_no_stream_open_that_a_thread_passes_on(service, upstream):
    upstream.play(drip_body(0.0))

    for _ in range(3):
        visit_and_go(service, upstream, "/pass-on")

    upstream.wait_for_open_connections(0)
    assert httpx.get(f"{service.url}/in-flight", timeout=30).json() == 0


@pytest.mark.parametrize("path", ["/stubborn/async", "/stubborn/sync"])
def test_a_route_may_go_on(service, upstream, notes, path):
    upstream.play(delay(0.4, answer(200, "done")))

    visit_and_go(service, upstream, path)

    ended, took, _ = noted(notes, path)
    assert ended == "done"
    assert took >= 0.4


@pytest.mark.parametrize("path", ["/async", "/sync", "/stream"])
def test_who_waits_gets_the_answer(service, upstream, notes, path):
    upstream.play(delay(0.2, answer(200, "done")))

    assert "done" in httpx.get(service.url + path, timeout=30).text
    assert noted(notes, path)[0] == "done"


def test_a_connection_serves_one_request_after_the_other(service, upstream, notes):
    upstream.play(answer(200, "done"))

    with httpx.Client(base_url=service.url, timeout=30, limits=httpx.Limits(max_connections=1)) as caller:
        responses = [caller.get(f"/{path}") for path in ("async", "sync", "stream") * 5]

    assert all("done" in response.text for response in responses)
    notes.write_text("")


def test_a_body_is_complete(service, upstream):
    upstream.play(answer(200, "done"))

    assert httpx.post(f"{service.url}/body", json={"a": 1}, timeout=30).json() == {"payload": {"a": 1}, "ended": "done"}


def test_an_upload_is_complete_with_calls_before_between_and_after(service, upstream):
    upstream.play(answer())

    _, size = httpx.post(f"{service.url}/upload", content=b"x" * 5_000_000, timeout=30).json()

    assert size == 5_000_000


def test_an_upload_that_nobody_reads_is_held_back(service, upstream):
    upstream.play(hang())
    size, sent = 100_000_000, 0
    with connect(service, "POST /upload", size=size) as caller:
        caller.settimeout(0.3)
        with pytest.raises(TimeoutError):  # noqa: PT012 - which of the sends it will be is not known
            while sent < size:
                sent += caller.send(b"x" * 65536)

    assert sent < 20_000_000


# Starlette's own middleware (BaseHTTPMiddleware) keeps is_disconnected() from ever seeing it, with and without ours.
@pytest.mark.parametrize("service", ["0"], ids=["plain"], indirect=True)
def test_an_endpoint_that_asks_whether_its_caller_is_there_is_told(service, upstream, notes):
    upstream.play(answer())
    before = len(upstream.requests)

    with connect(service, "GET /polling"):
        upstream.wait_for_requests(before + 1)
        while httpx.get(f"{service.url}/in-flight", timeout=30).json():
            pass  # its call is to have been answered before the caller goes

    assert noted(notes, "/polling")[0] == "seen"


@pytest.mark.parametrize("path", ["/background", "/background-sync"])
def test_background_work_is_not_cut_when_the_caller_hangs_up(service, upstream, notes, path):
    upstream.play(lambda request: answer() if request.target == "/first" else delay(0.3, answer(200, "done")))

    with connect(service, f"GET {path}") as caller:
        caller.recv(1000)

    assert noted(notes, path)[0] == "done"
