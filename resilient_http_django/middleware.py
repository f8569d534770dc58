"""Middleware: while a request is handled, its deadline and trace are in force for every outbound call."""

from __future__ import annotations

import asyncio
import logging
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Any, cast

from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings as django_settings
from django.core.handlers.asgi import ASGIRequest
from django.core.signals import got_request_exception
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from resilient_http import Answer, answer_to
from resilient_http_django.clients import ATTRIBUTE, RequestState, handling, state_of
from resilient_http_django.conf import get_resilience, read_settings
from resilient_http_django.decorators import heed

logger = logging.getLogger("resilient_http.django")


class ResilientHttpMiddleware:
    """Bounds the outbound calls of each request by its deadline, and passes its trace on. Sync and async.

    Put it first in MIDDLEWARE, so that what the others do counts as well, and so that their process_exception comes
    before ours. A streaming response's body runs after it; there only clients of get_client(request) and
    get_async_client(request) keep to the request.

    A request that has nothing left of its budget is answered 504, and its view does not run. So is a DeadlineExceeded
    that a view does not catch; a Refused is answered 503, unless `INBOUND.ANSWERS` is off.

    Raises:
        SettingsError: Something is wrong in RESILIENT_HTTP; raised when the server starts.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        read_settings()
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        # Django would run a plain function in a thread, for each async request.
        self.process_view = self._before_async if self.is_async else self._before
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Handle a request in its scope."""
        if self.is_async:
            return self._handle_async(request)
        if isinstance(request, ASGIRequest):
            # What is inside of us is sync only, so Django runs us in a thread, and a thread is not told that the caller
            # has gone. A task in Django's event loop is.
            return async_to_sync(self._handle_in_thread)(request)
        with handling(state_of(request)):
            return self._read(request, self._answered(request, self.get_response(request)))

    async def _handle_async(self, request: HttpRequest) -> HttpResponseBase:
        state = state_of(request)
        with handling(state):
            try:
                return _watched(state, self._answered(request, await self.get_response(request)))
            except asyncio.CancelledError:
                # The caller has gone, says Django. A sync view goes on in its thread, but its calls end.
                state.cancel()
                raise

    async def _handle_in_thread(self, request: HttpRequest) -> HttpResponseBase:
        state = state_of(request)
        with handling(state):
            working = asyncio.ensure_future(sync_to_async(self.get_response)(request))
            try:
                return self._answered(request, await asyncio.shield(working))
            except asyncio.CancelledError:
                # At once: asgiref would tell us only when the thread has ended.
                state.cancel()
                working.cancel()
                return cast("HttpResponseBase", await working)

    def _before(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """The view is known: its budget counts, and what has nothing left does not begin."""
        state = state_of(request)
        state.view = view
        heed(view, request)
        return self._answer(request, state.arrival.exceeded()) if state.arrival.exhausted else None

    async def _before_async(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        return self._before(request, view, args, kwargs)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer what nobody has caught, if it is ours."""
        return self._answer(request, error) if get_resilience().settings.inbound.answers else None

    def _answered(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Or our answer, where Django has made a 500 of an exception of ours that another middleware did not catch."""
        uncaught = state_of(request).uncaught
        if uncaught is None or response.status_code != HTTPStatus.INTERNAL_SERVER_ERROR:
            return response
        return _told(request, uncaught) if get_resilience().settings.inbound.answers else response

    def _read(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """With its body, when that is async: under WSGI Django reads it to its end before it sends the first byte.

        Here a failure of ours can still be answered.
        """
        if not isinstance(response, StreamingHttpResponse) or not response.is_async:
            return response
        try:
            response.streaming_content = list(response)
        except Exception as error:
            answer = self.process_exception(request, error)
            if answer is None:
                raise
            return answer
        return response

    def _answer(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        answer = _answer_to(request, error)
        return None if answer is None else _told(request, answer)


def _watched(state: RequestState, response: HttpResponseBase) -> HttpResponseBase:
    """Have the calls of a sync streaming body end when its caller goes away while it is sent.

    Django cancels its own task then, which a body that is read in a thread does not notice.
    """
    if isinstance(response, FileResponse) or not isinstance(response, StreamingHttpResponse):
        return response
    if not response.is_async:
        response.streaming_content = _read_in_thread(state, cast("Iterable[bytes]", response.streaming_content))
    return response


async def _read_in_thread(state: RequestState, parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    """As Django reads a sync body under ASGI, with its warning."""
    message = "a sync iterator is read to its end before anything is sent; give StreamingHttpResponse an async one"
    warnings.warn(message, stacklevel=2)
    try:
        whole: list[bytes] = await sync_to_async(lambda: [*parts])()
    except asyncio.CancelledError:
        state.cancel()
        raise
    for part in whole:
        yield part


def _note_uncaught(*, request: HttpRequest | None = None, **_: Any) -> None:
    """Django is about to make a 500 of an exception, and tells nobody else of which."""
    state: RequestState | None = getattr(request, ATTRIBUTE, None)
    error = sys.exception()
    if request is not None and state is not None and error is not None:
        state.uncaught = _answer_to(request, error)


got_request_exception.connect(_note_uncaught, dispatch_uid="resilient_http_django.middleware")


def _answer_to(request: HttpRequest, error: BaseException) -> Answer | None:
    return answer_to(error, accept=request.headers.get("accept"), details=django_settings.DEBUG)


def _told(request: HttpRequest, answer: Answer) -> HttpResponse:
    answer.log(logger, request.method or "", request.path)
    return HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))
