"""The URLs of the project with the live page; with the admin where it is installed."""

import os
from typing import Any

from django.apps import apps
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from resilient_http_django import get_client


def call(request: HttpRequest) -> JsonResponse:
    """Calls payments."""
    answer = get_client(request).get("http://payments/")
    return JsonResponse({"status": answer.status_code, "pid": os.getpid()})


urlpatterns: list[Any] = [
    path("resilience/", include("resilient_http_django.urls")),
    path("call", call),
]
if apps.is_installed("django.contrib.admin"):
    from django.contrib import admin

    urlpatterns.append(path("admin/", admin.site.urls))
