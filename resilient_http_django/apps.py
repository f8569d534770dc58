"""The Django app. It has no models, and makes no client: those are made on first use, after any fork."""

from django.apps import AppConfig
from django.core.checks import register

from resilient_http_django.checks import check_middleware, check_settings


class ResilientHttpConfig(AppConfig):
    """`INSTALLED_APPS = [..., "resilient_http_django"]`: its settings are checked by `manage.py check`."""

    name = "resilient_http_django"
    verbose_name = "Resilient HTTP"

    def ready(self) -> None:
        """Register the system checks."""
        register(check_settings, "resilient_http")
        register(check_middleware, "resilient_http")
