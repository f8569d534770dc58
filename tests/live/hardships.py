"""What the other side can do to a call: each gives the URL of a service, for as long as its block lasts.

The tests and `benchmarks/deadlines.py` share them.
"""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, contextmanager

import pytest

from tests.live.behaviours import answer, delay, drip_body, drip_headers, hang, redirect
from tests.live.servers import FaultServer, full_backlog


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


def endless_auth(module):
    """An auth flow, for httpx or httpx2, that logs in again and again."""

    class Auth(module.Auth):
        def auth_flow(self, request):
            while True:
                yield request

    return Auth()


def busy_once():
    """A 503 to the first request on each connection; whoever repeats it on that connection gets no answer."""
    known = set()

    def choose(request):
        if request.connection in known:
            return hang()
        known.add(request.connection)
        return answer(503)

    return choose


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
    "backoff": lambda: misbehaving(busy_once()),
}
