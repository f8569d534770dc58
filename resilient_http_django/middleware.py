"""Middleware: while a request is handled, its deadline and trace are in force for every outbound call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

from resilient_http import enter_scope
from resilient_http_django.clients import state_of
from resilient_http_django.conf import read_settings


class ResilientHttpMiddleware:
    """Bounds the outbound calls of each request by its deadline, and passes its trace on. Sync and async.

    Put it first in MIDDLEWARE, so that what the others do counts as well. A streaming response's body runs after it;
    there only clients of get_client(request) and get_async_client(request) keep to the request.

    Raises:
        SettingsError: Something is wrong in RESILIENT_HTTP; raised when the server starts.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        read_settings()
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Handle a request in its scope."""
        if self.is_async:
            return self._handle_async(request)
        with enter_scope(state_of(request).scope):
            return cast("HttpResponseBase", self.get_response(request))

    async def _handle_async(self, request: HttpRequest) -> HttpResponseBase:
        with enter_scope(state_of(request).scope):
            return cast("HttpResponseBase", await self.get_response(request))
