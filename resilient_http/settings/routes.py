"""The settings of routes: some requests to an upstream go by other numbers than the rest. Durations are float seconds.

A route has what a call may have, and the time limits: what each call goes by for itself. Circuits, limits, budget and
connections are shared by all calls of an upstream; a route with some of its own would be another upstream, and that can
be had: name one with the same endpoints.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from resilient_http.settings.chaos import ChaosSettings
from resilient_http.settings.fallback import FallbackSettings
from resilient_http.settings.limits import Priority
from resilient_http.settings.network import TimeoutSettings
from resilient_http.settings.retry import HedgeSettings, RetrySettings
from resilient_http.settings.validation import Model, mistake_at

SHARED = {"retry": ("budget",), "fallback": ("stale",)}
"""What all calls of an upstream share of what a call, or a route, may change otherwise."""

SHARED_BY_ALL = "all calls of the upstream share it; change it in the settings of the upstream"


class RouteSettings(Model):
    """What the calls of a route go by, over what their upstream says.

    Attributes:
        timeout: See TimeoutSettings.
        retry: See RetrySettings, but for `budget`; None for no repeats.
        hedge: See HedgeSettings; None for no hedges.
        idempotency_key: As the upstream's.
        priority: As the upstream's.
        fallback: See FallbackSettings, but for `stale`; None for no fallback.
        chaos: See ChaosSettings; None for none.
    """

    unknown: ClassVar[str] = "not a setting of a route"

    timeout: TimeoutSettings = TimeoutSettings()
    retry: RetrySettings | None = RetrySettings()
    hedge: HedgeSettings | None = None
    idempotency_key: Literal["auto"] | None = None
    priority: Priority | None = None
    fallback: FallbackSettings | None = None
    chaos: ChaosSettings | None = None

    @model_validator(mode="after")
    def _hedges_can_be_sent(self) -> Self:
        check_hedge(self)
        return self


def check_hedge(own: Any) -> None:
    """Refuse a hedge that would never be sent; of an upstream, or of a route."""
    if own.hedge is None:
        return
    if own.retry is None or own.retry.max_attempts == 1:
        raise mistake_at("hedge", message="a hedge is an attempt, and retry allows only one")
    delay = own.hedge.seconds
    for key, most in (("total", own.timeout.total), ("attempt", own.timeout.attempt)):
        if delay is not None and most is not None and delay >= most:
            message = f"none would ever be sent: {delay:g} s is not below timeout.{key} ({most:g} s)"
            raise mistake_at("hedge", "delay", message=message)
