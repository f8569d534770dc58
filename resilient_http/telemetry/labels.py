"""Labels: few values, however many upstreams and nodes there are."""

from __future__ import annotations

OTHER = "other"
ENDPOINTS = 100  # of an upstream, at once
EVER = 1000  # of an upstream, since the process began: an exporter forgets none


class Labels:
    """Says what upstreams and endpoints are called in metrics. Thread-safe: a race costs one more value at most."""

    def __init__(self) -> None:
        self._known: dict[str, set[str]] = {}
        self._ever: dict[str, int] = {}

    def upstream(self, name: str) -> str:
        """The name of one of the settings', or of a guard; all unnamed ones are "other"."""
        return OTHER if "://" in name else name

    def endpoint(self, upstream: str, url: str) -> str:
        """The URL of one of the first endpoints that an upstream has; "" where none was chosen."""
        if not url:
            return ""
        if "://" in upstream:
            return OTHER
        known = self._known.setdefault(upstream, set())
        if url in known:
            return url
        ever = self._ever.get(upstream, 0)
        if len(known) >= ENDPOINTS or ever >= EVER:
            return OTHER
        self._ever[upstream] = ever + 1
        known.add(url)
        return url

    def forget(self, upstream: str, urls: tuple[str, ...]) -> None:
        """These endpoints are gone, so others may be called by their names."""
        self._known.get(upstream, set()).difference_update(urls)
