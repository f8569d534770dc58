"""Admin: how the upstreams stand, as a read-only page under the admin's own look, with a link in its index.

Django imports this where its admin is installed. Staff with the permission resilient_http_django.view_console get in.
Nothing can be changed here; that is what the live page is for, where it is mounted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse

from resilient_http_django.conf import console_is_mounted, get_resilience
from resilient_http_django.console import VIEW
from resilient_http_django.models import Console

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Console]
else:
    _ModelAdmin = admin.ModelAdmin

MOST = 20  # degraded calls that are shown


@admin.register(Console)
class ConsoleAdmin(_ModelAdmin):
    """The page. It stands where the list of a model's rows would; this model has none."""

    def get_urls(self) -> list[URLPattern]:
        """The page alone, by the name that the admin's index looks for."""
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="resilient_http_django_console_changelist")]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may look at the live page; Django would let in those who may only change it, too."""
        user: Any = request.user
        return bool(user.has_perm(VIEW))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: here, nothing is changed."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """How this process stands.

        Raises:
            PermissionDenied: Without the permission resilient_http_django.view_console.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        context = {
            **self.admin_site.each_context(request),
            "title": "Outbound HTTP",
            "opts": self.opts,
            "live_page": _live_page(),
            "degraded": _degraded(),
            **_standing(),
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "resilient_http_django/admin_page.html", context)


def _standing() -> dict[str, Any]:
    """What the page shows of this process."""
    resilience = get_resilience()
    status, report = resilience.status(), resilience.health()
    known: dict[str, Mapping[str, Any]] = {**status["upstreams"], **status["guards"]}
    return {
        "pid": status["pid"],
        "enabled": status["enabled"],
        "verdict": report.verdict,
        "upstreams": [
            {
                "name": name,
                "health": report.upstreams.get(name),
                "endpoints": [_endpoint(endpoint) for endpoint in upstream["endpoints"]],
                "concurrency": upstream["concurrency"],
                "discovery": upstream["discovery"],
            }
            for name, upstream in known.items()
        ],
        "switches": [
            {"upstream": name, **switch} for name, upstream in known.items() for switch in upstream["switches"]
        ],
    }


def _endpoint(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    circuit = endpoint["circuit"]
    return {
        "url": endpoint["url"],
        "circuit": "none" if circuit is None else circuit["state"],
        "cause": "" if circuit is None else circuit["cause"],
        "retry_in": None if circuit is None else circuit["retry_in"],
        "reasons": ", ".join(endpoint["reasons"]),
        "out": endpoint["out"],
        "in_flight": endpoint["in_flight"],
        "p50": _milliseconds(endpoint["latency"]["p50"]),
        "p95": _milliseconds(endpoint["latency"]["p95"]),
    }


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.0f} ms"


def _degraded() -> list[dict[str, Any]] | None:
    """The last degraded calls; None where the live page is not mounted, for then nobody keeps them."""
    if not console_is_mounted():
        return None
    kept = get_resilience().console.snapshot()["degraded"][:MOST]
    return [{**each, "at": datetime.fromtimestamp(each["at"], tz=UTC)} for each in kept]


def _live_page() -> str | None:
    try:
        return reverse("resilient_http:page")
    except NoReverseMatch:
        return None
