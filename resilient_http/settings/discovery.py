"""The settings of discovery: where an upstream's nodes are asked for. Durations are float seconds."""

from __future__ import annotations

import inspect
import re
from importlib.util import find_spec
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from resilient_http.settings.registries import ConsulAccess, EtcdAccess, Listed, Name
from resilient_http.settings.validation import LABEL, Model, not_bool
from resilient_http.settings.values import Imported, Seconds, is_async

KINDS = ("dns", "srv", "etcd", "consul", "source")
HOST_NAME = re.compile(rf"{LABEL}(\.{LABEL})*\.?")
ADDRESS = re.compile(r"\[[0-9A-Fa-f:.]+\]:\d{1,5}|[^\s:@/\[\]]+:\d{1,5}")

Scheme = Literal["http", "https"]
PortNumber = Annotated[int, BeforeValidator(not_bool), Field(ge=1, le=65535)]


def _is_host_name(name: str) -> str:
    if not HOST_NAME.fullmatch(name):
        message = "a name like payments.svc.example is needed"
        raise ValueError(message)
    return name


class _NameServiceSettings(Model):
    """What questions to a name service have in common.

    Attributes:
        name: The name.
        scheme: "http" or "https".
        resolver: Name servers as "10.0.0.53:53", one or a list; none for the system's.
        min_ttl: Fewest seconds between two questions, whatever the answer says.
        max_ttl: Most seconds between two questions.
    """

    name: Name
    scheme: Scheme = "http"
    resolver: Annotated[tuple[str, ...], Listed] = ()
    min_ttl: Seconds = 1.0
    max_ttl: Seconds = 60.0

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        return _is_host_name(name)

    @field_validator("resolver")
    @classmethod
    def _are_addresses(cls, resolver: tuple[str, ...]) -> tuple[str, ...]:
        for address in resolver:
            port = address.rpartition(":")[2]
            if not ADDRESS.fullmatch(address) or not 1 <= int(port) <= 65535:
                message = "an address with its port is needed, like 10.0.0.53:53"
                raise ValueError(message)
        return resolver

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if find_spec("dns") is None:
            message = 'needs the extra dns: pip install "resilient-http[dns]"'
            raise ValueError(message)
        if self.max_ttl < self.min_ttl:
            message = f"max_ttl ({self.max_ttl:g} s) is shorter than min_ttl ({self.min_ttl:g} s)"
            raise ValueError(message)
        return self


class DnsSettings(_NameServiceSettings):
    """The addresses (A, AAAA) of a name. The name is also the `Host` header and the TLS name, unless `host` is given.

    Attributes:
        name: The name. It is also the `Host` header and the TLS name, unless `host` is given.
        port: Port of every node.
        scheme: "http" or "https".
        family: "any", or only "ipv4" or "ipv6" addresses.
        resolver: Name servers as "10.0.0.53:53", one or a list; none for the system's.
        min_ttl: Fewest seconds between two questions, whatever the answer says.
        max_ttl: Most seconds between two questions.
    """

    port: PortNumber
    family: Literal["any", "ipv4", "ipv6"] = "any"


class SrvSettings(_NameServiceSettings):
    """The SRV records of a name (RFC 2782): the lowest priority's targets are the nodes, the others are backups.

    Attributes:
        name: The name, like _http._tcp.payments.svc.example.
        scheme: "http" or "https".
        resolver: Name servers as "10.0.0.53:53", one or a list; none for the system's. Targets are looked up there too,
            and the endpoints are addresses.
        min_ttl: Fewest seconds between two questions, whatever the answer says.
        max_ttl: Most seconds between two questions.
    """


class EtcdSettings(EtcdAccess):
    """The keys below a prefix in etcd v3. A value is a URL, or JSON as `endpoints` have it: {"url": ..., "weight": 2}.

    Attributes:
        url: Of a member, or a list: http://10.0.0.5:2379.
        prefix: What the keys begin with.
        user: Who asks, or None without authentication.
        password: Of that user.
        tls: See TlsSettings.
    """

    prefix: Name


class ConsulSettings(ConsulAccess):
    """The instances of a service, as Consul's agent knows them.

    Attributes:
        service: Its name.
        url: Of the agent.
        tags: Only instances with all of these; one or a list.
        datacenter: Where it is asked for; None for the agent's own.
        passing: Whether only instances whose checks pass are taken.
        scheme: "http" or "https": what the instances speak.
        token: Of Consul's ACL, or None.
        wait: Seconds for which a question waits for a change; at most 600, as Consul has it.
        tls: See TlsSettings.
    """

    service: Name
    tags: Annotated[tuple[Name, ...], Listed] = ()
    passing: bool = True
    scheme: Scheme = "http"


class DiscoverySettings(Model):
    """Where the nodes of an upstream are asked for: exactly one of `dns`, `srv`, `etcd`, `consul` and `source`.

    Attributes:
        dns: See DnsSettings.
        srv: See SrvSettings.
        etcd: See EtcdSettings.
        consul: See ConsulSettings.
        source: A DiscoverySource of one's own: an object, or a class that is called without arguments, or the dotted
            path of either.
        interval: Seconds between two readings, where neither the source nor its answer says.
        timeout: Seconds to wait for an answer; no call waits so long that knows nodes already.
        first_wait: Seconds from the first call on, within which calls wait for the first answer (never beyond their
            deadlines). After that they are refused at once until there is one.
        confirm_after: Seconds after which an answer that takes away more than half of the nodes must be repeated before
            it is believed; None for never.
        max_backoff: Most seconds between two tries while the source fails.
    """

    dns: DnsSettings | None = None
    srv: SrvSettings | None = None
    etcd: EtcdSettings | None = None
    consul: ConsulSettings | None = None
    source: Annotated[Imported | None, Field(repr=False)] = None
    interval: Seconds = 30.0
    timeout: Seconds = 2.0
    first_wait: Seconds = 3.0
    confirm_after: Seconds | None = 5.0
    max_backoff: Seconds = 10.0

    @field_validator("source")
    @classmethod
    def _is_source(cls, source: Any) -> Any:
        if source is None:
            return None
        methods = [found for name in ("resolve", "watch") if callable(found := getattr(source, name, None))]
        if not methods:
            message = f"an object with resolve() or watch(stop) is needed, not {type(source).__name__}"
            raise ValueError(message)
        if any(is_async(found) or inspect.isasyncgenfunction(found) for found in methods):
            message = "resolve() and watch(stop) are plain, not async: they run in a thread of their own"
            raise ValueError(message)
        return source

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            found = f"{' and '.join(given)} are given" if given else "none is given"
            message = f"exactly one of dns, srv, etcd, consul and source is needed, but {found}"
            raise ValueError(message)
        return self

    @property
    def kind(self) -> str:
        """Which one it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def scheme(self) -> str | None:
        """What its nodes speak, where the settings say so."""
        own = self.dns or self.srv or self.consul
        return None if own is None else own.scheme

    @property
    def host(self) -> str | None:
        """What its nodes are called all together: for addresses that one name has."""
        if self.dns is None:
            return None
        name, usual = self.dns.name.removesuffix("."), {"http": 80, "https": 443}[self.dns.scheme]
        return name if self.dns.port == usual else f"{name}:{self.dns.port}"
