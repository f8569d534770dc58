"""Consul: a document as the value of one key, by blocking queries; see sources/consul_query.py. No key, no document.

    GET /v1/kv/KEY?dc=...

Source: Consul's API documentation, page "KV Store Endpoints" (Read Key). Tried with a server that was written from it,
not with Consul itself.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from resilient_http.settings.watch import WatchConsulSettings
from resilient_http.upstreams.sources.consul_query import NOTHING, ConsulQuery
from resilient_http.upstreams.sources.control import GOOD, Control
from resilient_http.upstreams.sources.source import SourceFailed


class ConsulDocument:
    """The value of a key.

    Args:
        settings: The key, and whom to ask.
        library: httpx, or httpx2.
        timeout: Seconds to wait for an answer, beyond what the question waits.
        interval: Seconds between two questions where they cannot wait.
    """

    def __init__(self, settings: WatchConsulSettings, library: Any, timeout: float, interval: float) -> None:
        self._query = ConsulQuery(
            Control(library, [settings.url], settings.tls, timeout),
            f"/v1/kv/{quote(settings.key.strip('/'))}",
            [] if settings.datacenter is None else [("dc", settings.datacenter)],
            token=settings.token,
            wait=settings.wait,
            interval=interval,
            good=(*GOOD, NOTHING),
        )

    def watch(self, stop: threading.Event) -> Iterator[bytes | None]:
        """The value now, and after each question that waited."""
        for said in self._query.watch(stop):
            try:
                yield base64.b64decode(said[0]["Value"] or "") if said else None
            except (KeyError, TypeError, ValueError):
                raise SourceFailed("garbage: the answer is not that of Consul") from None

    def close(self) -> None:
        """End the question that waits."""
        self._query.close()
