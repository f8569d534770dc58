"""A caller that goes away ends the outbound work of its request: sync and async views behind a real ASGI server."""

import json
import socket
import time

import httpx
import pytest

from tests.live.processes import served
from tests.live.servers import FaultServer, answer, delay, drip_body, hang

UVICORN = ["uvicorn", "--fd", "FD", "--log-level", "warning", "tests.resilient_http_django.project.asgi:application"]


@pytest.fixture(scope="module")
def upstream():
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    return tmp_path_factory.mktemp("notes") / "notes"


@pytest.fixture(scope="module", params=[{}, {"PROJECT_SYNC_ONLY": "1"}], ids=["async", "sync-only-below"])
def server(request, upstream, notes):
    settings = {"UPSTREAMS": {"payments": {"ENDPOINTS": [upstream.url]}}}
    environment = {"PROJECT_RESILIENT_HTTP": json.dumps(settings), "PROJECT_NOTES": str(notes), **request.param}
    with served(UVICORN, environment) as running:
        httpx.get(f"{running.url}/nowhere", timeout=30)
        yield running


def visit_and_go(server, upstream, path):
    """Ask for a page, and hang up as soon as its outbound call has reached the upstream."""
    before = len(upstream.requests)
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as caller:
        caller.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        upstream.wait_for_requests(before + 1)
    return time.monotonic()


def noted(notes, path, within=5.0):
    """How the view's call ended, and after how long."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        lines = [line.split() for line in notes.read_text().splitlines()] if notes.exists() else []
        for where, ended, took in lines:
            if where == path:
                notes.write_text("")
                return ended, float(took), time.monotonic()
        time.sleep(0.005)
    raise AssertionError(f"{path} has noted nothing")


@pytest.mark.parametrize(("path", "error"), [("/sync/note", "Cancelled"), ("/async/note", "CancelledError")])
def test_a_caller_that_hangs_up_ends_the_outbound_call(server, upstream, notes, path, error):
    upstream.play(hang())

    gone_at = visit_and_go(server, upstream, path)

    ended, _took, seen_at = noted(notes, path)
    assert ended == error
    assert seen_at - gone_at < 0.3
    upstream.wait_for_open_connections(0)


# A middleware that is sync only has us run in a thread until the response begins; what comes later nobody is told.
@pytest.mark.parametrize("server", [{}], ids=["async"], indirect=True)
def test_a_caller_that_hangs_up_ends_the_call_of_a_sync_streamed_body(server, upstream, notes):
    upstream.play(drip_body(0.05))

    gone_at = visit_and_go(server, upstream, "/sync/stream-note")

    ended, _took, seen_at = noted(notes, "/sync/stream-note")
    assert ended == "Cancelled"
    assert seen_at - gone_at < 0.3
    upstream.wait_for_open_connections(0)


@pytest.mark.parametrize("path", ["/sync/stubborn", "/async/stubborn", "/async/stubborn-class"])
def test_a_view_may_go_on(server, upstream, notes, path):
    upstream.play(delay(0.4, answer(200, "done")))

    visit_and_go(server, upstream, path)

    ended, took, _ = noted(notes, path)
    assert ended == "done"
    assert took >= 0.4


@pytest.mark.parametrize("path", ["/sync/note", "/async/note"])
def test_who_waits_gets_the_answer(server, upstream, notes, path):
    upstream.play(delay(0.2, answer(200, "done")))

    assert httpx.get(server.url + path, timeout=30).json() == {"ended": "done"}
    assert noted(notes, path)[0] == "done"


@pytest.mark.parametrize("path", ["/sync/stream", "/async/stream"])
def test_a_streamed_body_is_complete(server, upstream, path):
    upstream.play(answer())

    response = httpx.get(server.url + path, timeout=30)

    assert response.text.startswith("first 9.9")
