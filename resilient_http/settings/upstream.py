"""The settings of an upstream, and their defaults. Durations are float seconds, ratios 0 to 1.

`None` switches a policy off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from typing import Annotated, Any, Literal, Self

from pydantic import SecretStr, field_validator, model_validator

from resilient_http.settings.chaos import ChaosSettings
from resilient_http.settings.circuit import CircuitSettings
from resilient_http.settings.discovery import DiscoverySettings
from resilient_http.settings.endpoints import BalanceSettings, EndpointSettings, one_upstreams
from resilient_http.settings.fallback import FallbackSettings
from resilient_http.settings.health import HealthSettings
from resilient_http.settings.keys import NEW_CONNECTIONS
from resilient_http.settings.limits import ConcurrencySettings, PauseSettings, Priority, RateLimitSettings
from resilient_http.settings.merging import OF_A_ROUTE
from resilient_http.settings.middleware import MiddlewareSettings
from resilient_http.settings.network import DeadlineHeader, PoolSettings, TimeoutSettings, TlsSettings
from resilient_http.settings.retry import HedgeSettings, RetrySettings
from resilient_http.settings.routes import RouteSettings, check_hedge
from resilient_http.settings.templates import check_templates, parse_template
from resilient_http.settings.validation import Model, Wrong, mistake_at, mistakes_at, split_url
from resilient_http.settings.values import OwnHeaderName

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
        chaos: See ChaosSettings; None for none.
        middleware: See MiddlewareSettings.
        balance: See BalanceSettings.
        health: See HealthSettings; None for no checks. Unnamed upstreams have one endpoint, and are not checked.
        routes: Method and path template, as "GET /charges/{id}", to what its calls go by; see RouteSettings.
        propagate: Trace headers to send: "tracecontext", "none", or "all" (with baggage, for upstreams of one's own).
        deadline_header: Header that tells it how long we wait for this attempt, None for none. As
            `"x-envoy-expected-rq-timeout-ms"`, `"grpc-timeout"` or `{"name": "request-timeout", "unit": "s"}`.
        attempt_header: Header that tells it which attempt this is, from 1 on; None for none. Of a repeat of an inbound
            request's it never says 1.
        idempotency_key: "auto" gives each call with a method that is not idempotent an `Idempotency-Key` of its own,
            the same for all its attempts, and so lets it be repeated; for upstreams that honour the header.
        trust_dependency_marker: Whether its answer `X-Dependency-Down` is believed: that a service behind it is down,
            so that the answer is neither repeated nor counted against it.
        tls: See TlsSettings.
        http2: Whether HTTP/2 is offered to https endpoints (needs the extra `http2`).
        proxy: URL of a proxy that connections go through. The certificate of an https one may be signed by the
            backend's trusted authorities or by those of a `tls.verify` bundle; `tls.verify: false` does not extend to
            it.
    """

    endpoints: tuple[EndpointSettings, ...] = ()
    discovery: DiscoverySettings | None = None
    host: str | None = None
    timeout: TimeoutSettings = TimeoutSettings()
    pool: Annotated[PoolSettings, NEW_CONNECTIONS] = PoolSettings()
    retry: RetrySettings | None = RetrySettings()
    hedge: HedgeSettings | None = None
    circuit: CircuitSettings | None = CircuitSettings()
    concurrency: ConcurrencySettings | None = ConcurrencySettings()
    rate_limit: RateLimitSettings | None = None
    pauses: PauseSettings | None = PauseSettings()
    priority: Priority | None = None
    priority_header: OwnHeaderName | None = None
    fallback: FallbackSettings | None = None
    chaos: ChaosSettings | None = None
    middleware: MiddlewareSettings = MiddlewareSettings()
    balance: BalanceSettings = BalanceSettings()
    health: HealthSettings | None = None
    routes: Mapping[str, RouteSettings] = {}
    propagate: Literal["none", "tracecontext", "all"] = "tracecontext"
    deadline_header: DeadlineHeader | None = None
    attempt_header: OwnHeaderName | None = None
    idempotency_key: Literal["auto"] | None = None
    trust_dependency_marker: bool = False
    tls: Annotated[TlsSettings, NEW_CONNECTIONS] = TlsSettings()
    http2: Annotated[bool, NEW_CONNECTIONS] = False
    proxy: Annotated[SecretStr | None, NEW_CONNECTIONS] = None

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
    def _hedges_can_be_sent(self) -> Self:
        check_hedge(self)
        return self

    @field_validator("routes")
    @classmethod
    def _are_templates(cls, routes: Mapping[str, RouteSettings]) -> Mapping[str, RouteSettings]:
        wrong = list(_no_templates(routes))
        if wrong:
            raise mistakes_at(wrong)
        check_templates(routes)
        return routes

    def routed(self, route: str | None) -> UpstreamSettings:
        """The settings that calls of a route go by; None for those of no route."""
        own = {} if route is None else {key: getattr(self.routes[route], key) for key in OF_A_ROUTE}
        given = self.routes[route].model_fields_set if route is not None else set()
        routed = self.model_copy(update={**own, "routes": {}})
        routed.model_fields_set.difference_update({"routes"}, set(own) - given)
        return routed

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


def chaos_of(upstream: UpstreamSettings) -> Iterator[tuple[tuple[str, ...], ChaosSettings]]:
    """The chaos of an upstream and of its routes, where they have any; a route's that it inherits is told once."""
    if upstream.chaos is not None:
        yield ("chaos",), upstream.chaos
    for name, route in upstream.routes.items():
        if route.chaos is not None and route.chaos != upstream.chaos:
            yield ("routes", name, "chaos"), route.chaos


def _no_templates(routes: Iterable[str]) -> Iterator[Wrong]:
    for text in routes:
        try:
            parse_template(text)
        except ValueError as exc:
            yield (text,), str(exc), ()
