"""The settings and their defaults. Durations are float seconds, ratios 0 to 1; `None` switches a policy off.

Layers (defaults, then the upstream's own) are merged as raw mappings (merging.py) and validated once.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Literal, Self

from pydantic import SecretStr, ValidationError, field_validator, model_validator

from resilient_http.errors import SettingsError
from resilient_http.settings.circuit import CircuitSettings
from resilient_http.settings.discovery import DiscoverySettings
from resilient_http.settings.endpoints import BalanceSettings, EndpointSettings, Zone, one_upstreams
from resilient_http.settings.fallback import FallbackSettings
from resilient_http.settings.guards import GuardSettings
from resilient_http.settings.health import HealthSettings
from resilient_http.settings.inbound import InboundSettings
from resilient_http.settings.limits import ConcurrencySettings, PauseSettings, Priority, RateLimitSettings
from resilient_http.settings.merging import as_raw, merge, over
from resilient_http.settings.middleware import MiddlewareSettings
from resilient_http.settings.network import DeadlineHeader, PoolSettings, TimeoutSettings, TlsSettings
from resilient_http.settings.retry import HedgeSettings, RetrySettings
from resilient_http.settings.shared import SharedSettings
from resilient_http.settings.spelling import lower_keys, respell
from resilient_http.settings.validation import Model, check_name, mistake_at, settings_error, split_url
from resilient_http.settings.values import OwnHeaderName
from resilient_http.settings.watch import WatchSettings

WRITTEN = "_written"  # where settings keep what they were made from
PROXIES = ("http", "https", "socks5", "socks5h")


class UpstreamSettings(Model):
    """A service that we call.

    Attributes:
        endpoints: Its nodes; all http or all https. Beside `discovery`: those until its first answer.
        discovery: See DiscoverySettings; None for `endpoints` alone.
        host: `Host` header and TLS name in place of the endpoint's own.
        timeout: See TimeoutSettings.
        pool: See PoolSettings.
        retry: See RetrySettings; None for no repeats.
        hedge: See HedgeSettings; None for no hedges.
        circuit: See CircuitSettings; None for no circuits.
        concurrency: See ConcurrencySettings; None for no limit but the pool's.
        rate_limit: See RateLimitSettings; None for no limit.
        pauses: See PauseSettings; None for none.
        priority: "sheddable", "default" or "critical": which calls are refused first under pressure. None for what the
            inbound request says, else "default".
        priority_header: Header that tells it the priority of the call, None for none.
        fallback: See FallbackSettings; None for no fallback.
        middleware: See MiddlewareSettings.
        balance: See BalanceSettings.
        health: See HealthSettings; None for no checks. Unnamed upstreams have one endpoint, and are not checked.
        propagate: Trace headers to send: "tracecontext", "none", or "all" (with baggage, for upstreams of one's own).
        deadline_header: Header that tells it how long we wait for this attempt, None for none.
        attempt_header: Header that tells it which attempt this is, from 1 on; None for none. Of a repeat of an inbound
            request's it never says 1.
        idempotency_key: "auto" gives each call with a method that is not idempotent an `Idempotency-Key` of its own,
            the same for all its attempts, and so lets it be repeated; for upstreams that honour the header.
        trust_dependency_marker: Whether its answer `X-Dependency-Down` is believed: that a service behind it is down,
            so that the answer is neither repeated nor counted against it.
        tls: See TlsSettings.
        http2: Whether HTTP/2 is offered to https endpoints (needs the extra `http2`).
        proxy: URL of a proxy that connections go through. An https one is verified, by the authorities of a
            `tls.verify` bundle too.
    """

    endpoints: tuple[EndpointSettings, ...] = ()
    discovery: DiscoverySettings | None = None
    host: str | None = None
    timeout: TimeoutSettings = TimeoutSettings()
    pool: PoolSettings = PoolSettings()
    retry: RetrySettings | None = RetrySettings()
    hedge: HedgeSettings | None = None
    circuit: CircuitSettings | None = CircuitSettings()
    concurrency: ConcurrencySettings | None = ConcurrencySettings()
    rate_limit: RateLimitSettings | None = None
    pauses: PauseSettings | None = PauseSettings()
    priority: Priority | None = None
    priority_header: OwnHeaderName | None = None
    fallback: FallbackSettings | None = None
    middleware: MiddlewareSettings = MiddlewareSettings()
    balance: BalanceSettings = BalanceSettings()
    health: HealthSettings | None = None
    propagate: Literal["none", "tracecontext", "all"] = "tracecontext"
    deadline_header: DeadlineHeader | None = None
    attempt_header: OwnHeaderName | None = None
    idempotency_key: Literal["auto"] | None = None
    trust_dependency_marker: bool = False
    tls: TlsSettings = TlsSettings()
    http2: bool = False
    proxy: SecretStr | None = None

    @field_validator("host")
    @classmethod
    def _is_host(cls, host: str | None) -> str | None:
        if host is not None:
            parts = split_url(f"http://{host}", ("http",), like="payments.example or payments.example:8443")
            if parts.netloc != host or parts.username is not None:
                message = "a host like payments.example is needed, without scheme, path or credentials"
                raise ValueError(message)
        return host

    @field_validator("proxy")
    @classmethod
    def _is_proxy(cls, proxy: SecretStr | None) -> SecretStr | None:
        if proxy is not None:
            split_url(proxy.get_secret_value(), PROXIES, like="http://proxy:3128")
        return proxy

    @model_validator(mode="after")
    def _extras_are_installed(self) -> Self:
        if self.http2 and find_spec("h2") is None:
            raise mistake_at("http2", message='needs the extra http2: pip install "resilient-http[http2]"')
        socks = self.proxy is not None and self.proxy.get_secret_value().startswith("socks")
        if socks and find_spec("socksio") is None:
            raise mistake_at("proxy", message='a SOCKS proxy needs socksio: pip install "httpx[socks]"')
        return self

    @model_validator(mode="after")
    def _discovered_alike(self) -> Self:
        scheme = None if self.discovery is None else self.discovery.scheme
        for endpoint in self.endpoints:
            if scheme is not None and endpoint.origin[0] != scheme:
                raise mistake_at("endpoints", message=f"discovery says {scheme}, and these do not; they must agree")
        return self

    @model_validator(mode="after")
    def _hedges_are_attempts(self) -> Self:
        if self.hedge is not None and (self.retry is None or self.retry.max_attempts == 1):
            raise mistake_at("hedge", message="a hedge is an attempt, and retry allows only one")
        return self

    @model_validator(mode="after")
    def _hedges_are_in_time(self) -> Self:
        delay = None if self.hedge is None else self.hedge.seconds
        for key, most in (("total", self.timeout.total), ("attempt", self.timeout.attempt)):
            if delay is not None and most is not None and delay >= most:
                message = f"none would ever be sent: {delay:g} s is not below timeout.{key} ({most:g} s)"
                raise mistake_at("hedge", "delay", message=message)
        return self

    @field_validator("endpoints", mode="before")
    @classmethod
    def _is_list(cls, endpoints: Any) -> Any:
        if not isinstance(endpoints, (list, tuple)):
            message = 'a list of URLs is needed, as in ["http://10.0.0.1:8080"]'
            raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueError
        return endpoints

    @field_validator("endpoints")
    @classmethod
    def _one_upstreams(cls, endpoints: tuple[EndpointSettings, ...]) -> tuple[EndpointSettings, ...]:
        return one_upstreams(endpoints)


class Settings(Model):
    """The settings of a process.

    Attributes:
        enabled: False is plain httpx with the same API: endpoints are chosen, nothing else happens.
        backend: "httpx", or its successor "httpx2".
        engine: What async clients connect with: "default", or "aiohttp" (needs the extra `aiohttp`), which is faster,
            for asyncio only, and neither speaks HTTP/2 nor goes through a proxy. Sync clients have the default one.
        inbound: See InboundSettings.
        zone: Where this process stands; endpoints of that zone are preferred. None for no preference.
        shared: See SharedSettings; None for a process that shares nothing with others.
        watch: See WatchSettings; None for settings that nothing changes from afar.
        defaults: What every upstream inherits, and all that an unnamed one has.
        upstreams: Name (a lower-case DNS label) to its settings.
        guards: Name to the settings of what is not HTTP; see GuardSettings. They inherit nothing from `defaults`.

    Raises:
        SettingsError: Something is wrong; it names the path and the value.
    """

    enabled: bool = True
    backend: Literal["httpx", "httpx2"] = "httpx"
    engine: Literal["default", "aiohttp"] = "default"
    inbound: InboundSettings = InboundSettings()
    zone: Zone | None = None
    shared: SharedSettings | None = None
    watch: WatchSettings | None = None
    defaults: UpstreamSettings = UpstreamSettings()
    upstreams: Mapping[str, UpstreamSettings] = {}
    guards: Mapping[str, GuardSettings] = {}

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as exc:
            raise settings_error(exc) from None
        self.__dict__[WRITTEN] = settings  # no field: it is no part of what is compared

    def under(self, above: Mapping[str, Any]) -> Settings:
        """These settings, as they were written, under another layer: what inherits a value inherits the new one.

        Raises:
            SettingsError: Something is wrong.
        """
        return Settings(**merge(as_raw(self.__dict__.get(WRITTEN, self)), above))

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
        raw = as_raw(raw)
        defaults = raw.get("defaults", {})
        if not isinstance(defaults, Mapping):
            return raw
        upstreams = {name: over(defaults, own) for name, own in raw["upstreams"].items()}
        return {**raw, "upstreams": upstreams}

    @model_validator(mode="after")
    def _engine_can(self) -> Self:
        for path, upstream in self._all() if self.engine == "aiohttp" else ():
            for key, value in (("http2", upstream.http2), ("proxy", upstream.proxy)):
                if value:
                    message = 'the engine "aiohttp" cannot do that; leave this out, or leave `engine` at "default"'
                    raise mistake_at(*path, key, message=message)
        return self

    @model_validator(mode="after")
    def _shared_somewhere(self) -> Self:
        message = 'needs a Redis at the root: "shared": {"redis": "redis://..."}'
        upstreams = self._all()
        circuits = [(path, upstream.circuit) for path, upstream in upstreams]
        circuits += [(("guards", name), guard.circuit) for name, guard in self.guards.items()]
        for path, circuit in circuits:
            if self.shared is None and circuit is not None and circuit.shared is not None:
                raise mistake_at(*path, "circuit", "shared", message=message)
        for path, upstream in upstreams:
            if upstream.rate_limit is None or not upstream.rate_limit.shared:
                continue
            if self.shared is None:
                raise mistake_at(*path, "rate_limit", "shared", message=message)
            _leased_in_time(path, upstream.rate_limit, self.shared)
        return self

    def _all(self) -> list[tuple[tuple[str, ...], UpstreamSettings]]:
        """The settings of all upstreams and of unnamed ones, each with its path."""
        upstreams: list[tuple[tuple[str, ...], UpstreamSettings]] = [(("defaults",), self.defaults)]
        return upstreams + [(("upstreams", name), upstream) for name, upstream in self.upstreams.items()]

    @field_validator("defaults")
    @classmethod
    def _without_endpoints(cls, defaults: UpstreamSettings) -> UpstreamSettings:
        if defaults.endpoints or defaults.host or defaults.discovery:
            message = "endpoints, discovery and host belong to one upstream, not to the defaults"
            raise ValueError(message)
        return defaults

    @field_validator("upstreams")
    @classmethod
    def _named_and_reachable(cls, upstreams: Mapping[str, UpstreamSettings]) -> Mapping[str, UpstreamSettings]:
        for name, upstream in upstreams.items():
            check_name(name)
            if not upstream.endpoints and upstream.discovery is None:
                message = 'at least one is needed, as in ["http://10.0.0.1:8080"], or discovery'
                raise mistake_at(name, "endpoints", message=message)
        return upstreams

    @field_validator("guards")
    @classmethod
    def _guards_are_named(cls, guards: Mapping[str, GuardSettings]) -> Mapping[str, GuardSettings]:
        for name in guards:
            check_name(name, what="a guard's")
        return guards

    @model_validator(mode="after")
    def _one_name_one_thing(self) -> Self:
        for name in self.guards:
            if name in self.upstreams:
                raise mistake_at("guards", name, message="an upstream has that name already")
        return self


def _leased_in_time(path: tuple[str, ...], own: RateLimitSettings, shared: SharedSettings) -> None:
    # Nothing is sent between two leases but what was leased, and the burst bounds that.
    least = own.rate * shared.interval / 2
    if own.kept < least:
        message = (
            f"{own.kept:g} is less than is sent in half of shared.interval ({least:g}), "
            "so the rate could not be reached; raise it, or lower shared.interval"
        )
        raise mistake_at(*path, "rate_limit", "burst", message=message)
