"""get_client(request) and get_async_client(request): one client per request, with cookies of its own."""

import httpx
import pytest
from django.test import RequestFactory

from resilient_http import deadline
from resilient_http_django import get_async_client, get_client, get_resilience
from tests.live.servers import answer, echo


@pytest.fixture
def request_() -> object:
    return RequestFactory().get("/")


def test_they_are_httpx_clients(request_):
    assert isinstance(get_client(request_), httpx.Client)
    assert isinstance(get_async_client(request_), httpx.AsyncClient)


def test_one_request_has_one_client(request_):
    assert get_client(request_) is get_client(request_)
    assert get_async_client(request_) is get_async_client(request_)


def test_another_request_has_another_client(request_):
    other = RequestFactory().get("/")

    assert get_client(request_) is not get_client(other)
    assert get_async_client(request_) is not get_async_client(other)


def test_a_request_that_wraps_another_has_its_client(request_):
    class RestRequest:
        """As REST framework's: it hands on what it does not have."""

        def __init__(self, wrapped):
            self._request = wrapped

        def __getattr__(self, name):
            return getattr(self._request, name)

    client = get_client(request_)

    assert get_client(RestRequest(request_)) is client


def test_without_a_request_each_client_is_new_and_has_no_cookies(payments):
    server = payments(answer(headers={"Set-Cookie": "who=a; Path=/"}))
    get_client().get("http://payments/")
    get_client().get("http://payments/")

    assert [request.header("cookie") for request in server.requests] == [None, None]
    assert server.connections == 1


async def test_without_a_request_there_is_an_async_client_too(payments):
    payments(answer())
    with deadline(3.0):
        response = await get_async_client().get("http://payments/")

    assert response.extensions["resilient_http"].budget == 3.0
    await get_resilience().aclose()


def test_without_the_middleware_a_requests_time_begins_with_its_client(payments):
    payments(echo(), INBOUND={"TIMEOUT": 2.0})
    request = RequestFactory().get("/", headers={"X-Envoy-Expected-Rq-Timeout-Ms": "1000"})

    response = get_client(request).get("http://payments/")

    assert response.extensions["resilient_http"].budget == pytest.approx(0.95)
