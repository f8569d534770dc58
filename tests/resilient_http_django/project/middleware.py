"""Middlewares as a project may have them."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

Handler = Callable[[HttpRequest], HttpResponse]


def sync_only(get_response: Handler) -> Handler:
    """One that Django runs in a thread, and with it all that are above it and could be async."""

    def handle(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    return handle
