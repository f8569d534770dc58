"""HTTP: a document at a URL, asked for again and again, with the ETag of the last answer (RFC 9110, section 8.8.3).

An answer of 304 says that it is as it was. Where there is no ETag, the whole answer says so.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from resilient_http.settings.watch import WatchHttpSettings
from resilient_http.upstreams.documents.document import MOST
from resilient_http.upstreams.sources.control import GOOD, Control
from resilient_http.upstreams.sources.source import SourceFailed

UNCHANGED = 304


class HttpDocument:
    """What stands at a URL.

    Args:
        settings: The URL, and how it is asked.
        library: httpx, or httpx2.
        timeout: Seconds to wait for an answer.
    """

    def __init__(self, settings: WatchHttpSettings, library: Any, timeout: float) -> None:
        parts = urlsplit(settings.url.get_secret_value())
        self._control = Control(library, [f"{parts.scheme}://{parts.netloc}"], settings.tls, timeout)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        self._at = () if settings.at is None else settings.at.split(".")
        self._tag: str | None = None
        self._last: Any = None

    def resolve(self) -> Any:
        """What stands there."""
        asks = {} if self._tag is None else {"if-none-match": self._tag}
        with self._control.ask("GET", self._path, headers={**self._headers, **asks}, good=(*GOOD, UNCHANGED)) as answer:
            if answer.status_code == UNCHANGED:
                if self._tag is None:
                    raise SourceFailed("it answered 304, and was not asked whether anything has changed")
                return self._last
            self._last, tag = self._within(self._control.body(answer, MOST)), answer.headers.get("etag", "")
            self._tag = tag if tag and tag.isascii() else None  # what is more cannot be said back
            return self._last

    def close(self) -> None:
        """End what waits."""
        self._control.close()

    def _within(self, content: bytes) -> Any:
        if not self._at:
            return content
        try:
            said = json.loads(content)
            for key in self._at:
                said = said[key]
        except (ValueError, RecursionError, LookupError, TypeError):
            raise SourceFailed(f"the answer has nothing at {'.'.join(self._at)}") from None
        return said
