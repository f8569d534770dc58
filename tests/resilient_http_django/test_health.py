"""The upstreams among the checks of django-health-check, in its own view and in ours."""

import asyncio
import json

import pytest
from django.test import AsyncClient, AsyncRequestFactory, Client
from django.urls import path
from health_check.views import HealthCheckView

from resilient_http_django import get_client, get_resilience
from resilient_http_django.health import Upstreams, UpstreamsView
from tests.live.servers import answer

NAME = "resilient_http_django.health.Upstreams"
REQUIRED = (NAME, {"required": ["payments"]})

urlpatterns = [
    path("plain", HealthCheckView.as_view(checks=[NAME])),
    path("plain-required", HealthCheckView.as_view(checks=[REQUIRED])),
    path("plain-warned", HealthCheckView.as_view(checks=[(NAME, {"warn": True})])),
    path("ours", UpstreamsView.as_view()),
    path("ours-required", UpstreamsView.as_view(checks=[(NAME, {"required": ["payments"], "warn": True})])),
    path("ours-unknown", UpstreamsView.as_view(checks=[(NAME, {"required": ["paymets"]})])),
]


@pytest.fixture(params=["wsgi", "asgi"])
def get(request, settings):
    """Asks a view: the status, and what it says of the check."""
    settings.ROOT_URLCONF = __name__

    def get(name):
        if request.param == "wsgi":
            response = Client().get(f"/{name}?format=json")
        else:
            response = asyncio.run(AsyncClient().get(f"/{name}?format=json"))
        (told,) = json.loads(response.content).values()
        return response.status_code, told

    return get


def open_circuits(count):
    for circuit in list(get_resilience().circuits("payments").values())[:count]:
        circuit.open()


@pytest.fixture
def two_nodes(settings):
    settings.RESILIENT_HTTP = {"UPSTREAMS": {"payments": {"ENDPOINTS": ["http://10.0.0.1:80", "http://10.0.0.2:80"]}}}


@pytest.mark.parametrize("name", ["plain", "plain-required", "plain-warned", "ours", "ours-required"])
def test_all_is_well(get, two_nodes, name):
    assert get(name) == (200, "OK")


DEGRADED = "Warning: degraded: payments is degraded (1 of 2 circuits open)"
DOWN_ELSEWHERE = "Warning: degraded: payments is down (2 of 2 circuits open)"
DOWN = "Unavailable: down: payments is down (2 of 2 circuits open)"


@pytest.mark.parametrize(("name", "told"), [
    ("plain", (200, "OK")), ("plain-required", (200, "OK")), ("plain-warned", (500, DEGRADED)),
    ("ours", (200, DEGRADED)), ("ours-required", (200, DEGRADED)),
])  # fmt: skip
def test_degraded_is_told_apart_and_takes_nothing_down(get, two_nodes, name, told):
    open_circuits(1)
    assert get(name) == told


@pytest.mark.parametrize(("name", "told"), [
    ("plain", (200, "OK")), ("plain-required", (500, DOWN)), ("ours", (200, DOWN_ELSEWHERE)),
    ("ours-required", (500, DOWN)),
])  # fmt: skip
def test_open_circuits_take_the_service_down_only_where_that_is_asked_for(get, two_nodes, name, told):
    open_circuits(2)
    assert get(name) == told


def test_calls_that_fail_are_seen(get, payments):
    payments(answer(503), DEFAULTS={"RETRY": None, "CIRCUIT": {"STREAK": 2, "QUIET_STREAK": 2}})
    for _ in range(2):
        get_client().get("http://payments/")

    assert get("ours-required") == (500, "Unavailable: down: payments is down (1 of 1 circuits open)")


def test_a_name_that_is_not_known_is_an_error(get, two_nodes, caplog):
    status, told = get("ours-unknown")
    assert (status, told) == (500, "Unknown Error: unknown error")
    assert "no upstream 'paymets'; did you mean payments?" in caplog.text


def test_another_check_that_fails_is_a_failure_beside_a_warning(get, two_nodes, settings):
    open_circuits(1)
    view = UpstreamsView.as_view(checks=[(NAME, {"warn": True}), Broken])
    assert asyncio.run(view(_request())).status_code == 500


class Broken(Upstreams):
    async def run(self):
        raise LookupError("broken")


def _request():
    return AsyncRequestFactory().get("/?format=json")
