"""The tests' Django project with the live page, users and a login. Settings, URLs and applications in one module."""

import os
from typing import Any

from django.apps import apps
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from resilient_http_django import get_client
from tests.resilient_http_django.project.settings import *  # noqa: F403 - settings

HERE = "tests.resilient_http_django.console_project"
ROOT_URLCONF = HERE
INSTALLED_APPS = ["django.contrib.admin", *INSTALLED_APPS]  # noqa: F405 - it is there
MIDDLEWARE = [
    "resilient_http_django.middleware.ResilientHttpMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def call(request: HttpRequest) -> JsonResponse:
    """Calls payments."""
    answer = get_client(request).get("http://payments/")
    return JsonResponse({"status": answer.status_code, "pid": os.getpid()})


urlpatterns: list[Any] = [
    path("resilience/", include("resilient_http_django.urls")),
    path("call", call),
]
if apps.ready and apps.is_installed("django.contrib.admin"):  # not where these are the settings that are being read
    from django.contrib import admin

    urlpatterns.append(path("admin/", admin.site.urls))
