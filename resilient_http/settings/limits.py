"""The settings of limits of our own, and their defaults."""

from __future__ import annotations

from resilient_http.settings.validation import Model
from resilient_http.settings.values import Count, Size


class ConcurrencySettings(Model):
    """How many attempts of an upstream may be under way at once; the one limiter before the pool.

    Attributes:
        limit: Most attempts under way, in this process.
        queue: Most first attempts waiting; repeats never wait. Beyond it calls are refused (Saturated).
    """

    limit: Count = 100
    queue: Size = 100
