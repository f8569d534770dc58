"""The settings of repeats, and their defaults. Durations are float seconds, ratios 0 to 1."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from resilient_http.semantics import IDEMPOTENT_METHODS, RETRYABLE_STATUSES
from resilient_http.settings.validation import Model
from resilient_http.settings.values import Count, Rate, Ratio, Seconds


class BackoffSettings(Model):
    """Waits between attempts: full jitter, and for throttled answers (429, 503) equal jitter.

    Attributes:
        base: Seconds; the first repeat waits between 0 and this, each further one up to twice as long.
        cap: Longest wait of the doubling, seconds.
        throttled_base: As base, after a 429 or 503 without Retry-After; at least half of it is waited.
    """

    base: Seconds = 0.1
    cap: Seconds = 5.0
    throttled_base: Seconds = 0.5


class BudgetSettings(Model):
    """Repeats that an upstream may be sent in proportion to its calls.

    Attributes:
        ratio: Repeats per sent first attempt.
        floor: Repeats per second that are always allowed.
    """

    ratio: Ratio = 0.2
    floor: Rate = 0.3


class RetrySettings(Model):
    """What is repeated, and how often.

    Attributes:
        max_attempts: Attempts of one call, the first included.
        statuses: Statuses that are repeated.
        methods: Methods that may be repeated although they may have been acted on. Any method is repeated when the
            request provably was not sent, or carries an Idempotency-Key.
        backoff: Waits between attempts.
        max_wait: Longest single wait in seconds; an endpoint that asks for more has its answer returned at once.
        budget: Bound of repeats over all calls, None for no bound.
    """

    max_attempts: Count = 3
    statuses: tuple[Annotated[int, Field(ge=400, le=599)], ...] = tuple(sorted(RETRYABLE_STATUSES))
    methods: tuple[str, ...] = tuple(sorted(IDEMPOTENT_METHODS))
    backoff: BackoffSettings = BackoffSettings()
    max_wait: Seconds = 5.0
    budget: BudgetSettings | None = BudgetSettings()

    @field_validator("methods")
    @classmethod
    def _upper(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(method.upper() for method in methods)
