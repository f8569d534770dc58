"""The settings of endpoints, and of how one is chosen. Durations are float seconds, ratios 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from resilient_http.settings.validation import Model, mistake_at, not_bool, split_url
from resilient_http.settings.values import HeaderName, KeyFunction, PositiveRatio, Seconds

DEFAULT_PORTS = {"http": 80, "https": 443}
Zone = Annotated[str, Field(min_length=1, max_length=255)]


class EndpointSettings(Model):
    """One node of an upstream.

    Attributes:
        url: Its origin: scheme, host and port, nothing more.
        weight: Its share of the traffic relative to its siblings.
        backup: Used only when no other endpoint is admitted, or the call has tried all others.
        zone: Where it stands: endpoints of the root's `zone` are preferred. None where that is not known.
    """

    short: ClassVar[Mapping[str, Any]] = {"type": "string", "format": "uri"}
    listed: ClassVar[bool] = True

    url: str
    weight: Annotated[float, BeforeValidator(not_bool), Field(gt=0, le=1e6, allow_inf_nan=False)] = 1.0
    backup: bool = False
    zone: Zone | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_url(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str) else value

    @field_validator("url")
    @classmethod
    def _is_origin(cls, url: str) -> str:
        parts = split_url(url, ("http", "https"), like="http://10.0.0.1:8080")
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
        return parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]


def node_url(url: str) -> str:
    """An origin as status() has it, however it was written: http://n1 for HTTP://N1:80/.

    Raises:
        ValueError: It is none.
    """
    scheme, host, port = EndpointSettings.model_construct(url=EndpointSettings._is_origin(url)).origin  # noqa: SLF001
    bracketed = f"[{host}]" if ":" in host else host
    return f"{scheme}://{bracketed}" + ("" if port == DEFAULT_PORTS[scheme] else f":{port}")


def one_upstreams(endpoints: tuple[EndpointSettings, ...]) -> tuple[EndpointSettings, ...]:
    """The endpoints as they are, if they can be those of one upstream.

    Raises:
        ValueError: They cannot.
    """
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


class BalanceSettings(Model):
    """How an endpoint is chosen for an attempt. `"ewma"` is short for `{"by": "ewma"}`.

    Attributes:
        by: "p2c" (of two drawn at random, the one with fewer requests in flight), "weighted" (in turn), "ewma" (p2c by
            latency), or "hash" (calls with the same key go to the same endpoint).
        header: For "hash": the request header that is the key.
        key: For "hash": a plain function of the request, or its dotted path, that gives the key, a string, or None for
            none.
        bound: For "hash": how many times its share of what is in flight an endpoint may have. Above 1.
        decay: For "ewma": seconds in which an old latency fades to 1/e.
        slow_start: Seconds over which an endpoint that is new, or back, takes its share; None for at once.
        panic: Share of the endpoints; when more are to be left alone because they are slow, ill or asked for it, all
            are used. 0 < share <= 1.
    """

    short: ClassVar[Mapping[str, Any]] = {"enum": ["p2c", "weighted", "ewma"]}

    by: Literal["p2c", "weighted", "ewma", "hash"] = "p2c"
    header: HeaderName | None = None
    key: KeyFunction | None = None
    bound: Annotated[float, BeforeValidator(not_bool), Field(gt=1, allow_inf_nan=False)] = 1.25
    decay: Seconds = 10.0
    slow_start: Seconds | None = None
    panic: PositiveRatio = 0.7

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"by": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_its_key(self) -> Self:
        given = [name for name in ("header", "key") if getattr(self, name) is not None]
        if self.by == "hash" and len(given) != 1:
            raise mistake_at("by", message='"hash" needs `header` or `key`, and not both')
        if self.by != "hash" and given:
            raise mistake_at(given[0], message=f'only balance.by "hash" has a key, not "{self.by}"')
        return self
