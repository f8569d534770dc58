"""etcd v3: a document as the value of one key; see sources/etcd_keys.py. No key, no document."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from typing import Any

from resilient_http.settings.watch import WatchEtcdSettings
from resilient_http.upstreams.sources.etcd_keys import EtcdKeys, one_key


class EtcdDocument:
    """The value of a key.

    Args:
        settings: The key, and whom to ask.
        library: httpx, or httpx2.
        timeout: Seconds to wait for an answer.
        interval: Seconds without a word after which it is read anew.
    """

    def __init__(self, settings: WatchEtcdSettings, library: Any, timeout: float, interval: float) -> None:
        self._keys = EtcdKeys(settings, library, timeout, interval, one_key(settings.key))

    def watch(self, stop: threading.Event) -> Iterator[bytes | None]:
        """The value now, and after each change."""
        for values in self._keys.watch(stop):
            value = next(iter(values.values()), None)
            yield None if value is None else base64.b64decode(value)

    def close(self) -> None:
        """End the watch."""
        self._keys.close()
