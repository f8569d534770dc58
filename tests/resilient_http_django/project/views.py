"""Views that call the upstream "payments", and tell what came of it."""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from asgiref.sync import async_to_sync
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from resilient_http import MisplacedCall
from resilient_http_django import get_async_client, get_client, ignore_disconnect, timeout

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


def leave(request: HttpRequest) -> HttpResponse:
    """A call whose failure nobody catches."""
    return HttpResponse(get_client(request).get(CHARGE).text)


async def leave_async(request: HttpRequest) -> HttpResponse:
    """A call whose failure nobody catches."""
    return HttpResponse((await get_async_client(request).get(CHARGE)).text)


async def leave_group(request: HttpRequest) -> HttpResponse:
    """Two calls at once, whose failures come as a group."""
    async with asyncio.TaskGroup() as calls:
        for _ in range(2):
            calls.create_task(get_async_client(request).get(CHARGE))
    return HttpResponse()


async def stream_leave(request: HttpRequest) -> StreamingHttpResponse:
    """A body whose call fails, which nobody catches."""

    async def body():
        yield "first "
        yield (await get_async_client(request).get(CHARGE)).text

    return StreamingHttpResponse(body())


def stream_note(request: HttpRequest) -> StreamingHttpResponse:
    """A sync body that passes on what the upstream sends, and notes how that ended."""

    def body():
        started, ended = time.monotonic(), "done"
        try:
            with get_client(request).stream("GET", CHARGE) as response:
                yield from response.iter_raw()
        except BaseException as error:
            ended = type(error).__name__
            raise
        finally:
            write_note(request, ended, started)

    return StreamingHttpResponse(body())


slow = timeout(30.0)(charge)
slow_async = timeout(30.0)(charge_async)
quick = csrf_exempt(timeout(0.3)(charge))
quick_async = timeout(0.3)(csrf_exempt(charge_async))
quick_leave = timeout(0.3)(leave)


@timeout(0.3)
class Quick(View):
    """A class with a budget of its own."""

    def get(self, request: HttpRequest) -> JsonResponse:
        """One call."""
        return charge(request)


@method_decorator(timeout(0.3), name="dispatch")
class QuickAsync(View):
    """The same as Django writes it, async."""

    async def get(self, request: HttpRequest) -> JsonResponse:
        """One call."""
        return await charge_async(request)


class QuickMethod(View):
    """One method has a budget of its own."""

    @timeout(0.3)
    def get(self, request: HttpRequest) -> JsonResponse:
        """One call."""
        return charge(request)


@timeout(0.3)
class SlowMethod(View):
    """One method has a longer budget than its class, the other has the class's."""

    @timeout(30.0)
    def get(self, request: HttpRequest) -> JsonResponse:
        """One call."""
        return charge(request)

    def post(self, request: HttpRequest) -> JsonResponse:
        """One call."""
        return charge(request)


def note(request: HttpRequest) -> JsonResponse:
    """A call; how it ended, and how long it took, goes to a file, because its caller may be gone."""
    started = time.monotonic()
    try:
        ended = get_client(request).get(CHARGE).text
    except Exception as error:
        ended = type(error).__name__
        raise
    finally:
        write_note(request, ended, started)
    return JsonResponse({"ended": ended})


def write_note(request: HttpRequest, ended: str, started: float) -> None:
    """One line: the path, how the call ended and after how long."""
    with Path(os.environ["PROJECT_NOTES"]).open("a") as notes:
        notes.write(f"{request.path} {ended} {time.monotonic() - started:.3f}\n")


async def note_async(request: HttpRequest) -> JsonResponse:
    """The same, async."""
    started = time.monotonic()
    ended = "?"
    try:
        ended = (await get_async_client(request).get(CHARGE)).text
    except BaseException as error:
        ended = type(error).__name__
        raise
    finally:
        write_note(request, ended, started)
    return JsonResponse({"ended": ended})


stubborn = ignore_disconnect(note)
stubborn_async = ignore_disconnect(note_async)


@ignore_disconnect
class Stubborn(View):
    """The same, as a class."""

    async def get(self, request: HttpRequest) -> JsonResponse:
        """One call."""
        return await note_async(request)


def bridged(request: HttpRequest) -> JsonResponse:
    """A sync view that calls with an async client, in a loop of its own each time."""
    return JsonResponse({"body": async_to_sync(_text)(request)})


async def _text(request: HttpRequest) -> str:
    return (await get_async_client(request).get(CHARGE, headers={"X-Who": request.GET["who"]})).text


def who(request: HttpRequest) -> JsonResponse:
    """One call that says for whom."""
    response = get_client(request).get(CHARGE, headers={"X-Who": request.GET["who"], "X-Pid": str(os.getpid())})
    return JsonResponse({"body": response.text, "pid": os.getpid()})


def pay(request: HttpRequest) -> JsonResponse:
    """One call inside a transaction."""
    with transaction.atomic():
        return told(get_client(request).get, CHARGE)


class Pay(View):
    """The same, as a class."""

    def get(self, request: HttpRequest) -> JsonResponse:
        """One call inside a transaction."""
        return pay(request)


def pay_after(request: HttpRequest) -> JsonResponse:
    """One call when the transaction is committed."""
    answers = []
    with transaction.atomic():
        transaction.on_commit(lambda: answers.append(told(get_client(request).get, CHARGE)))
    return answers[0]


def pay_in_thread(request: HttpRequest) -> JsonResponse:
    """One call in a thread that has no transaction, while this one has."""
    with transaction.atomic(), ThreadPoolExecutor(1) as pool:
        return pool.submit(told, get_client(request).get, CHARGE).result()


async def charge_blocking(request: HttpRequest) -> JsonResponse:
    """A sync client in an async view."""
    return told(get_client(request).get, CHARGE)


def told(get, url) -> JsonResponse:
    """The body, or that the call was refused."""
    try:
        return JsonResponse({"body": get(url).text})
    except MisplacedCall as error:
        return JsonResponse({"error": str(error)}, status=500)
