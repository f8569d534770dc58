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
    path("sync/leave", views.leave),
    path("async/leave", views.leave_async),
    path("async/leave-group", views.leave_group),
    path("async/stream-leave", views.stream_leave),
    path("sync/stream-note", views.stream_note),
    path("sync/slow", views.slow),
    path("async/slow", views.slow_async),
    path("sync/quick", views.quick),
    path("async/quick", views.quick_async),
    path("sync/quick-class", views.Quick.as_view()),
    path("async/quick-class", views.QuickAsync.as_view()),
    path("sync/quick-method", views.QuickMethod.as_view()),
    path("sync/slow-method", views.SlowMethod.as_view()),
    path("sync/quick-leave", views.quick_leave),
    path("sync/note", views.note),
    path("async/note", views.note_async),
    path("sync/stubborn", views.stubborn),
    path("async/stubborn", views.stubborn_async),
    path("async/stubborn-class", views.Stubborn.as_view()),
    path("sync/bridged", views.bridged),
    path("sync/who", views.who),
    path("sync/pay", views.pay),
    path("sync/pay-class", views.Pay.as_view()),
    path("sync/pay-after", views.pay_after),
    path("sync/pay-in-thread", views.pay_in_thread),
    path("async/blocking", views.charge_blocking),
]
