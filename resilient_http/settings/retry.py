"""The settings of repeats, and their defaults. Durations are float seconds, ratios 0 to 1."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from resilient_http.semantics import IDEMPOTENT_METHODS, RETRYABLE_STATUSES
from resilient_http.settings.validation import Model
from resilient_http.settings.values import WEEK, Classify, Count, HeaderName, Rate, Ratio, Seconds

QUANTILE = re.compile(r"p[1-9]\d?(\.\d{1,3})?", re.ASCII)


class BackoffSettings(Model):
    """Waits between attempts.

    Attributes:
        jitter: "full": between 0 and a ceiling that doubles; "equal": between half of it and the whole; "constant":
            base, each time.
        base: The first ceiling, seconds.
        cap: Where the doubling ends, seconds.
        throttled_base: As base, after a 429 or 503 without Retry-After; then the jitter is equal.
        elsewhere: Share of the wait when the repeat goes to an endpoint that the call has not tried; it has asked for
            nothing, so a Retry-After of the other one's (but a 429's) does not count.
    """

    jitter: Literal["full", "equal", "constant"] = "full"

    base: Seconds = 0.1
    cap: Seconds = 5.0
    throttled_base: Seconds = 0.5
    elsewhere: Ratio = 0.25


class AnswerHeader(Model):
    """A header of an answer that means something. Written as its name, or as "name: value".

    Attributes:
        name: Its name.
        value: What it must say, None for anything. Compared without case.
    """

    short: ClassVar[Mapping[str, Any]] = {"type": "string"}
    listed: ClassVar[bool] = True

    name: HeaderName
    value: str | None = None

    def __str__(self) -> str:
        """As it is written."""
        return self.name if self.value is None else f"{self.name}: {self.value}"

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, written: Any) -> Any:
        if not isinstance(written, str):
            return written
        name, colon, value = written.partition(":")
        return {"name": name.strip(), "value": value.strip() if colon else None}

    @field_validator("value")
    @classmethod
    def _lower(cls, value: str | None) -> str | None:
        return None if value is None else value.lower()


class BudgetSettings(Model):
    """Repeats that an upstream may be sent in proportion to its calls.

    Attributes:
        ratio: Repeats per sent first attempt.
        floor: Repeats per second that are always allowed.
    """

    ratio: Ratio = 0.2
    floor: Rate = 0.3


def _is_delay(value: Any) -> Any:
    if isinstance(value, str):
        fits = QUANTILE.fullmatch(value) is not None
    else:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= WEEK
    if not fits:
        message = 'seconds, or a quantile like "p95", are needed'
        raise ValueError(message)
    return value


class HedgeSettings(Model):
    """A second attempt beside a first one that takes unusually long; only of what may be sent twice.

    Attributes:
        delay: Seconds after which it is sent, or a quantile of the upstream's own latency, as "p95", which rules once
            100 attempts are known.
        observe: Send none, and tell what would have been sent.
    """

    delay: Annotated[float | str, BeforeValidator(_is_delay)] = "p95"
    observe: bool = False

    @property
    def seconds(self) -> float | None:
        """The delay, or None when it is a quantile."""
        return None if isinstance(self.delay, str) else self.delay

    @property
    def quantile(self) -> float:
        """The quantile, 0 to 1; meaningless when the delay is fixed."""
        return float(self.delay[1:]) / 100 if isinstance(self.delay, str) else 1.0


class RetrySettings(Model):
    """What is repeated, and how often.

    Attributes:
        max_attempts: Attempts of one call, the first included.
        statuses: Statuses that are repeated.
        faults: Failures without an answer that are repeated: "unreachable" (refused, unresolvable, connect timeout),
            "timeout", "broken" (reset, closed early), "local" (no connection to be had). An untrusted certificate or
            an invalid request never is.
        classify: A plain function, or its dotted path, that is asked first: it is given the response, with its body
            unless that is streamed, or the exception, and says True (repeat), False (do not), or None (no opinion).
        methods: Methods that may be repeated although they may have been acted on. Any method is repeated when the
            request provably was not sent, or carries an Idempotency-Key.
        backoff: Waits between attempts.
        max_wait: Longest single wait in seconds; an endpoint that asks for more has its answer returned at once.
        stop_header: Header of an answer that says "do not repeat this", as "x-should-retry: false"; None for none.
        budget: Bound of repeats over all calls, None for no bound.
        observe: Repeat nothing, and tell what would have been repeated.
    """

    max_attempts: Count = 3
    statuses: tuple[Annotated[int, Field(ge=400, le=599)], ...] = tuple(sorted(RETRYABLE_STATUSES))
    faults: tuple[Literal["unreachable", "timeout", "broken", "local"], ...] = (
        "unreachable", "timeout", "broken", "local",
    )  # fmt: skip
    classify: Classify | None = None
    methods: tuple[str, ...] = tuple(sorted(IDEMPOTENT_METHODS))
    backoff: BackoffSettings = BackoffSettings()
    max_wait: Seconds = 5.0
    stop_header: AnswerHeader | None = None
    budget: BudgetSettings | None = BudgetSettings()
    observe: bool = False

    @field_validator("methods")
    @classmethod
    def _upper(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(method.upper() for method in methods)
