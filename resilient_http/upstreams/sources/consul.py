"""Consul: the instances of a service, by blocking queries to its HTTP API.

    GET /v1/health/service/NAME?passing&tag=...&dc=...&index=...&wait=60s

The answer's X-Consul-Index goes into the next question, which then waits for a change. An index that goes backwards is
forgotten; one that is not above 0 counts as 1, so that the next question waits. Where there is none (a cache on the way
may drop it), the question is asked every `interval` seconds.

Source: Consul's API documentation, pages "Health HTTP Endpoint" (List Service Instances for Service), "Blocking
Queries", "Authentication" (X-Consul-Token). Tried with a server that was written from them, not with Consul itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from resilient_http.settings.discovery import ConsulSettings
from resilient_http.upstreams.sources.control import Control, parsed
from resilient_http.upstreams.sources.dns import url
from resilient_http.upstreams.sources.source import Found, SourceFailed

LATER = 1 / 16  # share of `wait` by which the answer may come later, as Consul spreads them
PACE = 0.25  # seconds between two questions at least


class Consul:
    """The instances of a service. A DiscoverySource.

    Args:
        settings: The service, and whom to ask.
        library: httpx, or httpx2.
        timeout: Seconds to wait for an answer, beyond what the question waits.
        interval: Seconds between two questions where they cannot wait.
    """

    def __init__(self, settings: ConsulSettings, library: Any, timeout: float, interval: float) -> None:
        self._settings = settings
        self._interval = interval
        self._control = Control(library, [settings.url], settings.tls, timeout)
        self._path = f"/v1/health/service/{quote(settings.service, safe='')}"
        token = settings.token
        self._headers = {} if token is None else {"x-consul-token": token.get_secret_value()}
        self._params: list[tuple[str, str]] = [("tag", tag) for tag in settings.tags]
        if settings.passing:
            self._params.append(("passing", "1"))
        if settings.datacenter is not None:
            self._params.append(("dc", settings.datacenter))

    def watch(self, stop: threading.Event) -> Iterator[Found]:
        """The instances now, and after each question that waited."""
        index: int | None = None
        while not stop.is_set():
            instances, newest = self._ask(index)
            yield [_endpoint(each, self._settings.scheme) for each in instances]
            index = _next(index, newest)
            stop.wait(self._interval if newest is None else PACE)

    def close(self) -> None:
        """End the question that waits."""
        self._control.close()

    def _ask(self, index: int | None) -> tuple[list[Any], int | None]:
        params, wait = list(self._params), 0.0
        if index is not None:
            wait = self._settings.wait
            params += [("index", str(index)), ("wait", f"{max(1, round(1000 * wait))}ms")]
        with self._control.ask(
            "GET", self._path, headers=self._headers, params=params, wait=wait * (1 + LATER)
        ) as response:
            response.read()
            instances = parsed(response)
            if not isinstance(instances, list):
                raise SourceFailed("garbage: the answer is not that of Consul")
            return instances, _index(response.headers.get("x-consul-index"))


def _index(header: str | None) -> int | None:
    return int(header) if header is not None and header.lstrip("-").isdecimal() else None


def _next(before: int | None, newest: int | None) -> int | None:
    """What the next question waits behind; None for none."""
    if newest is None:
        return None
    newest = max(1, newest)
    return None if before is not None and newest < before else newest


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
