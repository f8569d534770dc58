"""The views, each in a sync and an async form."""

from django.urls import path

from tests.resilient_http_django.project import views

urlpatterns = [
    path("sync/charge", views.charge),
    path("async/charge", views.charge_async),
    path("sync/two-steps", views.two_steps),
    path("async/two-steps", views.two_steps_async),
    path("sync/stream", views.stream),
    path("async/stream", views.stream_async),
]
