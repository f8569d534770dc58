"""Hedges in sync code: whose thread runs what, and how a first attempt in its caller's thread is cut."""

from __future__ import annotations

import os
import random
import signal
import statistics
import threading
import time

import httpx
import pytest

from resilient_http import Cancelled, Resilience, Scope, call_options, enter_scope
from resilient_http.engines import network
from resilient_http.events import HedgeSuppressed
from resilient_http.scope import Cancellation
from tests.live.servers import answer, delay, hang
from tests.live.test_hedge import by_turns, settled

AFTER = 0.06  # a look at every 50 ms would come 40 ms late
AT_ONCE = 0.025


def payments(backend, *endpoints, listeners=(), **settings):
    settings = {"hedge": {"delay": AFTER}, "retry": {"budget": None}, **settings}
    own = {"endpoints": list(endpoints), **settings}
    return Resilience({"backend": backend, "upstreams": {"payments": own}}, listeners=listeners)


def lanes():
    return {thread for thread in threading.enumerate() if thread.name.startswith("resilient-http-lane")}


class Threads:
    """Attempt middleware that notes in whose thread attempts run."""

    def __init__(self):
        self.seen = []
        self.locals = threading.local()

    async def __call__(self, attempt, proceed):
        self.seen.append((attempt.hedge, threading.get_ident()))
        self.locals.seen = True
        return await proceed(attempt)


def test_the_first_attempt_runs_in_its_callers_thread_and_the_hedge_does_not(backend, fault_server):
    node, watch = fault_server(by_turns(hang(), answer(200))), Threads()
    with payments(backend, node.url, middleware={"attempt": [watch]}) as resilience, resilience.client() as client:
        assert client.get("http://payments/").status_code == 200

    (first, mine), (hedge, other) = watch.seen
    assert (first, hedge) == (False, True)
    assert mine == threading.get_ident() != other
    assert watch.locals.seen


def test_no_thread_is_begun_for_calls_that_are_not_hedged(backend, fault_server):
    before, node = lanes(), fault_server(answer(200))
    with payments(backend, node.url, hedge={"delay": 1.0}) as resilience, resilience.client() as client:
        for _ in range(50):
            client.get("http://payments/")
        assert lanes() <= before
    assert len(node.requests) == 50


def took_beyond_the_delay(client, calls=9):
    late = []
    for _ in range(calls):
        started = time.monotonic()
        response = client.get("http://payments/")
        late.append(time.monotonic() - started - AFTER)
        assert [entry.decision for entry in response.extensions["resilient_http"].attempts] == ["lost", "return"]
    return statistics.median(late)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_first_attempt_is_cut_at_once_when_its_hedge_has_answered(backend, fault_server, tls, scheme):
    hung = [hang(), answer(200)] * 27
    node = fault_server(by_turns(*hung), tls=tls.server_context("localhost") if scheme == "https" else None)
    settings = {"tls": {"verify": str(tls.ca_file)}} if scheme == "https" else {}
    url = f"{scheme}://localhost:{node.port}"
    with payments(backend, url, **settings) as resilience, resilience.client() as client:
        # A machine that is busy for a while has another chance; who looks every 50 ms would have none.
        assert any(took_beyond_the_delay(client) < AT_ONCE for _ in range(3))
        settled(resilience)
        node.wait_for_open_connections(1)  # the hedges'; those that were cut are gone


def test_one_that_hangs_in_its_handshake_is_cut_at_once(backend, fault_server, tls):
    """A plain server that is asked for https hangs there."""
    hung = fault_server()
    node = fault_server(answer(200), tls=tls.server_context("localhost"))
    settings = {"tls": {"verify": str(tls.ca_file)}, "circuit": None}
    urls = [f"https://localhost:{port}" for port in (hung.port, node.port)]
    with payments(backend, *urls, **settings) as resilience, resilience.client() as client:
        late = []
        for _ in range(18):
            started = time.monotonic()
            response = client.get("http://payments/".replace("http", "https"))
            if len(response.extensions["resilient_http"].attempts) == 2:
                late.append(time.monotonic() - started - AFTER)
        settled(resilience)
    assert late  # how often depends on the balancer, which learns
    assert statistics.median(late) < AT_ONCE


def test_one_that_hangs_while_it_connects_is_cut_within_a_look(backend, fault_server, unanswered_url):
    node = fault_server(answer(200))
    settings = {"circuit": None}
    with payments(backend, unanswered_url, node.url, **settings) as resilience, resilience.client() as client:
        hedged = 0
        for _ in range(12):
            started = time.monotonic()
            response = client.get("http://payments/")
            assert response.status_code == 200
            hedged += len(response.extensions["resilient_http"].attempts) == 2
            assert time.monotonic() - started < AFTER + network.POLL + 0.1
        settled(resilience)
    assert hedged


def test_a_streamed_body_of_the_first_that_comes_after_all_is_the_users(backend, fault_server):
    node = fault_server(by_turns(delay(0.12, answer(200, "the first")), hang()))
    with payments(backend, node.url) as resilience, resilience.client() as client:
        with client.stream("GET", "http://payments/") as response:
            assert response.read() == b"the first"
        settled(resilience)


def test_a_hundred_threads_hedge_at_once_beside_a_node_that_is_slow(backend, fault_server):
    slow, quick = fault_server(delay(1.0, answer(200, "slow"))), fault_server(answer(200, "quick"))
    events, texts, errors, together = [], [], [], threading.Barrier(100)
    settings = {"circuit": None, "hedge": {"delay": 0.2}}
    resilience = payments(backend, slow.url, quick.url, listeners=[events.append], **settings)
    with resilience, resilience.client() as client:

        def call():
            together.wait()
            try:
                texts.append(client.get("http://payments/").text)
            except BaseException as exc:  # noqa: BLE001 - looked at where the test is
                errors.append(exc)

        threads = [threading.Thread(target=call) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        settled(resilience)
        hedges = resilience.status()["upstreams"]["payments"]["hedges"]

    assert not errors
    assert len(texts) == 100
    assert hedges["sent"] == hedges.get("won", 0) + hedges.get("lost", 0) > 30
    unmanned = [event for event in events if isinstance(event, HedgeSuppressed) and event.why == "threads"]
    assert len(unmanned) == hedges.get("suppressed: threads", 0)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_another_request_has_by_now_is_never_cut(backend, fault_server, tls, scheme):
    """Answers come just when hedges do, so that either of them may win, and connections change hands all the time."""

    def about_when_the_hedge_comes(_):
        return delay(random.uniform(0.0, 0.012), answer(200, "x" * 2000))

    node = fault_server(about_when_the_hedge_comes, tls=tls.server_context("localhost") if scheme == "https" else None)
    settings = {"tls": {"verify": str(tls.ca_file)}} if scheme == "https" else {}
    settings |= {"pool": {"max_connections": 80}, "hedge": {"delay": 0.005}, "circuit": None}
    resilience = payments(backend, f"{scheme}://localhost:{node.port}", **settings)
    bad, total, until = [], [], time.monotonic() + 2.5
    patience = until + 20.0

    def hedges():
        return resilience.status()["upstreams"]["payments"]["hedges"]

    def seen_enough():
        """The time is up, and either of them has won often enough; a busy machine is slow."""
        now = time.monotonic()
        return now > patience or (now > until and min(hedges().get("won", 0), hedges().get("lost", 0)) > 10)

    with resilience, resilience.client() as client:

        def call():
            while not seen_enough():
                try:
                    response = client.get("http://payments/".replace("http:", f"{scheme}:"))
                except BaseException as exc:  # noqa: BLE001 - looked at where the test is
                    bad.append(exc)
                    continue
                attempts = response.extensions["resilient_http"].attempts
                total.append(len(attempts))
                bad.extend(one for one in attempts if one.decision not in ("return", "lost"))
                if response.text != "x" * 2000:
                    bad.append(response)

        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        settled(resilience)
    assert not bad
    assert hedges()["won"] > 10
    assert hedges()["lost"] > 10


@pytest.fixture
def interruptible():
    """SIGINT is KeyboardInterrupt, also where a shell has started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_when_the_caller_is_interrupted_both_attempts_end(backend, fault_server):
    node = fault_server(hang())
    with payments(backend, node.url) as resilience, resilience.client() as client:
        interrupt = threading.Timer(0.25, signal.raise_signal, [signal.SIGINT])
        interrupt.start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            client.get("http://payments/")
        assert time.monotonic() - started < 1.0
        assert len(node.requests) == 2
        settled(resilience)
        node.wait_for_open_connections(0)


def test_when_the_inbound_caller_goes_away_both_attempts_end(backend, fault_server):
    node, cancellation = fault_server(hang()), Cancellation()
    with payments(backend, node.url) as resilience, resilience.client() as client:
        threading.Timer(0.25, cancellation.request).start()
        started = time.monotonic()
        with enter_scope(Scope(cancellation=cancellation)), pytest.raises(Cancelled):
            client.get("http://payments/")
        assert time.monotonic() - started < 0.25 + 0.3
        assert len(node.requests) == 2
        settled(resilience)
        node.wait_for_open_connections(0)


def test_a_forked_child_hedges_with_threads_of_its_own(fault_server):
    node = fault_server(by_turns(hang(), answer(200), hang(), answer(200, "child")))
    with payments("httpx", node.url) as resilience:
        with resilience.client() as client:
            assert client.get("http://payments/").status_code == 200  # the parent has alarms and a lane now
        child = os.fork()
        if not child:
            try:
                signal.alarm(10)
                with payments("httpx", node.url) as anew, anew.client() as client:
                    os._exit(0 if client.get("http://payments/").text == "child" else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Hanging(httpx.BaseTransport):
    """The user's: its first request hangs, and cannot be cut."""

    def __init__(self):
        self.released = threading.Event()
        self.threads = []

    def handle_request(self, request):
        self.threads.append(threading.get_ident())
        if len(self.threads) == 1:
            self.released.wait(10)
        return httpx.Response(200, content=b"ok")


def test_an_attempt_over_a_transport_of_the_users_is_left_behind_in_a_thread():
    theirs = Hanging()
    with payments("httpx", "http://n1") as resilience, resilience.client(transport=theirs) as client:
        try:
            assert client.get("http://payments/").text == "ok"
            assert threading.get_ident() not in theirs.threads
            held = resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"]
            assert held == 1  # until it has ended
        finally:
            theirs.released.set()
        settled(resilience)


def test_so_is_one_that_may_share_its_connection(fault_server):
    node, watch = fault_server(answer(200)), Threads()
    settings = {"http2": True, "middleware": {"attempt": [watch]}}
    with payments("httpx", node.url, **settings) as resilience, resilience.client() as client:
        client.get("http://payments/")
        assert watch.seen[0][1] != threading.get_ident()
        client.get("http://payments/", extensions=call_options(hedge=None))
    assert watch.seen[1][1] == threading.get_ident()
