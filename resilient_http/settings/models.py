"""The settings and their defaults. Durations are float seconds, ratios 0 to 1; `None` switches a policy off.

Layers (defaults, then the upstream's own) are merged as raw mappings and validated once: a mapping is merged into the
mapping below it, null switches a policy off, a mapping over a null switches it on again, anything else replaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator

from resilient_http.errors import SettingsError
from resilient_http.semantics import IDEMPOTENT_METHODS, RETRYABLE_STATUSES
from resilient_http.settings.spelling import lower_keys, respell
from resilient_http.settings.validation import Model, check_name, mistake_at, not_bool, settings_error

Seconds = Annotated[float, BeforeValidator(not_bool), Field(gt=0, allow_inf_nan=False)]
Ratio = Annotated[float, BeforeValidator(not_bool), Field(ge=0, le=1, allow_inf_nan=False)]
PositiveRatio = Annotated[float, BeforeValidator(not_bool), Field(gt=0, le=1, allow_inf_nan=False)]
Rate = Annotated[float, BeforeValidator(not_bool), Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(not_bool), Field(ge=1)]
Size = Annotated[int, BeforeValidator(not_bool), Field(ge=0)]


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
        both = {"attempt", "total"} <= self.model_fields_set
        if both and self.attempt is not None and self.total is not None and self.attempt > self.total:
            message = f"attempt ({self.attempt:g} s) is longer than total ({self.total:g} s)"
            raise ValueError(message)
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


class EndpointSettings(Model):
    """One node of an upstream.

    Attributes:
        url: Its origin: scheme, host and port, nothing more.
        weight: Its share of the traffic relative to its siblings.
        backup: Used only when no other endpoint is admitted, or the call has tried all others.
    """

    url: str
    weight: Annotated[float, BeforeValidator(not_bool), Field(gt=0, allow_inf_nan=False)] = 1.0
    backup: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_url(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str) else value

    @field_validator("url")
    @classmethod
    def _is_origin(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as exc:
            message = f"not a URL: {exc}"
            raise ValueError(message) from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            message = "an endpoint is an origin like http://10.0.0.1:8080"
            raise ValueError(message)
        if parts.username is not None or parts.password is not None:
            message = "an endpoint carries no credentials; pass auth= to the client"
            raise ValueError(message)
        if parts.path.strip("/") or parts.query or parts.fragment:
            message = "an endpoint is an origin, without path or query; put the path into the request's URL"
            raise ValueError(message)
        return url.rstrip("/")

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host without brackets, port."""
        parts = urlsplit(self.url)
        return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]


class UpstreamSettings(Model):
    """A service that we call.

    Attributes:
        endpoints: Its nodes; all http or all https.
        host: `Host` header and TLS name in place of the endpoint's own.
        timeout: See TimeoutSettings.
        pool: See PoolSettings.
        retry: See RetrySettings; None for no repeats.
        circuit: See CircuitSettings; None for no circuits.
        concurrency: See ConcurrencySettings; None for no limit but the pool's.
        balance: How an endpoint is chosen: "p2c".
        propagate: Trace headers to send: "tracecontext", "none", or "all" (with baggage, for upstreams of one's own).
        tls: See TlsSettings.
        http2: Whether HTTP/2 is offered to https endpoints (needs the extra `http2`).
        proxy: URL of a proxy that connections go through.
    """

    endpoints: tuple[EndpointSettings, ...] = ()
    host: str | None = None
    timeout: TimeoutSettings = TimeoutSettings()
    pool: PoolSettings = PoolSettings()
    retry: RetrySettings | None = RetrySettings()
    circuit: CircuitSettings | None = CircuitSettings()
    concurrency: ConcurrencySettings | None = ConcurrencySettings()
    balance: Literal["p2c"] = "p2c"
    propagate: Literal["none", "tracecontext", "all"] = "tracecontext"
    tls: TlsSettings = TlsSettings()
    http2: bool = False
    proxy: SecretStr | None = None

    @field_validator("endpoints")
    @classmethod
    def _one_scheme(cls, endpoints: tuple[EndpointSettings, ...]) -> tuple[EndpointSettings, ...]:
        if len({endpoint.origin[0] for endpoint in endpoints}) > 1:
            message = "the endpoints of one upstream are all http or all https"
            raise ValueError(message)
        if len({endpoint.origin for endpoint in endpoints}) < len(endpoints):
            message = "an endpoint is listed twice; give it a weight instead"
            raise ValueError(message)
        if endpoints and all(endpoint.backup for endpoint in endpoints):
            message = "every endpoint is a backup; at least one must not be"
            raise ValueError(message)
        return endpoints


class InboundSettings(Model):
    """What bounds the inbound requests of a web service, and so their outbound calls.

    Attributes:
        timeout: Seconds that an inbound request has, or None for no deadline of its own.
        deadline_headers: Headers in which a caller says how many milliseconds it will wait; they only shorten.
        reserve: Seconds kept back for answering; at most a fifth of the budget is.
    """

    timeout: Seconds | None = 10.0
    deadline_headers: tuple[str, ...] = ("x-envoy-expected-rq-timeout-ms",)
    reserve: Annotated[float, BeforeValidator(not_bool), Field(ge=0, allow_inf_nan=False)] = 0.05


class Settings(Model):
    """The settings of a process.

    Attributes:
        enabled: False is plain httpx with the same API: endpoints are chosen, nothing else happens.
        backend: "httpx", or its successor "httpx2".
        inbound: See InboundSettings.
        defaults: What every upstream inherits, and all that an unnamed one has.
        upstreams: Name (a lower-case DNS label) to its settings.

    Raises:
        SettingsError: Something is wrong; it names the path and the value.
    """

    enabled: bool = True
    backend: Literal["httpx", "httpx2"] = "httpx"
    inbound: InboundSettings = InboundSettings()
    defaults: UpstreamSettings = UpstreamSettings()
    upstreams: Mapping[str, UpstreamSettings] = {}

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as exc:
            raise settings_error(exc) from None

    @classmethod
    def from_upper_case(cls, raw: object, *, root: str = "RESILIENT_HTTP") -> Settings:
        """Settings whose option keys are in upper case, as in Django's settings.

        Args:
            raw: A mapping, or Settings(...) as they are.
            root: Name of the variable that holds them, for error messages.

        Raises:
            SettingsError: Something is wrong; paths are as the user wrote them, `RESILIENT_HTTP["UPSTREAMS"]...`.
        """
        if isinstance(raw, Settings):
            return raw
        if not isinstance(raw, Mapping):
            message = f"{root} is a dict of settings, not {type(raw).__name__}"
            raise SettingsError(message, path=root, value=raw)
        lowered = lower_keys(raw, root=root)
        try:
            return cls(**lowered)
        except SettingsError as exc:
            raise respell(exc, root) from None

    @model_validator(mode="before")
    @classmethod
    def _inherit(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping) or not isinstance(raw.get("upstreams"), Mapping):
            return raw
        defaults = _as_mapping(raw.get("defaults", {}))
        if not isinstance(defaults, Mapping):
            return raw
        upstreams = {name: _over(defaults, _as_mapping(own)) for name, own in raw["upstreams"].items()}
        return {**raw, "upstreams": upstreams}

    @field_validator("defaults")
    @classmethod
    def _without_endpoints(cls, defaults: UpstreamSettings) -> UpstreamSettings:
        if defaults.endpoints or defaults.host:
            message = "endpoints and host belong to one upstream, not to the defaults"
            raise ValueError(message)
        return defaults

    @field_validator("upstreams")
    @classmethod
    def _named_and_reachable(cls, upstreams: Mapping[str, UpstreamSettings]) -> Mapping[str, UpstreamSettings]:
        for name, upstream in upstreams.items():
            check_name(name)
            if not upstream.endpoints:
                raise mistake_at(name, "endpoints", message='at least one is needed, as in ["http://10.0.0.1:8080"]')
        return upstreams


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One layer over another, as raw mappings; see the laws of this module."""
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        merged[key] = merge(lower, value) if isinstance(lower, Mapping) and isinstance(value, Mapping) else value
    return merged


def _over(defaults: Mapping[str, Any], own: Any) -> Any:
    return merge(defaults, own) if isinstance(own, Mapping) else own


def _as_mapping(value: Any) -> Any:
    return value.model_dump(exclude_unset=True) if isinstance(value, Model) else value
