"""Views that call the upstream "payments", and tell what came of it."""

import os

import httpx
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse

from resilient_http_django import get_async_client, get_client

CHARGE = "http://payments/charges/42"


def charge(request: HttpRequest) -> JsonResponse:
    """One call."""
    try:
        response = get_client(request).get(CHARGE, headers={"X-Pid": str(os.getpid())})
    except httpx.TimeoutException as error:
        return failed(error)
    return JsonResponse({"pid": os.getpid(), "body": response.text, "budget": budget_of(response)})


async def charge_async(request: HttpRequest) -> JsonResponse:
    """One call."""
    try:
        response = await get_async_client(request).get(CHARGE)
    except httpx.TimeoutException as error:
        return failed(error)
    return JsonResponse({"pid": os.getpid(), "body": response.text, "budget": budget_of(response)})


def two_steps(request: HttpRequest) -> JsonResponse:
    """Log in, which sets a cookie, then call again with another call of get_client()."""
    who = request.GET["who"]
    get_client(request).get(f"http://payments/login/{who}")
    response = get_client(request).get(f"http://payments/account/{who}")
    return JsonResponse({"received": response.json(), "budget": budget_of(response)})


async def two_steps_async(request: HttpRequest) -> JsonResponse:
    """Log in, which sets a cookie, then call again with another call of get_async_client()."""
    who = request.GET["who"]
    await get_async_client(request).get(f"http://payments/login/{who}")
    response = await get_async_client(request).get(f"http://payments/account/{who}")
    return JsonResponse({"received": response.json(), "budget": budget_of(response)})


def stream(request: HttpRequest) -> StreamingHttpResponse:
    """A body that is produced, with a call, after the view and the middleware have returned."""

    def body():
        yield "first "
        yield str(budget_of(get_client(request).get(CHARGE)))

    return StreamingHttpResponse(body())


async def stream_async(request: HttpRequest) -> StreamingHttpResponse:
    """A body that is produced, with a call, after the view and the middleware have returned."""

    async def body():
        yield "first "
        yield str(budget_of(await get_async_client(request).get(CHARGE)))

    return StreamingHttpResponse(body())


def budget_of(response: httpx.Response) -> float:
    """Seconds that the deadline of the call granted."""
    return response.extensions["resilient_http"].budget


def failed(error: httpx.TimeoutException) -> JsonResponse:
    """As a gateway says it."""
    return JsonResponse({"error": type(error).__name__, "budget": error.budget}, status=504)
