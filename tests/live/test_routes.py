"""Routes over real sockets: each call goes by the route that its method and path fit."""

from __future__ import annotations

import time

import httpx

from resilient_http import Resilience
from resilient_http.events import CallFinished
from tests.live.servers import answer, delay, redirect

SLOW, QUICK, CHARGE = "GET /reports/{id}", "GET /prices/{sku}", "POST /charges"
ROUTES = {
    SLOW: {"timeout": {"total": 20.0, "attempt": 20.0, "read": 20.0}, "retry": None},
    QUICK: {"timeout": {"total": 0.2, "attempt": 0.2}, "fallback": {"response": {"body": "unknown"}}},
    CHARGE: {"idempotency_key": "auto"},
}


def upstream(*endpoints, **settings):
    retry = {"budget": None, "backoff": {"base": 0.01, "throttled_base": 0.01}}
    return {
        "upstreams": {
            "payments": {"endpoints": list(endpoints), "routes": ROUTES, "circuit": None, "retry": retry, **settings}
        }
    }


def test_calls_go_by_their_route_and_events_name_it(caller, fault_server):
    server = fault_server(answer(503))
    told = []
    resilience = caller.resilience(upstream(server.url), listeners=[told.append])

    async def body(client):
        made = []
        for method, path in [("GET", "/reports/7"), ("GET", "/other"), ("POST", "/charges"), ("GET", "/prices/a%2Fb")]:
            before = len(server.requests)
            response = await client.request(method, f"http://payments{path}")
            made.append((len(server.requests) - before, response.text))
        return made

    assert caller.run(resilience, body) == [(1, ""), (3, ""), (3, ""), (3, "unknown")]
    assert [event.route for event in told if isinstance(event, CallFinished)] == [SLOW, None, CHARGE, QUICK]


def test_a_route_may_take_longer_than_its_upstream_and_another_less(caller, fault_server):
    server = fault_server(delay(1.0))
    settings = upstream(server.url, timeout={"total": 0.5, "attempt": 0.5}, retry=None)

    async def body(client):
        took = []
        for path in ("/reports/7", "/prices/7", "/other"):
            started = time.monotonic()
            try:
                response = await client.get(f"http://payments{path}", auth=lambda request: request)
            except caller.errors.DeadlineExceeded:
                response = None
            took.append((time.monotonic() - started, response))
        return took

    (slow, answered), (quick, instead), (usual, none) = caller.run(caller.resilience(settings), body)
    assert slow >= 1.0
    assert answered is not None
    assert quick < 0.5
    assert instead.text == "unknown"
    assert 0.5 <= usual < 1.0
    assert none is None


def test_each_hop_of_a_redirect_has_its_own_route(caller, fault_server):
    server = fault_server([redirect("/prices/7"), answer(503)])
    resilience = caller.resilience(upstream(server.url, retry=None))

    async def body(client):
        return await client.get("http://payments/reports/7", follow_redirects=True)

    assert caller.run(resilience, body).text == "unknown"


def test_a_client_of_the_users_has_routes_too(fault_server):
    server = fault_server(answer(503))
    with Resilience(upstream(server.url)) as resilience, httpx.Client(transport=resilience.transport()) as client:
        assert client.get("http://payments/reports/7").status_code == 503
    assert len(server.requests) == 1
