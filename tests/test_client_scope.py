"""A client that is bound to an inbound request keeps its deadline and trace wherever it is used."""

import enum
import re
import threading
import time

import httpx
import pytest

from resilient_http import DeadlineExceeded, Resilience, Scope, deadline, detached, enter_scope
from resilient_http.scope import EMPTY, Deadline
from tests.live.servers import echo, hang

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-11111111111111111111111111111111-2222222222222222-01"


def bound(seconds, *, now=None):
    return Scope(Deadline.after(seconds, now=time.monotonic() if now is None else now), (("traceparent", PARENT),))


def test_outside_every_scope_the_own_one_counts():
    own = bound(5.0)

    assert own.within(EMPTY) is own


def test_inside_itself_nothing_changes():
    own = bound(5.0)

    assert own.within(own) is own


def test_the_deadline_that_ends_first_wins():
    own, shorter, longer = bound(5.0, now=0.0), Deadline(2.0, 2.0), Deadline(9.0, 9.0)

    assert own.within(Scope(shorter)).deadline is shorter
    assert own.within(Scope(longer)).deadline is own.deadline
    assert Scope().within(Scope(longer)).deadline is longer


def test_the_trace_is_always_its_own():
    foreign = Scope(Deadline(2.0, 2.0), (("traceparent", OTHER),))

    assert bound(5.0, now=0.0).within(foreign).headers == (("traceparent", PARENT),)
    assert Scope().within(foreign).headers == ()


def test_detached_takes_it_out_of_its_deadline_and_leaves_it_in_its_trace():
    own = bound(5.0)

    with detached() as here:
        assert own.within(here) == Scope(None, own.headers, detached=True)
    with detached(60.0) as here:
        assert own.within(here).deadline.budget == 60.0
    with detached(), deadline(1.0) as here:
        assert own.within(here).deadline.budget == 1.0


def test_a_lifted_deadline_bounds_nothing_any_more():
    answered = bound(0.5)
    answered.deadline.lift()

    with enter_scope(answered), deadline(3.0) as here:
        assert here.deadline.budget == 3.0
        assert answered.within(here).deadline.budget == 3.0


async def test_a_bound_client_keeps_its_deadline_where_no_scope_is(fault_server):
    server = fault_server(hang())
    async with Resilience() as resilience:
        client = resilience.async_client(scope=bound(0.2))
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded) as caught:
            await client.get(server.url)

    assert caught.value.budget == 0.2
    assert time.monotonic() - started < 1.5


def test_a_bound_client_keeps_its_deadline_and_trace_in_another_thread(fault_server):
    server = fault_server([echo(), hang()])
    caught = []

    def work(client):
        client.get(server.url)
        try:
            client.get(server.url)
        except DeadlineExceeded as exc:
            caught.append(exc.budget)

    with Resilience() as resilience:
        thread = threading.Thread(target=work, args=[resilience.client(scope=bound(0.3))])
        thread.start()
        thread.join()

    assert caught == [0.3]
    assert server.requests[0].header("traceparent") == PARENT


@pytest.mark.parametrize("backend", ["httpx", "httpx2"])
def test_without_a_scope_of_its_own_a_client_takes_the_one_it_is_called_in(fault_server, backend):
    server = fault_server(echo())
    with Resilience({"backend": backend}) as resilience:
        client = resilience.client()
        with enter_scope(bound(5.0)):
            inside = client.get(server.url)
        outside = client.get(server.url)

    assert inside.extensions["resilient_http"].budget == 5.0
    assert outside.extensions["resilient_http"].budget == 10.0
    assert [request.header("traceparent") for request in server.requests] == [PARENT, None]


def test_a_call_in_a_detached_block_outlives_the_spent_deadline_of_its_client(fault_server):
    server = fault_server(echo())
    with Resilience() as resilience:
        client = resilience.client(scope=bound(0.0))
        with pytest.raises(DeadlineExceeded):
            client.get(server.url)
        with detached():
            assert client.get(server.url).status_code == 200


SET = {
    "auth": ("ada", "sesame"),
    "cookies": {"session": "1"},
    "follow_redirects": True,
    "headers": {"X-Tenant": "blue", "Accept": "application/json"},
    "max_redirects": 3,
    "params": {"page": "1"},
    "timeout": 2.0,
}


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
@pytest.mark.parametrize(
    "options", [{}, {"base_url": "http://payments/v1"}, *({name: value} for name, value in SET.items()), SET], ids=str
)
def test_a_client_that_is_made_after_a_model_shares_nothing_that_can_be_changed(backend, kind, options):
    resilience = Resilience({"backend": backend})
    make = {"Client": resilience.client, "AsyncClient": resilience.async_client}[kind]
    one, other = make(**options), make(**options)
    made_by_httpx = type(one)(resilience, **options)

    assert vars(one).keys() == vars(made_by_httpx).keys()
    unchangeable = (str, int, bool, type(None), type(one.base_url), type(one.params), enum.Enum)
    shared = [name for name, value in vars(one).items() if value is vars(other)[name]]
    assert [name for name in shared if not isinstance(vars(one)[name], unchangeable)] == ["_host"]
    assert facts(one) == facts(made_by_httpx)


@pytest.mark.parametrize("options", [{"auth": 7}, {"headers": 7}, {"params": 7}], ids=str)
def test_options_that_httpx_refuses_are_refused_in_its_words(backend, options):
    resilience = Resilience({"backend": backend})
    with pytest.raises((TypeError, AttributeError)) as said:
        type(resilience.client())(resilience, **options)
    with pytest.raises(said.type, match=re.escape(str(said.value))):
        resilience.client(**options)


def facts(client):
    own = ("base_url", "timeout", "headers", "params", "follow_redirects", "max_redirects", "event_hooks")
    auth = client.auth and next(client.auth.auth_flow(httpx.Request("GET", "http://h/"))).headers["authorization"]
    return [*(getattr(client, name) for name in own), dict(client.cookies), auth]


def test_what_one_request_does_to_its_client_is_not_seen_by_the_next(backend):
    resilience = Resilience({"backend": backend})
    first = resilience.client()
    first.headers["Authorization"] = "Bearer sesame"
    first.cookies.set("session", "1")
    first.event_hooks["request"].append(print)
    first.base_url = "http://elsewhere/"
    first.close()

    second = resilience.client()

    assert "Authorization" not in second.headers
    assert (dict(second.cookies), second.event_hooks["request"], str(second.base_url)) == ({}, [], "")
    assert not second.is_closed
