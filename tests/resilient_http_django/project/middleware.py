"""Middlewares as a project may have them."""

from collections.abc import Awaitable, Callable

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import async_only_middleware

from resilient_http_django import get_async_client, get_client

Handler = Callable[[HttpRequest], HttpResponse]


def sync_only(get_response: Handler) -> Handler:
    """One that Django runs in a thread, and with it all that are above it and could be async."""

    def handle(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    return handle


def calling(get_response: Handler) -> Handler:
    """One that asks an upstream first, and catches nothing."""

    def handle(request: HttpRequest) -> HttpResponse:
        get_client(request).get("http://payments/who")
        return get_response(request)

    return handle


@async_only_middleware
def calling_async(get_response: Callable[[HttpRequest], Awaitable[HttpResponse]]) -> object:
    """The same, async."""

    async def handle(request: HttpRequest) -> HttpResponse:
        await get_async_client(request).get("http://payments/who")
        return await get_response(request)

    return handle


def apologising(get_response: Handler) -> Handler:
    """One that makes a page of its own of a 500."""

    def handle(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        return HttpResponse("sorry", status=418) if response.status_code == 500 else response

    return handle
