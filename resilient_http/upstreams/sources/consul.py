"""Consul: the instances of a service, by blocking queries to its HTTP API; see consul_query.py.

    GET /v1/health/service/NAME?passing&tag=...&dc=...

Source: Consul's API documentation, page "Health HTTP Endpoint" (List Service Instances for Service). Tried with a
server that was written from it, not with Consul itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from resilient_http.settings.discovery import ConsulSettings
from resilient_http.upstreams.sources.consul_query import ConsulQuery
from resilient_http.upstreams.sources.control import Control
from resilient_http.upstreams.sources.dns import url
from resilient_http.upstreams.sources.source import Found


class Consul:
    """The instances of a service. A DiscoverySource.

    Args:
        settings: The service, and whom to ask.
        library: httpx, or httpx2.
        timeout: Seconds to wait for an answer, beyond what the question waits.
        interval: Seconds between two questions where they cannot wait.
    """

    def __init__(self, settings: ConsulSettings, library: Any, timeout: float, interval: float) -> None:
        self._scheme = settings.scheme
        params: list[tuple[str, str]] = [("tag", tag) for tag in settings.tags]
        if settings.passing:
            params.append(("passing", "1"))
        if settings.datacenter is not None:
            params.append(("dc", settings.datacenter))
        self._query = ConsulQuery(
            Control(library, [settings.url], settings.tls, timeout),
            f"/v1/health/service/{quote(settings.service, safe='')}",
            params,
            token=settings.token,
            wait=settings.wait,
            interval=interval,
        )

    def watch(self, stop: threading.Event) -> Iterator[Found]:
        """The instances now, and after each question that waited."""
        for instances in self._query.watch(stop):
            yield [_endpoint(each, self._scheme) for each in instances]

    def close(self) -> None:
        """End the question that waits."""
        self._query.close()


def _endpoint(instance: Any, scheme: str) -> Any:
    """An instance as an endpoint; None for what is none."""
    try:
        service = instance["Service"]
        host = service.get("Address") or instance["Node"]["Address"]
        port = service["Port"]
        weight = (service.get("Weights") or {}).get("Passing", 1)
    except (AttributeError, KeyError, TypeError):
        return None
    if not isinstance(host, str):
        return None
    if not isinstance(weight, int) or isinstance(weight, bool) or weight < 1:
        weight = 1
    return {"url": url(scheme, host, port), "weight": weight}
