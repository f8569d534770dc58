"""The settings of limits of our own, and their defaults. Durations are float seconds, ratios 0 to 1."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from resilient_http.settings.keys import PER_SECOND, SECONDS, SHARE
from resilient_http.settings.validation import Model, mistake_at, not_bool
from resilient_http.settings.values import Count, HeaderName, Ratio, Seconds, Size

Priority = Literal["sheddable", "default", "critical"]
PositiveRate = Annotated[float, BeforeValidator(not_bool), Field(gt=0, allow_inf_nan=False), PER_SECOND]
Patience = Annotated[float, BeforeValidator(not_bool), Field(ge=0, le=604_800, allow_inf_nan=False), SECONDS]
ProperRatio = Annotated[float, BeforeValidator(not_bool), Field(ge=0, lt=1, allow_inf_nan=False), SHARE]


class AdaptiveSettings(Model):
    """A concurrency limit that finds itself, between `min` and `concurrency.limit`; see docs/limits.md.

    Attributes:
        min: Its floor.
        initial: Where it begins; what latency is usual is learnt there, so it is below what the upstream bears.
        tolerance: Times the usual latency up to which attempts are not slow. Above 1.
        backoff: What the limit is multiplied by when attempts are slow, time out or are refused. Between 0 and 1.
    """

    min: Count = 1
    initial: Count = 10
    tolerance: Annotated[float, BeforeValidator(not_bool), Field(gt=1, allow_inf_nan=False)] = 1.2
    backoff: Annotated[float, BeforeValidator(not_bool), Field(gt=0, lt=1, allow_inf_nan=False)] = 0.9

    @model_validator(mode="after")
    def _begins_above_its_floor(self) -> Self:
        if self.initial < self.min:
            message = f"initial ({self.initial}) is below min ({self.min})"
            raise ValueError(message)
        return self


class ConcurrencySettings(Model):
    """How many attempts of an upstream may be under way at once; the one limiter before the pool.

    Attributes:
        limit: Most attempts under way, in this process.
        queue: Most first attempts waiting, of each priority; repeats never wait. Beyond it calls are refused
            (Saturated).
        adaptive: See AdaptiveSettings; None for a fixed limit.
        shed_at: Share of the limit under way from which on sheddable calls are refused.
        reserve: Share of the limit that only critical calls may use.
        observe: Refuse nothing and let nobody wait but for a connection; tell what would have been done.
    """

    limit: Count = 100
    queue: Size = 100
    adaptive: AdaptiveSettings | None = None
    shed_at: Ratio = 0.75
    reserve: ProperRatio = 0.0
    observe: bool = False

    @model_validator(mode="after")
    def _adapts_below_the_limit(self) -> Self:
        if self.adaptive is not None and self.adaptive.min > self.limit:
            message = f"adaptive.min ({self.adaptive.min}) is above limit ({self.limit})"
            raise ValueError(message)
        return self


class RateLimitSettings(Model):
    """How many attempts may be sent a second, in this process or by all that share it.

    Attributes:
        rate: Attempts per second, repeats included.
        burst: Attempts that may be sent at once after a quiet time; None for one second's worth.
        wait: Longest wait of a first attempt for its turn, in seconds. 0 refuses at once (RateLimited).
        shared: Whether the rate is that of all processes together. Needs `shared` at the root.
        observe: Refuse nothing and let nobody wait; tell what would have been done.
    """

    rate: PositiveRate
    burst: Count | None = None
    wait: Patience = 0.0
    shared: bool = False
    observe: bool = False

    @property
    def kept(self) -> float:
        """Most tokens kept."""
        return self.burst or max(1.0, self.rate)


class PauseSettings(Model):
    """What an answer that asks to come back later holds up.

    Attributes:
        endpoint: Most seconds that a 503 with Retry-After takes its endpoint out, None for never. At most half of the
            endpoints are out at once.
        header: Header of any answer that asks for the same, in seconds or as an HTTP date; None for none.
        route: Most seconds that a 429 with Retry-After or RateLimit-Reset holds up its route and credential for all
            callers, None for never.
        by: What a route is: "path" (method, path and credential), or "credential" (all of the upstream's paths).
        observe: Pause nothing; tell what would have been paused.
    """

    endpoint: Seconds | None = 60.0
    header: HeaderName | None = None
    route: Seconds | None = None
    by: Literal["path", "credential"] = "path"
    observe: bool = False

    @model_validator(mode="after")
    def _endpoints_are_paused(self) -> Self:
        if self.header is not None and self.endpoint is None:
            raise mistake_at("header", message="`endpoint` says that no endpoint is ever left alone")
        return self
