"""Redaction: what of a URL and of headers may be shown to whoever reads logs and traces.

A URL loses its credentials, its fragment and the values of its query, but for the parameters that are allowed by name.
Of headers the values of those are shown that are allowed by name, and of the others the name.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote_plus, urlsplit

HIDDEN = "REDACTED"
LONGEST = 2000  # characters of a URL that are shown
_SPECIAL = frozenset("?@#")


def shown_url(url: object, allowed: frozenset[str] = frozenset()) -> str:
    """A URL as it may be shown.

    Args:
        url: Its text, or an httpx.URL.
        allowed: Query parameters whose values may be shown.
    """
    text = str(url)
    if len(text) <= LONGEST and _SPECIAL.isdisjoint(text):
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return HIDDEN
    netloc = parts.netloc.rpartition("@")[2]
    query = "&".join(_shown_pair(pair, allowed) for pair in parts.query.split("&")) if parts.query else ""
    start = f"{parts.scheme}://{netloc}" if netloc else ""
    return f"{start}{parts.path}{'?' if query else ''}{query}"[:LONGEST]


def shown_headers(lines: Iterable[tuple[str, str]], allowed: frozenset[str]) -> dict[str, str]:
    """Headers as they may be shown; values of one name joined.

    Args:
        lines: Name in lower case, and value.
        allowed: Names, in lower case, whose values may be shown.
    """
    shown: dict[str, str] = {}
    for name, value in lines:
        if name not in allowed:
            shown[name] = HIDDEN
        else:
            shown[name] = f"{shown[name]}, {value}" if name in shown else value
    return shown


def _shown_pair(pair: str, allowed: frozenset[str]) -> str:
    name, equals, _ = pair.partition("=")
    if not equals:
        return HIDDEN if pair else ""  # without a name it is a value
    return pair if unquote_plus(name) in allowed else f"{name}={HIDDEN}"
