"""Console: the views of the live page, and who gets in.

staff with the permission resilient_http_django.view_console    may look
and staff with resilient_http_django.change_console             may act; what they send is checked for CSRF
who sends the token of the settings (console.token)             may do both; no cookie is looked at
anybody else                                                    is sent to log in, or refused
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.conf import settings as django_settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.middleware.csrf import CsrfViewMiddleware, get_token
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from resilient_http_django.conf import get_resilience

VIEW, CHANGE = "resilient_http_django.view_console", "resilient_http_django.change_console"

View = Callable[[HttpRequest], HttpResponseBase]


def guarded(permission: str) -> Callable[[View], View]:
    """A view for those alone who may look, or act."""

    def decorate(view: View) -> View:
        @csrf_exempt  # it is checked here, where no token was sent
        @wraps(view)
        def guard(request: HttpRequest) -> HttpResponseBase:
            if by_token(request):
                return view(request)
            return _refusal(request, permission) or view(request)

        return guard

    return decorate


@require_GET
@guarded(VIEW)
def page(request: HttpRequest) -> HttpResponseBase:
    """The page."""
    acts = by_token(request) or _may(request, CHANGE)
    return _response(get_resilience().console.web.page(csrf=get_token(request), acts=acts))


@require_GET
@guarded(VIEW)
def snapshot(request: HttpRequest) -> HttpResponseBase:
    """How everything stands."""
    return _response(get_resilience().console.web.snapshot(request.GET.get("process")))


@require_GET
@guarded(VIEW)
def settings(request: HttpRequest) -> HttpResponseBase:
    """The settings in force."""
    return _response(get_resilience().console.web.settings(request.GET.get("upstream")))


@require_GET
@guarded(VIEW)
def events(request: HttpRequest) -> HttpResponseBase:
    """How everything stands, as it changes. Under WSGI each answer is one event, and holds no worker."""
    web, process = get_resilience().console.web, request.GET.get("process")
    reply = web.one_event(process) if not isinstance(request, ASGIRequest) else None
    if reply is not None:
        return _response(reply)
    return StreamingHttpResponse(web.events(process), headers=dict(web.stream_headers))


@csrf_exempt
@require_POST
@guarded(CHANGE)
def actions(request: HttpRequest) -> HttpResponseBase:
    """Throw a kill switch, or lift some."""
    by = "" if by_token(request) else request.user.get_username()
    return _response(get_resilience().console.web.act(request.body, request.content_type, by))


def by_token(request: HttpRequest) -> bool:
    """Whether the token of the settings was sent."""
    return get_resilience().console.admits(request.headers.get("Authorization"))


def _may(request: HttpRequest, permission: str) -> bool:
    user: Any = getattr(request, "user", None)
    return user is not None and user.is_active and user.is_staff and user.has_perm(permission)


def _refusal(request: HttpRequest, permission: str) -> HttpResponseBase | None:
    web = get_resilience().console.web
    user: Any = getattr(request, "user", None)
    if user is None:
        needed = "django.contrib.auth's middleware, or console.token in the settings of resilient_http, is needed"
        return _response(web.error(403, f"nobody can be let in: {needed}"))
    if not user.is_authenticated:
        if request.resolver_match is not None and request.resolver_match.url_name == "page":
            return HttpResponseRedirect(f"{_login_url()}?{urlencode({'next': request.get_full_path()})}")
        return _response(web.error(401, "log in first, or send the token of the settings (console.token)"))
    if not _may(request, permission):
        return _response(web.error(403, f"staff with the permission {permission} is let in"))
    if request.method == "POST" and (reason := _csrf_failure(request)) is not None:
        return _response(web.error(403, f"CSRF: {reason}"))
    return None


def _login_url() -> str:
    try:
        return reverse("admin:login")
    except NoReverseMatch:
        return resolve_url(django_settings.LOGIN_URL)


class _Csrf(CsrfViewMiddleware):
    """Gives the reason, and no response."""

    def _reject(self, request: HttpRequest, reason: str) -> str:
        return reason


def _nothing(_: HttpRequest) -> HttpResponse:
    return HttpResponse()


def _csrf_failure(request: HttpRequest) -> str | None:
    """Why what was sent may not be the page's own; None where all is well. As REST framework does it."""
    check = _Csrf(_nothing)
    check.process_request(request)
    found: Any = check.process_view(request, _nothing, (), {})
    return found if found is None else str(found)


def _response(reply: Any) -> HttpResponse:
    return HttpResponse(reply.body, status=reply.status, headers=reply.headers)
