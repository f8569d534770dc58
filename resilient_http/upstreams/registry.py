"""Registry: finds the upstream of a URL.

Laws
    1. A name of the settings, used as host without an explicit port, is that upstream.
    2. Any other origin is an unnamed upstream with the default settings and state of its own, made on first use.
    3. At most `limit` of those are kept; the one unused for longest goes, never one that a call is in, or whose answer
       is being read. While more than that are in use, all of them are kept, and the one left last.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from resilient_http.state.endpoint import Endpoint
from resilient_http.upstreams.upstream import Record, Upstream

LOOKS = 8  # unnamed upstreams that one call looks at, at most, to find some that can go
DEFAULT_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int | None]


class _Kept:
    """An unnamed upstream, and how many calls are in it."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.calls = 0

    @property
    def in_use(self) -> bool:
        return bool(self.calls) or any(member.in_flight for member in self.upstream.endpoints.members)


class Registry:
    """The upstreams of a process. Thread-safe.

    Args:
        named: Name to upstream.
        limit: Most unnamed ones.
        build: Makes an unnamed upstream for an endpoint (scheme, host, port).
        retire: Told about the endpoints of an unnamed upstream that was dropped.

    Attributes:
        limit: May be set to another one.
        departed: What was decided for all that were dropped.
    """

    def __init__(
        self,
        named: Mapping[str, Upstream],
        limit: int,
        build: Callable[[str, str, int], Upstream],
        retire: Callable[[Endpoint], object],
    ) -> None:
        self.named = dict(named)
        self.limit = limit
        self._build = build
        self._retire = retire
        self.departed = Record()
        self._unnamed: dict[Origin, _Kept] = {}
        self._left: OrderedDict[Origin, None] = (
            OrderedDict()
        )  # those that no call is in, the one left longest ago first
        self._lock = threading.Lock()

    def find(self, url: Any, *, entering: int = 0) -> Upstream:
        """The upstream of an httpx.URL.

        Args:
            url: The URL.
            entering: How many calls enter it; each has to leave() an unnamed one.
        """
        # As it goes over the wire: httpx decodes xn-- names, and encodes others by IDNA 2008.
        host, port = url.raw_host.decode("ascii"), url.port
        if port is None:
            named = self.named.get(host)
            if named is not None:
                return named
        origin = (url.scheme, host, port)
        with self._lock:
            kept = self._unnamed.get(origin)
            if kept is None:
                upstream = self._build(*origin[:2], port or DEFAULT_PORTS.get(url.scheme, 0))
                kept = self._unnamed[origin] = _Kept(upstream)
            dropped = self._counted(origin, kept, entering)
        self._tell(dropped)
        return kept.upstream

    def leave(self, url: Any) -> None:
        """A call has left the unnamed upstream of a URL."""
        origin = (url.scheme, url.raw_host.decode("ascii"), url.port)
        with self._lock:
            dropped = self._counted(origin, self._unnamed[origin], -1)
        self._tell(dropped)

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
            for kept in self._unnamed.values():
                kept.upstream = changed(kept.upstream)
        return [upstream for name, upstream in before.items() if name not in named]

    def all(self) -> dict[str, Upstream]:
        """Every upstream that is known, by name or origin."""
        with self._lock:
            return {**self.named, **{kept.upstream.name: kept.upstream for kept in self._unnamed.values()}}

    def _counted(self, origin: Origin, kept: _Kept, calls: int) -> Sequence[Upstream]:
        """So many calls more are in it. Those that are dropped now; the lock is held."""
        kept.calls += calls
        self._left.pop(origin, None)
        if not kept.calls:
            self._left[origin] = None
        dropped: list[Upstream] = []
        for _ in range(
            min(LOOKS, len(self._left) - 1)
        ):  # the last left stays, or among busy ones it would learn nothing
            if len(self._unnamed) <= self.limit:
                break
            oldest = self._left.popitem(last=False)[0]
            if self._unnamed[oldest].in_use:  # somebody reads an answer
                self._left[oldest] = None
            else:
                dropped.append(self._unnamed.pop(oldest).upstream)
        return dropped

    def _tell(self, dropped: Sequence[Upstream]) -> None:
        for upstream in dropped:
            self.departed.include(upstream.record)
            for endpoint in upstream.endpoints.members:
                self._retire(endpoint)
