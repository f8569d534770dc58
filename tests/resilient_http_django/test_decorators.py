"""A view's own budget, in place of the configured one."""

import asyncio
import time

import pytest
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory

from resilient_http_django import get_client, ignore_disconnect, timeout
from resilient_http_django.clients import state_of
from resilient_http_django.decorators import heed
from tests.live.servers import answer, hang

EXPECTED = "X-Envoy-Expected-Rq-Timeout-Ms"
QUICK = ["sync/quick", "async/quick", "sync/quick-class", "async/quick-class", "sync/quick-method"]
SLOW = ["sync/slow", "async/slow", "sync/slow-method"]


@pytest.fixture(params=["wsgi", "asgi"])
def get(request):
    """Makes an inbound request through Django's WSGI or ASGI handler."""
    if request.param == "wsgi":
        return lambda path, **headers: Client().get(path, headers=headers)
    return lambda path, **headers: asyncio.run(AsyncClient().get(path, headers=headers))


def queued(seconds):
    return {"X-Request-Start": f"t={time.time() - seconds:.3f}"}


TRUSTING = {"TRUSTED_PEERS": ["127.0.0.1"]}


@pytest.mark.parametrize("path", QUICK)
def test_a_views_own_timeout_shortens_the_budget(payments, get, path):
    payments(hang())

    response = get(f"/{path}")

    assert response.json() == {"error": "DeadlineExceeded", "budget": pytest.approx(0.25)}


@pytest.mark.parametrize("path", SLOW)
def test_a_views_own_timeout_may_be_longer_than_the_configured_one(payments, get, path):
    payments(answer(), INBOUND={"TIMEOUT": 0.2}, DEFAULTS={"TIMEOUT": {"TOTAL": None}})

    assert get(f"/{path}").json()["budget"] == pytest.approx(29.95)


def test_a_header_shortens_it_all_the_same(payments, get):
    payments(hang())

    assert get("/sync/slow", **{EXPECTED: "300"}).json()["budget"] == pytest.approx(0.25)


@pytest.mark.parametrize("path", ["sync/charge", "async/charge", *QUICK])
def test_a_request_that_has_nothing_left_is_answered_without_running_its_view(payments, get, path):
    server = payments(answer(), INBOUND={"TIMEOUT": 5.0, **TRUSTING})

    response = get(f"/{path}", **queued(6.0))

    assert response.status_code == 504
    assert not server.requests


@pytest.mark.parametrize("path", SLOW)
def test_a_view_that_has_more_time_runs_all_the_same(payments, get, path):
    payments(answer(), INBOUND={"TIMEOUT": 5.0, **TRUSTING}, DEFAULTS={"TIMEOUT": {"TOTAL": None}})

    response = get(f"/{path}", **queued(6.0))

    assert response.status_code == 200
    assert response.json()["budget"] == pytest.approx(23.95, abs=0.5)


def test_without_the_middleware_it_takes_effect_when_the_view_is_called(payments):
    payments(answer())

    @timeout(0.5)
    def view(request):
        return HttpResponse(str(get_client(request).get("http://payments/").extensions["resilient_http"].budget))

    assert float(view(RequestFactory().get("/")).content) == pytest.approx(0.45)


def test_none_is_no_limit(payments):
    payments(answer(), DEFAULTS={"TIMEOUT": {"TOTAL": None}})

    @timeout(None)
    def view(request):
        return HttpResponse(str(get_client(request).get("http://payments/").extensions["resilient_http"].budget))

    assert view(RequestFactory().get("/")).content == b"None"


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf"), True, "2"])
def test_a_timeout_that_is_none_is_refused_where_it_stands(seconds):
    with pytest.raises(ValueError, match="seconds"):
        timeout(seconds)


def test_a_decorated_view_stays_what_it_was():
    def plain(request):
        """A view."""

    async def coroutine(request):
        """A view."""

    for view in (plain, coroutine):
        decorated = ignore_disconnect(timeout(1.0)(view))
        assert decorated.__name__ == view.__name__
        assert asyncio.iscoroutinefunction(decorated) == asyncio.iscoroutinefunction(view)


def test_the_other_methods_of_a_class_have_the_budget_of_the_class(payments):
    payments(hang())

    assert Client().post("/sync/slow-method").json()["budget"] == pytest.approx(0.25)


def test_a_head_request_has_the_budget_of_the_get_that_answers_it(payments):
    server = payments(answer(), INBOUND={"TIMEOUT": 5.0, **TRUSTING}, DEFAULTS={"TIMEOUT": {"TOTAL": None}})

    assert Client().head("/sync/slow-method", headers=queued(6.0)).status_code == 200
    assert len(server.requests) == 1


def test_a_viewset_of_rest_framework_has_the_budget_of_the_action_that_answers(payments):
    payments(answer())

    class Charges:
        @timeout(30.0)
        def list(self, request):
            """Never called."""

    def view(request):
        """As its as_view() makes it."""

    view.cls, view.actions = Charges, {"get": "list"}
    request = RequestFactory().get("/")

    heed(view, request)

    assert state_of(request).scope.deadline.budget == pytest.approx(29.95)


def test_a_view_may_get_its_request_by_name():
    @timeout(1.0)
    def view(request):
        return HttpResponse(request.method)

    assert view(request=RequestFactory().get("/")).content == b"GET"
    with pytest.raises(TypeError, match="view was called without a request"):
        view(request=None)


def test_a_timeout_without_parentheses_says_what_was_forgotten():
    with pytest.raises(ValueError, match=r"did you forget the seconds, as in @timeout\(2.0\)"):

        @timeout
        def view(request):
            """A view."""


async def test_a_view_that_goes_on_ends_when_it_is_cancelled_twice():
    ended = []

    @ignore_disconnect
    async def view(request):
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(asyncio.current_task().cancelling())

    running = asyncio.ensure_future(view(RequestFactory().get("/")))
    for _ in range(2):
        await asyncio.sleep(0)
        running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended == [1]
