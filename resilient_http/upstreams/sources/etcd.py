"""etcd v3: the values below a prefix; see etcd_keys.py."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from typing import Any

from resilient_http.settings.discovery import EtcdSettings
from resilient_http.settings.endpoints import EndpointSettings
from resilient_http.upstreams.sources.etcd_keys import EtcdKeys, below
from resilient_http.upstreams.sources.source import Found

KNOWN = frozenset(EndpointSettings.model_fields)


class Etcd:
    """The values below a prefix. A DiscoverySource.

    Args:
        settings: The prefix, and whom to ask.
        library: httpx, or httpx2.
        timeout: Seconds to wait for an answer.
        interval: Seconds without a word after which everything is read anew.
    """

    def __init__(self, settings: EtcdSettings, library: Any, timeout: float, interval: float) -> None:
        self._keys = EtcdKeys(settings, library, timeout, interval, below(settings.prefix))

    def watch(self, stop: threading.Event) -> Iterator[Found]:
        """The values now, and after each change."""
        for values in self._keys.watch(stop):
            yield list(map(_endpoint, values.values()))

    def close(self) -> None:
        """End the watch."""
        self._keys.close()


def _endpoint(value: Any) -> Any:
    """What a value says: a URL, or a mapping; None for neither."""
    try:
        text = base64.b64decode(value, validate=True).decode().strip()
        said = json.loads(text) if text[:1] in ('"', "{") else text
    except (TypeError, ValueError, RecursionError):
        return None
    # Whoever registered it may have said more than concerns us.
    return {key: each for key, each in said.items() if key in KNOWN} if isinstance(said, dict) else said
