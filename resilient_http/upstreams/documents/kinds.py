"""Kinds: the settings of what is watched become a source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from resilient_http.settings.watch import WatchSettings
from resilient_http.upstreams.documents.consul import ConsulDocument
from resilient_http.upstreams.documents.etcd import EtcdDocument
from resilient_http.upstreams.documents.file import FileDocument
from resilient_http.upstreams.documents.http import HttpDocument
from resilient_http.upstreams.documents.redis import RedisDocument
from resilient_http.upstreams.redis_client import where as where_redis


class FunctionDocument:
    """What a function of the user's gives.

    Args:
        function: It.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function

    def resolve(self) -> Any:
        """Call it."""
        return self._function()


def make_document(settings: WatchSettings, library: Any) -> Any:
    """The source.

    Args:
        settings: Which.
        library: httpx, or httpx2.
    """
    timeout, interval = settings.timeout, settings.interval
    if settings.file is not None:
        return FileDocument(settings.file, interval)
    if settings.etcd is not None:
        return EtcdDocument(settings.etcd, library, timeout, interval)
    if settings.consul is not None:
        return ConsulDocument(settings.consul, library, timeout, interval)
    if settings.redis is not None:
        return RedisDocument(settings.redis, timeout, interval)
    if settings.http is not None:
        return HttpDocument(settings.http, library, timeout)
    function: Any = settings.source
    return FunctionDocument(function)


def where_document(settings: WatchSettings) -> str:
    """What is asked, for people; without credentials."""
    if settings.file is not None:
        return f"file {settings.file}"
    if settings.etcd is not None:
        return f"etcd at {', '.join(settings.etcd.url)}, key {settings.etcd.key}"
    if settings.consul is not None:
        return f"Consul at {settings.consul.url}, key {settings.consul.key}"
    if settings.redis is not None:
        return f"{where_redis(settings.redis.redis.get_secret_value())}, key {settings.redis.key}"
    if settings.http is not None:
        parts = urlsplit(settings.http.url.get_secret_value())
        return f"{parts.scheme}://{parts.netloc}{parts.path}"
    function: Any = settings.source
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"
