"""Routes: their templates, what they inherit, and what they may not say."""

from __future__ import annotations

import httpx
import pytest

from resilient_http import Resilience, SettingsError, call_options
from resilient_http.settings.models import Settings
from resilient_http.upstreams.routes import RouteTable

REPORT = "GET /reports/{id}"


def settings(routes, defaults=None, **own):
    upstream = {"endpoints": ["http://n1"], "routes": routes, **own}
    return Settings(defaults=defaults or {}, upstreams={"payments": upstream})


def upstream(*arguments, **own):
    return settings(*arguments, **own).upstreams["payments"]


def refused(routes, **own):
    with pytest.raises(SettingsError) as caught:
        settings(routes, **own)
    return caught.value


# Templates


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", b"/charges/42", "GET /charges/{id}"),
        ("GET", b"/charges/42?expand=all", "GET /charges/{id}"),
        ("GET", b"/charges/latest", "GET /charges/latest"),
        ("DELETE", b"/charges/42", "* /charges/{id}"),
        ("PATCH", b"/charges/42", "* /charges/{id}"),
        ("GET", b"/charges/42/refunds", "GET /charges/{id}/refunds"),
        ("GET", b"/charges/42/events", "GET /charges/*"),
        ("GET", b"/charges/", "GET /charges/*"),
        ("GET", b"/charges", None),
        ("POST", b"/charges/42/refunds", None),
        ("GET", b"/a/b/c", "GET /a/{x}/c"),
        ("GET", b"/z/b/c", "GET /{y}/b/c"),
        ("GET", b"/v1.0/f(x)", "GET /v1.0/f(x)"),
        ("GET", b"/v1x0/f(x)", None),
        ("GET", b"/stra%C3%9Fe", "GET /straße"),
        ("GET", b"/", None),
    ],
)
def test_the_most_specific_template_wins(method, path, route):
    table = RouteTable([
        "* /charges/{id}", "GET /charges/*", "GET /charges/{id}", "GET /charges/latest", "GET /charges/{id}/refunds",
        "GET /{y}/b/c", "GET /a/{x}/c", "GET /v1.0/f(x)", "GET /straße",
    ])  # fmt: skip
    assert table.find(method, path) == route


def test_a_table_of_one_method_knows_nothing_of_another():
    assert RouteTable(["GET /x"]).find("POST", b"/x") is None


@pytest.mark.parametrize("route", ["/x", "get /x", "GET x", "GET", "GET /x?y=1", "GET /x#y", "GET /{a}{b}", "GET /*/x",
                                   "GET /x*", "GET /{a-b}", "GET /{}", "", "GET  /x"])  # fmt: skip
def test_what_is_no_template_is_refused_with_its_path(route):
    error = refused({route: {}})
    assert error.path == f"upstreams.payments.routes.{route}"


@pytest.mark.parametrize("other", ["GET /charges/{charge}", "GET /charges/{_}"])
def test_templates_that_fit_the_same_requests_are_refused(other):
    error = refused({"GET /charges/{id}": {}, other: {}})
    assert "GET /charges/{id}" in str(error)
    assert other in str(error)


def test_another_method_is_another_route():
    assert len(upstream({"GET /charges/{id}": {}, "* /charges/{id}": {}, "POST /charges/{id}": {}}).routes) == 3


# What they inherit


def test_a_route_goes_over_its_upstream_and_that_over_the_defaults():
    defaults = {"timeout": {"total": 8.0, "read": 1.0}, "retry": {"max_attempts": 5}, "priority": "critical"}
    route = upstream({REPORT: {"timeout": {"total": 9.0}}}, defaults, timeout={"attempt": 2.0}).routes[REPORT]
    assert (route.timeout.total, route.timeout.attempt, route.timeout.read) == (9.0, 2.0, 1.0)
    assert (route.retry.max_attempts, route.priority, route.hedge) == (5, "critical", None)


def test_routes_of_the_defaults_are_inherited_and_go_by_what_the_upstream_says():
    made = settings({REPORT: {"retry": {"max_attempts": 2}}}, {"routes": {"* /slow/*": {"timeout": {"total": 60.0}}}},
                    retry={"max_attempts": 4})  # fmt: skip
    payments = made.upstreams["payments"]
    assert set(payments.routes) == {REPORT, "* /slow/*"}
    assert payments.routes["* /slow/*"].retry.max_attempts == 4
    assert made.defaults.routes["* /slow/*"].retry.max_attempts == 3


def test_null_switches_off_for_a_route_and_a_mapping_on():
    payments = upstream({REPORT: {"retry": None}, "POST /x": {"hedge": {}}}, {"hedge": None})
    assert payments.routes[REPORT].retry is None
    assert payments.routes["POST /x"].hedge.delay == "p95"


def test_a_kind_of_fallback_replaces_the_upstreams():
    payments = upstream({REPORT: {"fallback": {"response": {"body": "x"}}}, "GET /x": {}}, fallback={"stale": {}})
    assert payments.routes[REPORT].fallback.stale is None
    assert payments.routes["GET /x"].fallback.stale is not None


# What they may not say


@pytest.mark.parametrize(
    ("own", "path", "says"),
    [
        ({"circuit": None}, "circuit", "not a setting of a route"),
        ({"concurrency": {"limit": 1}}, "concurrency", "not a setting of a route"),
        ({"retry": {"budget": None}}, "retry.budget", "share it"),
        ({"fallback": {"stale": {}}}, "fallback.stale", "share it"),
        ({"retries": {}}, "retries", "did you mean retry?"),
        ({"retry": {"max_attempts": 0}}, "retry.max_attempts", "greater than or equal to 1"),
        ({"hedge": {}, "retry": None}, "hedge", "a hedge is an attempt"),
        ({"hedge": {"delay": 30}}, "hedge.delay", "none would ever be sent"),
        ({"timeout": {"total": 1, "attempt": 2}}, "timeout", "longer than total"),
    ],
)
def test_a_mistake_names_the_route(own, path, says):
    error = refused({REPORT: own})
    assert error.path == f"upstreams.payments.routes.{REPORT}.{path}"
    assert says in str(error)


def test_a_mistake_of_the_upstream_is_told_once():
    error = refused({REPORT: {}, "GET /x": {}}, timeout={"total": -1})
    assert [mistake.path for mistake in error.mistakes] == [("upstreams", "payments", "timeout", "total")]


def test_a_mistake_of_the_defaults_is_told_once():
    error = refused({REPORT: {}}, defaults={"timeout": {"total": -1}, "routes": {"GET /x": {"retry": 1}}})
    assert [".".join(mistake.path) for mistake in error.mistakes] == ["defaults.timeout.total",
                                                                      "defaults.routes.GET /x.retry"]  # fmt: skip


# Calls


def test_a_call_goes_over_its_route():
    seen = []

    def handler(request):
        seen.append(request)
        return httpx.Response(503, headers={"Retry-After": "0"})

    own = {"endpoints": ["http://n1"], "circuit": None, "retry": {"budget": None}, "routes": {REPORT: {"retry": None}}}
    with Resilience({"upstreams": {"payments": own}}).client(transport=httpx.MockTransport(handler)) as client:
        made = []
        for path, options in [("/", {}), ("/reports/7", {}), ("/reports/7", call_options(retry={"max_attempts": 2})),
                              ("/reports/7", {}), ("/", call_options(retry={"max_attempts": 2})),
                              ("/", call_options(priority="critical")),
                              ("/reports/7", call_options(priority="critical"))]:  # fmt: skip
            seen.clear()
            client.get(f"http://payments{path}", extensions=options)
            made.append(len(seen))
    assert made == [3, 1, 2, 1, 2, 3, 1]


def test_switched_off_there_are_no_routes():
    own = {"endpoints": ["http://n1"], "routes": {REPORT: {"fallback": {"response": {"body": "no"}}}}}
    transport = httpx.MockTransport(lambda request: httpx.Response(503))
    with Resilience({"enabled": False, "upstreams": {"payments": own}}).client(transport=transport) as client:
        assert client.get("http://payments/reports/7").status_code == 503


def test_a_reload_changes_a_route_and_keeps_what_its_upstream_knows():
    def with_route(status):
        own = {
            "endpoints": ["http://n1"],
            "retry": None,
            "routes": {REPORT: {"fallback": {"response": {"status": status}}}},
        }
        return {"upstreams": {"payments": own}}

    resilience = Resilience(with_route(200))
    transport = httpx.MockTransport(lambda request: httpx.Response(503))
    with resilience.client(transport=transport) as client:
        assert client.get("http://payments/reports/7").status_code == 200
        circuits = resilience.circuits("payments")
        resilience.reload(with_route(203))
        assert client.get("http://payments/reports/7").status_code == 203
        assert resilience.circuits("payments") == circuits
