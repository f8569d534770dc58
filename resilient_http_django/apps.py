"""The Django app. It has no tables, and makes no client: those are made on first use, after any fork."""

from django.apps import AppConfig
from django.core.checks import register

from resilient_http_django.checks import (
    check_exposures,
    check_likely_mistakes,
    check_middleware,
    check_settings,
    check_worker_timeout,
)
from resilient_http_django.tasks import detach_tasks


class ResilientHttpConfig(AppConfig):
    """`INSTALLED_APPS = [..., "resilient_http_django"]`: its settings are checked by `manage.py check`."""

    name = "resilient_http_django"
    verbose_name = "Resilient HTTP"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and have tasks run detached from the request that enqueues them."""
        register(check_settings, "resilient_http")
        register(check_middleware, "resilient_http")
        register(check_worker_timeout, "resilient_http")
        register(check_likely_mistakes, "resilient_http")
        register(check_exposures, "resilient_http", deploy=True)
        detach_tasks()
