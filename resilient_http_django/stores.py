"""Stores: Django's caches as places for the last good answers (`fallback.stale.store`).

    "FALLBACK": {"STALE": {"MAX_AGE": 300, "STORE": "resilient_http_django.stores.default"}}

What stands in settings before the caches do can be named only by a path; another cache than the default one is named by
a path to a store of one's own: `stale = DjangoCache("stale")`.
"""

from __future__ import annotations

from typing import Any

from django.core.cache import caches


class DjangoCache:
    """One of Django's caches. Thread-safe: each thread has its own connection, as everywhere in Django.

    Args:
        alias: Its name in CACHES; looked up when it is first used.
    """

    def __init__(self, alias: str = "default") -> None:
        self.alias = alias

    def get(self, key: str) -> Any:
        """What was set, or None."""
        return caches[self.alias].get(key)

    def set(self, key: str, value: bytes, ttl: float) -> None:
        """Keep it for so many seconds. Some caches know whole ones only, and 0 is "not at all"."""
        caches[self.alias].set(key, value, max(1, round(ttl)))

    def delete(self, key: str) -> None:
        """Keep it no longer."""
        caches[self.alias].delete(key)


default = DjangoCache()
