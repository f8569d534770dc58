"""Kinds: the settings of discovery become a source."""

from __future__ import annotations

import inspect
from typing import Any

from resilient_http.settings.discovery import DiscoverySettings
from resilient_http.upstreams.sources.consul import Consul
from resilient_http.upstreams.sources.dns import Dns
from resilient_http.upstreams.sources.etcd import Etcd
from resilient_http.upstreams.sources.srv import Srv


def make_source(settings: DiscoverySettings, library: Any) -> Any:
    """The source: one of ours, or the user's.

    Args:
        settings: Which.
        library: httpx, or httpx2.
    """
    timeout, interval = settings.timeout, settings.interval
    if settings.dns is not None:
        return Dns(settings.dns, timeout)
    if settings.srv is not None:
        return Srv(settings.srv, timeout)
    if settings.etcd is not None:
        return Etcd(settings.etcd, library, timeout, interval)
    if settings.consul is not None:
        return Consul(settings.consul, library, timeout, interval)
    return settings.source() if inspect.isclass(settings.source) else settings.source


def goes_on(before: DiscoverySettings | None, settings: DiscoverySettings | None) -> bool:
    """Whether the source of the ones is that of the others: a user's object is, for it knows nothing of our numbers."""
    if before is None or settings is None or before == settings:
        return before == settings
    return settings.source is not None and settings.source is before.source and not inspect.isclass(settings.source)


def where(settings: DiscoverySettings) -> str:
    """What is asked, for people. The settings see to it that no URL holds credentials."""
    if settings.dns is not None:
        return f"DNS for {settings.dns.name}"
    if settings.srv is not None:
        return f"DNS for SRV {settings.srv.name}"
    if settings.etcd is not None:
        return f"etcd at {', '.join(settings.etcd.url)} for {settings.etcd.prefix}"
    if settings.consul is not None:
        return f"Consul at {settings.consul.url} for {settings.consul.service}"
    kind = settings.source if inspect.isclass(settings.source) else type(settings.source)
    return f"{kind.__module__}.{kind.__qualname__}"
