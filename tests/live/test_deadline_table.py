"""Whatever the other side does, a call ends at its deadline, and holds no permit and no thread afterwards."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager

import pytest

from resilient_http import deadline
from tests.live.behaviours import redirect
from tests.live.servers import FaultServer, delay, drip_body, drip_headers, full_backlog, hang

BUDGET, LATE = 0.4, 0.25


@contextmanager
def misbehaving(behaviour):
    with FaultServer(behaviour) as server:
        yield server.url


@contextmanager
def mute(scheme):
    """A peer that accepts a connection, and neither reads nor writes: no handshake, and no upload, goes on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"


HARDSHIPS = {
    "body drip": lambda: misbehaving(drip_body(0.05)),
    "header drip": lambda: misbehaving(drip_headers(0.05)),
    "no answer": lambda: misbehaving(hang()),
    "full backlog": full_backlog,
    "TLS handshake": lambda: mute("https"),
    "upload": lambda: mute("http"),
    "redirect chain": lambda: misbehaving(delay(0.1, redirect("/"))),
}


# httpx leaves the generator of a request's body to the garbage collector when an upload is cut; trio warns of that.
@pytest.mark.filterwarnings("ignore:.*ByteStream.__aiter__:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("stream", [False, True], ids=["get", "stream"])
@pytest.mark.parametrize("hardship", HARDSHIPS)
def test_it_ends_at_the_deadline_and_holds_nothing(caller, hardship, stream):
    threads = set(threading.enumerate())

    async def body(client):
        send = client.stream if stream else client.request
        method, options = ("POST", {"content": b"x" * 20_000_000}) if hardship == "upload" else ("GET", {})
        started = time.monotonic()
        with deadline(BUDGET), pytest.raises(caller.errors.DeadlineExceeded) as caught:
            await send(method, "http://payments/", **options)
        return caught.value, time.monotonic() - started

    with HARDSHIPS[hardship]() as url:
        resilience = caller.resilience({"upstreams": {"payments": {"endpoints": [url]}}})
        error, took = caller.run(resilience, body, follow_redirects=True, max_redirects=1000)

    assert BUDGET - 0.05 <= took < BUDGET + LATE
    assert error.budget == pytest.approx(BUDGET)
    assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 0
    assert not {thread for thread in set(threading.enumerate()) - threads if "resolver" not in thread.name}
