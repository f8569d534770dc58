"""The pages of the shop. DEMO_CLIENT=bare takes httpx alone."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.urls import path

if settings.CLIENT == "bare":
    from example_project.shop import bare as views
else:
    from example_project.shop import views  # type: ignore[no-redef]


def show_settings(request: HttpRequest) -> JsonResponse:
    bare = {"httpx.Client and httpx.AsyncClient": {"timeout": settings.PATIENCE}}
    return JsonResponse(bare if settings.CLIENT == "bare" else settings.RESILIENT_HTTP)


urlpatterns = [
    path("checkout/<int:order>", views.checkout),
    path("async/checkout/<int:order>", views.checkout_async),
    path("settings", show_settings),
    path("status", views.status),
]
