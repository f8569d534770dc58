"""Faults: injected for a with block, by the policy that injects them in a staging environment; see docs/chaos.md."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from resilient_http.resilience import Resilience
from resilient_http.settings.chaos import LONGEST
from resilient_http.settings.origins import Source

BY = "resilient_http.testing"


@contextlib.contextmanager
def injected_faults(own: Resilience, upstream: str, route: str | None = None, **faults: Any) -> Iterator[None]:
    """Have faults injected into the calls of an upstream, for a with block; at its end the settings are as before.

    Args:
        own: Whose calls.
        upstream: Its name in the settings.
        route: A route of its settings, as "GET /charges/{id}"; None for all of its calls.
        faults: `latency`, `error`, `abort`, `drip`, `methods`, `seed`, as in the settings.

    Raises:
        SettingsError: Something is wrong.
    """
    before = own.settings
    chaos = {"lasts": LONGEST, **faults}
    section = {"chaos": chaos} if route is None else {"routes": {route: {"chaos": chaos}}}
    allowed = (*before.chaos.allowed, upstream)
    own.reload(before.under((Source(BY), {"chaos": {"allowed": allowed}, "upstreams": {upstream: section}})), by=BY)
    try:
        yield
    finally:
        own.reload(before, by=BY)
