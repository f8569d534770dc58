"""Registry: finds the upstream of a URL.

Laws
    1. A name of the settings, used as host without an explicit port, is that upstream.
    2. Any other origin is an unnamed upstream with the default settings and state of its own, made on first use.
    3. At most `UNNAMED` of those are kept; the one unused for longest goes, never one with a request in flight.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from resilient_http.state.endpoint import Endpoint
from resilient_http.upstreams.upstream import Record, Upstream

UNNAMED = 1000
DEFAULT_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int | None]


class Registry:
    """The upstreams of a process. Thread-safe.

    Args:
        named: Name to upstream.
        build: Makes an unnamed upstream for an endpoint (scheme, host, port).
        retire: Told about the endpoints of an unnamed upstream that was dropped.

    Attributes:
        departed: What was decided for all that were dropped.
    """

    def __init__(
        self,
        named: Mapping[str, Upstream],
        build: Callable[[str, str, int], Upstream],
        retire: Callable[[Endpoint], object],
    ) -> None:
        self.named = dict(named)
        self._build = build
        self._retire = retire
        self.departed = Record()
        self._unnamed: OrderedDict[Origin, Upstream] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, url: Any) -> Upstream:
        """The upstream of an httpx.URL."""
        # As it goes over the wire: httpx decodes xn-- names, and encodes others by IDNA 2008.
        host, port = url.raw_host.decode("ascii"), url.port
        if port is None:
            named = self.named.get(host)
            if named is not None:
                return named
        origin = (url.scheme, host, port)
        with self._lock:
            upstream = self._unnamed.get(origin)
            if upstream is not None:
                self._unnamed.move_to_end(origin)
                return upstream
            upstream = self._unnamed[origin] = self._build(*origin[:2], port or DEFAULT_PORTS.get(url.scheme, 0))
            dropped = self._drop_oldest() if len(self._unnamed) > UNNAMED else None
        if dropped is not None:
            self.departed.include(dropped.record)
            for endpoint in dropped.endpoints.members:
                self._retire(endpoint)
        return upstream

    def replace(self, named: Mapping[str, Upstream], changed: Callable[[Upstream], Upstream]) -> list[Upstream]:
        """Have other upstreams from now on: the named ones are swapped at once.

        Args:
            named: Name to upstream.
            changed: An unnamed one as it is to be now.

        Returns:
            The named ones that are gone.
        """
        with self._lock:
            before, self.named = self.named, dict(named)
            for origin, upstream in self._unnamed.items():
                self._unnamed[origin] = changed(upstream)
        return [upstream for name, upstream in before.items() if name not in named]

    def all(self) -> dict[str, Upstream]:
        """Every upstream that is known, by name or origin."""
        with self._lock:
            return {**self.named, **{upstream.name: upstream for upstream in self._unnamed.values()}}

    def _drop_oldest(self) -> Upstream | None:
        for origin, upstream in self._unnamed.items():
            if not any(member.in_flight for member in upstream.endpoints.members):
                del self._unnamed[origin]
                return upstream
        return None
