"""URLs of the live page: path("resilience/", include("resilient_http_django.urls")). See docs/live-page.md.

A process that has these looks at its calls from its first request on.
"""

from django.urls import path

from resilient_http_django import console
from resilient_http_django.conf import mount_console

app_name = "resilient_http"
urlpatterns = [
    path("", console.page, name="page"),
    path("snapshot.json", console.snapshot, name="snapshot"),
    path("settings.json", console.settings, name="settings"),
    path("events", console.events, name="events"),
    path("actions", console.actions, name="actions"),
]

mount_console()
