"""Health: the upstreams among the checks of django-health-check (4.x, which is not installed with this package).

    from health_check.views import HealthCheckView

    path("health/", HealthCheckView.as_view(checks=["resilient_http_django.health.Upstreams", ...]))

That view makes a 500 of any error, of a warning too. So the check is silent about what is only degraded, unless asked;
UpstreamsView, in its place, tells of it and answers 200.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse
from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable, ServiceWarning
from health_check.views import HealthCheckView

from resilient_http_django.conf import get_resilience


@dataclasses.dataclass
class Upstreams(HealthCheck):
    """Fails when an upstream without which the service is down cannot be called.

    Args:
        required: Names of those upstreams. By default there is none: an open circuit fails nothing.
        warn: Whether it fails with a ServiceWarning when an upstream is degraded, or down and not required. In a plain
            HealthCheckView that is a 500 too.
    """

    required: tuple[str, ...] | list[str] = ()
    warn: bool = False

    async def run(self) -> None:
        """As HealthCheck's. It asks nobody: it looks at what calls have met with.

        Raises:
            ServiceUnavailable: A required upstream is down.
            ServiceWarning: Something is degraded, and `warn` says to tell.
        """
        report = get_resilience().health(required=self.required)
        if report.verdict == "down":
            raise ServiceUnavailable(str(report))
        if report.verdict == "degraded" and self.warn:
            raise ServiceWarning(str(report))


class UpstreamsView(HealthCheckView):
    """A HealthCheckView whose answer is 200 when there is nothing worse than a warning.

    path("health/", UpstreamsView.as_view(checks=[("resilient_http_django.health.Upstreams", {"warn": True}), ...]))
    """

    checks = ((Upstreams, {"warn": True}),)

    async def get(  # type: ignore[override]  # as HealthCheckView's
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """As HealthCheckView's."""
        response: HttpResponse = await super().get(request, *args, **kwargs)
        if response.status_code == FAILED and all(isinstance(error, ServiceWarning) for error in self._errors()):
            response.status_code = 200
        return response

    def _errors(self) -> Iterator[Exception]:
        return (result.error for result in self.results if result.error is not None)


FAILED = 500  # of HealthCheckView, for errors of any kind
