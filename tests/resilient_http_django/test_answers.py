"""What a caller is told when a view does not catch that its upstream was too late, or not called."""

import asyncio
import logging

import pytest
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import re_path

from resilient_http import DeadlineExceeded
from resilient_http_django import get_resilience
from tests.live.servers import answer, hang
from tests.resilient_http_django.project import views

MARKER = "X-Dependency-Down"


@pytest.fixture(params=["wsgi", "asgi"])
def get(request):
    """Makes an inbound request; an exception of a view's becomes a response, as behind a server."""
    if request.param == "wsgi":
        return lambda path, **headers: Client(raise_request_exception=False).get(path, headers=headers)
    return lambda path, **headers: asyncio.run(AsyncClient(raise_request_exception=False).get(path, headers=headers))


def hold_open(payments):
    """The circuits of payments."""
    for circuit in get_resilience().circuits("payments").values():
        circuit.force_open()


@pytest.mark.parametrize("path", ["sync/leave", "async/leave", "async/leave-group"])
def test_a_deadline_that_passed_is_a_504(payments, get, path):
    payments(hang(), INBOUND={"TIMEOUT": 0.3})

    response = get(f"/{path}")

    assert response.status_code == 504
    assert response.json() == {"error": "a service that this one depends on did not answer in time"}
    assert MARKER not in response.headers


@pytest.mark.parametrize("path", ["sync/leave", "async/leave", "async/leave-group"])
def test_a_refusal_is_a_503_with_the_time_to_come_again_and_the_marker(payments, get, path):
    server = payments(hang())
    hold_open(payments)

    response = get(f"/{path}")

    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert response.headers[MARKER] == "1"
    assert "payments" not in response.text
    assert not server.requests


def test_a_person_gets_text(payments, get):
    payments(hang())
    hold_open(payments)

    response = get("/sync/leave", Accept="text/html,application/xhtml+xml,*/*;q=0.8")

    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.text == "a service that this one depends on is not available\n"


def test_details_are_for_debugging(payments, get, settings):
    server = payments(hang())
    hold_open(payments)
    settings.DEBUG = True

    assert server.url in get("/sync/leave").json()["detail"]


def test_they_can_be_switched_off(payments, get):
    payments(hang(), INBOUND={"TIMEOUT": 0.3, "ANSWERS": False})

    assert get("/sync/leave").status_code == 500


class Apologising:
    """A middleware of the project's own."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_exception(self, request, exception):
        return HttpResponse("sorry", status=418) if isinstance(exception, DeadlineExceeded) else None


def test_an_exception_hook_of_the_projects_comes_first(payments, get, settings):
    payments(hang(), INBOUND={"TIMEOUT": 0.3})
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.Apologising"]

    assert get("/sync/leave").status_code == 418


PROJECT = "tests.resilient_http_django.project.middleware"


@pytest.mark.parametrize("others", [["calling"], ["calling_async"], ["sync_only", "calling"]])
def test_an_exception_of_another_middleware_is_answered_as_a_views(payments, get, settings, others):
    payments(hang(), INBOUND={"TIMEOUT": 0.3})
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, *(f"{PROJECT}.{other}" for other in others)]

    response = get("/sync/charge")

    assert response.status_code == 504
    assert response.json() == {"error": "a service that this one depends on did not answer in time"}


def test_a_middleware_that_makes_something_of_a_500_comes_first(payments, get, settings):
    payments(hang(), INBOUND={"TIMEOUT": 0.3})
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{PROJECT}.apologising", f"{PROJECT}.calling"]

    assert get("/sync/charge").status_code == 418


def test_an_exception_of_another_middleware_stays_a_500_when_answers_are_off(payments, get, settings):
    payments(hang(), INBOUND={"TIMEOUT": 0.3, "ANSWERS": False})
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{PROJECT}.calling"]

    assert get("/sync/charge").status_code == 500


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous iterators")
def test_an_async_body_under_wsgi_is_answered_as_a_view_because_nothing_has_been_sent(payments):
    payments(hang(), INBOUND={"TIMEOUT": 0.3})

    assert Client().get("/async/stream-leave").status_code == 504


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous iterators")
def test_an_async_body_under_wsgi_is_complete(payments):
    payments(answer(200, "paid"))

    assert b"".join(Client().get("/async/stream-leave").streaming_content) == b"first paid"


def test_the_log_says_in_one_line_which_upstream_it_was(payments, get, caplog):
    payments(hang(), INBOUND={"TIMEOUT": 0.3})

    with caplog.at_level(logging.WARNING, "resilient_http.django"):
        get("/sync/leave")

    (record,) = [record for record in caplog.records if record.name == "resilient_http.django"]
    assert "GET /sync/leave answered with 504: payments: the deadline of 0.25 s passed" in record.getMessage()
    assert record.exc_info is None


def test_a_path_cannot_forge_a_line_of_the_log(payments, get, caplog, settings):
    payments(hang(), INBOUND={"TIMEOUT": 0.3})
    settings.ROOT_URLCONF = __name__

    get("/any/%0Aforged%1B[2J")

    (record,) = [record for record in caplog.records if record.name == "resilient_http.django"]
    assert "GET /any/\\nforged\\x1b[2J answered" in record.getMessage()


urlpatterns = [re_path(r"(?s)any/(?:.*)", views.leave)]
