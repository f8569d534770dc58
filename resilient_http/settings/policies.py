"""The settings of each policy, and their defaults. Durations are float seconds, ratios 0 to 1."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from resilient_http.semantics import IDEMPOTENT_METHODS, RETRYABLE_STATUSES
from resilient_http.settings.validation import Model, mistake_at, not_bool

Seconds = Annotated[float, BeforeValidator(not_bool), Field(gt=0, le=604_800, allow_inf_nan=False)]  # up to a week
Ratio = Annotated[float, BeforeValidator(not_bool), Field(ge=0, le=1, allow_inf_nan=False)]
PositiveRatio = Annotated[float, BeforeValidator(not_bool), Field(gt=0, le=1, allow_inf_nan=False)]
Rate = Annotated[float, BeforeValidator(not_bool), Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(not_bool), Field(ge=1)]
Size = Annotated[int, BeforeValidator(not_bool), Field(ge=0)]
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _is_header_name(name: str) -> str:
    if not HEADER_NAME.fullmatch(name):
        message = "the name of a header is needed, like x-request-timeout"
        raise ValueError(message)
    return name.lower()


HeaderName = Annotated[str, AfterValidator(_is_header_name)]  # RFC 9110, section 5.6.2


class DeadlineHeader(Model):
    """A header that says how long a caller waits. Written as its name where that tells the unit.

    Attributes:
        name: Its name.
        unit: "ms", "s", or "grpc" (digits and one of H M S m u n). grpc-timeout and names that end in -ms need none.
    """

    name: HeaderName
    unit: Literal["ms", "s", "grpc"]

    def __str__(self) -> str:
        """Its name."""
        return self.name

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        raw = {"name": value} if isinstance(value, str) else value
        if not isinstance(raw, Mapping) or "unit" in raw or not isinstance(raw.get("name"), str):
            return raw
        name = raw["name"].lower()
        if name == "grpc-timeout" or name.endswith("-ms"):
            return {**raw, "unit": "grpc" if name == "grpc-timeout" else "ms"}
        message = f'{name} does not tell its unit; write {{"name": "{name}", "unit": "s"}}, or "ms", or "grpc"'
        raise ValueError(message)


class TimeoutSettings(Model):
    """How long a call, an attempt and each of its phases may take.

    Attributes:
        total: Seconds for the whole call: waits, repeats and the body. None for endless streams.
        attempt: Seconds for one attempt, to the end of its body; of a streamed one, to its headers.
        connect: Seconds to connect, TLS included; the default survives one lost SYN.
        read: Seconds without a byte from the endpoint.
        write: Seconds without a byte taken by the endpoint.
        pool: Seconds to wait for a permit and a connection.
    """

    total: Seconds | None = 10.0
    attempt: Seconds | None = 3.0
    connect: Seconds | None = 1.5
    read: Seconds | None = 3.0
    write: Seconds | None = 3.0
    pool: Seconds | None = 1.0

    def phases(self) -> dict[str, float | None]:
        """The limits of the phases, by httpx's names."""
        return {"connect": self.connect, "read": self.read, "write": self.write, "pool": self.pool}

    @model_validator(mode="after")
    def _attempt_within_total(self) -> Self:
        if self.attempt is None or self.total is None or self.attempt <= self.total:
            return self
        if {"attempt", "total"} <= self.model_fields_set:
            message = f"attempt ({self.attempt:g} s) is longer than total ({self.total:g} s)"
            raise ValueError(message)
        # One of them is the default: an attempt lasts no longer than its call.
        self.__dict__["attempt"] = self.total
        return self


class PoolSettings(Model):
    """Connections of an upstream.

    Attributes:
        max_connections: Most connections; also a ceiling for `concurrency.limit`, so that nothing waits in the pool.
        max_keepalive: Most idle connections kept to one endpoint.
        keepalive_expiry: Seconds that an idle connection is kept; below uvicorn's 5 s, so that the server does not
            close it under a request. A shorter `Keep-Alive: timeout=` of the server's is obeyed.
    """

    max_connections: Count = 100
    max_keepalive: Size = 100
    keepalive_expiry: Seconds | None = 4.0


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


class CircuitSettings(Model):
    """When to stop calling an endpoint that is failing, and for how long. Per endpoint.

    Attributes:
        failure_rate: Share of failed attempts in the window that opens the circuit. 0 < rate <= 1.
        min_calls: Attempts the window must hold before the rate is believed.
        window: Newest attempts that are looked at.
        window_span: Seconds after which an attempt is forgotten.
        streak: Failures in a row that open the circuit; attempts answered with 500 do not count here.
        quiet_streak: The same while fewer than `min_calls` attempts are known.
        open_for: Seconds until the first probe; doubles each time a probe fails, jittered by 20 %.
        max_open_for: Where the doubling ends, seconds.
        calm_after: Seconds closed after which the doubling begins anew.
        probes: Probes under way at once.
        successes: Good probes that close the circuit.
        lease: Seconds after which a probe that has not reported is given up.
    """

    failure_rate: PositiveRatio = 0.5
    min_calls: Count = 20
    window: Count = 100
    window_span: Seconds = 30.0
    streak: Count = 10
    quiet_streak: Count = 5
    open_for: Seconds = 5.0
    max_open_for: Seconds = 60.0
    calm_after: Seconds = 60.0
    probes: Count = 1
    successes: Count = 2
    lease: Seconds = 10.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.min_calls > self.window:
            message = f"min_calls ({self.min_calls}) can never be reached in a window of {self.window}"
            raise ValueError(message)
        if self.open_for > self.max_open_for:
            message = f"open_for ({self.open_for:g} s) is longer than max_open_for ({self.max_open_for:g} s)"
            raise ValueError(message)
        return self


class ConcurrencySettings(Model):
    """How many attempts of an upstream may be under way at once; the one limiter before the pool.

    Attributes:
        limit: Most attempts under way, in this process.
        queue: Most first attempts waiting; repeats never wait. Beyond it calls are refused (Saturated).
    """

    limit: Count = 100
    queue: Size = 100


class TlsSettings(Model):
    """How https endpoints are verified.

    Attributes:
        verify: True for the backend's trusted authorities, False for none, or the path of a CA bundle.
        cert: Client certificate: path of a PEM file, or (certificate, key).
    """

    verify: bool | str = True
    cert: str | tuple[str, str] | None = None

    @model_validator(mode="after")
    def _files_are_there(self) -> Self:
        certs = (self.cert,) if isinstance(self.cert, str) else self.cert or ()
        for name, path in [("verify", self.verify), *(("cert", path) for path in certs)]:
            if isinstance(path, str) and not Path(path).exists():
                raise mistake_at(name, message=f"there is no file {path}")
        return self
