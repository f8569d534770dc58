"""Whatever the other side does, a call ends at its deadline, and its place in the pool, and all else, is free again."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest

from resilient_http import deadline
from resilient_http.events import PoolRenewed
from tests.live.behaviours import redirect
from tests.live.servers import FaultServer, answer, delay, drip_body, drip_headers, full_backlog, hang
from tests.live.test_cancellation import open_sockets

BUDGET, LATE = 0.3, 0.25


@contextmanager
def misbehaving(behaviour):
    with FaultServer(behaviour) as server:
        yield server.url


@contextmanager
def mute(scheme):
    """A peer that accepts a connection, and neither reads nor writes: no handshake, and no upload, goes on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def names(find):
    """Have the system's lookup of names under `.example` done by this function of the port."""
    real = socket.getaddrinfo

    def lookup(host, port, *args, **more):
        return find(port) if str(host).endswith(".example") else real(host, port, *args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lookup)
        yield


@contextmanager
def no_name_server():
    answered = threading.Event()

    def find(port):
        answered.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answered")

    with names(find):
        try:
            yield "http://lost.example:8080"
        finally:
            answered.set()


@contextmanager
def several_addresses():
    """A name with three addresses; a connect to any of them hangs."""
    with ExitStack() as backlogs:
        urls = [backlogs.enter_context(full_backlog()) for _ in range(3)]
        ports = [int(url.rpartition(":")[2]) for url in urls]
        backlogs.enter_context(
            names(lambda _: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports])
        )
        yield "http://three.example:8080"


HARDSHIPS = {
    "body drip": lambda: misbehaving(drip_body(0.05)),
    "header drip": lambda: misbehaving(drip_headers(0.05)),
    "no answer": lambda: misbehaving(hang()),
    "full backlog": full_backlog,
    "several addresses": several_addresses,
    "name server": no_name_server,
    "TLS handshake": lambda: mute("https"),
    "upload": lambda: mute("http"),
    "redirect chain": lambda: misbehaving(delay(0.1, redirect("/"))),
    "auth flow": lambda: misbehaving(delay(0.1, answer(401))),
    "backoff": lambda: misbehaving([answer(503), hang()]),
}


def endless_auth(module):
    class Auth(module.Auth):
        """Logs in again and again."""

        def auth_flow(self, request):
            while True:
                yield request

    return Auth()


# httpx leaves the generator of a request's body to the garbage collector when an upload is cut; trio warns of that.
@pytest.mark.filterwarnings("ignore:.*ByteStream.__aiter__:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("stream", [False, True], ids=["get", "stream"])
@pytest.mark.parametrize("hardship", HARDSHIPS)
def test_it_ends_at_the_deadline_and_holds_nothing(caller, hardship, stream):
    threads, sockets, events = set(threading.enumerate()), open_sockets(), []

    async def body(client):
        send = client.stream if stream else client.request
        method, options = ("POST", {"content": b"x" * 20_000_000}) if hardship == "upload" else ("GET", {})
        if hardship == "auth flow":
            options["auth"] = endless_auth(caller.module)
        started = time.monotonic()
        with deadline(BUDGET), pytest.raises(caller.errors.DeadlineExceeded) as caught:
            await send(method, "http://payments/", **options)
        return caught.value, time.monotonic() - started

    with HARDSHIPS[hardship]() as url:
        settings = {"endpoints": [url], "retry": {"backoff": {"throttled_base": 0.1}}}
        resilience = caller.resilience({"upstreams": {"payments": settings}}, listeners=[events.append])
        error, took = caller.run(resilience, body, follow_redirects=True, max_redirects=1000)

    assert BUDGET - 0.05 <= took < BUDGET + LATE
    assert error.budget == pytest.approx(BUDGET)
    assert f"payments: the deadline of {BUDGET} s" in str(error)
    assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 0
    assert not [event for event in events if isinstance(event, PoolRenewed)]
    assert open_sockets() == sockets
    assert not {thread for thread in set(threading.enumerate()) - threads if "resolver" not in thread.name}


@pytest.mark.parametrize("stream", [False, True], ids=["get", "stream"])
def test_a_wait_for_a_connection_ends_at_the_deadline(caller, fault_server, stream):
    server = fault_server(drip_body(0.02, chunks=10_000))

    async def body(client):
        holder = await client.open_stream("http://payments/")
        started = time.monotonic()
        with deadline(BUDGET), pytest.raises(caller.errors.DeadlineExceeded, match="waiting for a permit") as caught:
            await (client.stream("GET", "http://payments/") if stream else client.get("http://payments/"))
        took = time.monotonic() - started
        await client.close_stream(holder)
        server.play(answer(200, "free"))
        return caught.value, took, (await client.get("http://payments/")).text

    settings = {"endpoints": [server.url], "pool": {"max_connections": 1}, "concurrency": {"limit": 1, "queue": 5}}
    error, took, text = caller.run(caller.resilience({"upstreams": {"payments": settings}}), body)

    assert BUDGET - 0.05 <= took < BUDGET + LATE
    assert text == "free"
    assert len(server.requests) == 2
    assert not error.journal.attempts[0].sent


def test_a_body_that_is_read_long_after_the_call_returned_ends_at_the_deadline(caller, fault_server):
    server = fault_server(drip_body(0.02))

    async def body(client):
        started = time.monotonic()
        with deadline(BUDGET):
            response = await client.open_stream("http://payments/")
        time.sleep(BUDGET / 2)
        with pytest.raises(caller.errors.DeadlineExceeded):
            await client.read(response)
        took = time.monotonic() - started
        server.play(answer(200, "free"))
        return took, (await client.get("http://payments/")).text

    settings = {"endpoints": [server.url], "pool": {"max_connections": 1}}
    took, text = caller.run(caller.resilience({"upstreams": {"payments": settings}}), body)

    assert BUDGET - 0.05 <= took < BUDGET + LATE
    assert text == "free"


def test_a_retry_after_that_does_not_fit_ends_the_call_at_once(caller, fault_server):
    server = fault_server(answer(503, "busy", headers={"Retry-After": "1"}))

    async def body(client):
        started = time.monotonic()
        with deadline(BUDGET):
            return await client.get("http://payments/"), time.monotonic() - started

    response, took = caller.run(caller.resilience({"upstreams": {"payments": {"endpoints": [server.url]}}}), body)

    assert (response.status_code, response.text) == (503, "busy")
    assert took < LATE
    assert len(server.requests) == 1
