"""Stored response: which good answers may be kept, and which may answer once their origin fails (stale-if-error).

A shared cache's rules; this process answers many people. Sections are RFC 9111's unless another is named.

Laws
    1. Kept is an answer to GET without a body (RFC 9110, section 9.3.1: what one means, nobody knows), with a status
       that is understood (200, 203, 204), and whole (section 3).
    2. Never kept: no-store of either side (5.2.1.5, 5.2.2.5), private (5.2.2.7, its qualified form too), no-cache
       (5.2.2.4: it would need the origin's word), `Vary: *` (4.1), and an answer with Set-Cookie.
    3. A request with credentials (Authorization, section 3.5; Cookie; an API key) is neither kept nor answered, unless
       its owner is part of the key.
    4. It answers a request that says the same, in the fields that Vary names, as the one it was the answer to (4.1).
    5. It is never older than `max_age`. Beyond its freshness it answers for stale-if-error seconds where it says so, or
       the request does (RFC 5861, section 4), and never with must-revalidate (5.2.2.2), proxy-revalidate (5.2.2.8) or
       s-maxage (5.2.2.10). A request's own no-cache (5.2.1.4) and max-age (5.2.1.1) are kept to.
    6. Its age counts from its origin on, caches between included (4.2.3).

Why it is not a library's: see docs/architecture.md.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

UNDERSTOOD = frozenset({200, 203, 204})
HOP_BY_HOP = frozenset({  # section 3.1
    "connection", "keep-alive", "proxy-authenticate", "proxy-authentication-info", "proxy-authorization",
    "proxy-connection", "te", "transfer-encoding", "upgrade",
})  # fmt: skip
CREDENTIALS = re.compile(
    # Anywhere in the name: x-auth-token, x-goog-iap-jwt-assertion, x-amzn-oidc-data, x-ms-client-principal.
    r"auth|token|jwt|oidc|saml|secret|passw|passphrase|session|cookie|credential|signature|assertion|cert|bearer|dpop"
    r"|csrf|xsrf|ticket|client-verify|client-s-dn|tenant|account|principal|identity|email|apikey"
    # As a word of its own: x-forwarded-user and x-user-id, x-pat, x-sid. What sends it is nobody.
    r"|(?<![a-z0-9])(?:user(?!-agent)|userid|username|login|pass|pat|pin|sid|uid|sub)(?![a-z0-9])"
    # x-key and x-access-key, but not what names a message.
    r"|(?<![a-z0-9])(?<!idempotency-)(?<!sec-websocket-)key(?![a-z0-9])"
)
"""What the name of a field has in it that says who asks. The one list of them."""

DIRECTIVE = re.compile(r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^,\s]*)))?')
VARIANTS = 8  # answers kept for one URL, where Vary tells them apart
FORMAT = 1
FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110, section 5.6.2, in lower case
FIELD_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*")  # section 5.5
KNOWN = 256  # sets of header names that need not be looked at again: a client sends the same ones all the time
LONGEST = 2**31  # seconds; "cannot be represented" counts as this (1.2.2)
LATEST = 2**40  # seconds since the epoch; what is later is no time

Headers = tuple[tuple[str, str], ...]


def has_credentials(names: Iterable[str]) -> bool:
    """Whether one of these header names says who asks."""
    return _has_credentials("\n".join(names))


@functools.lru_cache(KNOWN)
def _has_credentials(names: str) -> bool:
    return CREDENTIALS.search(names.lower()) is not None


def has_content(asked: Mapping[str, str]) -> bool:
    """Whether a request carries a body. Source: RFC 9112, section 6."""
    return "transfer-encoding" in asked or ("content-length" in asked and bool(asked["content-length"].strip(" 0")))


def directives(values: str) -> dict[str, str]:
    """The directives of Cache-Control, by lower-case name; "" for one without a value. Source: section 5.2."""
    return {found[1].lower(): found[2] or found[3] or "" for found in DIRECTIVE.finditer(values)}


def seconds_of(found: Mapping[str, str], name: str) -> float | None:
    """The delta-seconds of a directive; 0 for one that is malformed, None without it. Source: section 1.2.2, 4.2.1."""
    if name not in found:
        return None
    text = found[name]
    return float(min(int(text), LONGEST)) if text.isascii() and text.isdigit() and len(text) <= 19 else 0.0


def fields_of(lines: Headers) -> dict[str, str]:
    """Header lines as one value per name; lines of one name are combined. Source: RFC 9110, section 5.3."""
    fields = dict(lines)
    if len(fields) < len(lines):
        fields = {}
        for name, value in lines:
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def may_be_kept(method: str, asked: Mapping[str, str], status: int, told: Mapping[str, str], *, owned: bool) -> bool:
    """Whether an answer may be kept (laws 1 to 3).

    Args:
        method: Of the request.
        asked: Header fields of the request, names in lower case.
        status: Of the answer.
        told: Header fields of the answer, names in lower case.
        owned: Whether the key tells whose it is.
    """
    if method != "GET" or status not in UNDERSTOOD or has_content(asked):
        return False
    if "cache-control" in told and directives(told["cache-control"]).keys() & {"no-store", "private", "no-cache"}:
        return False
    if "cache-control" in asked and "no-store" in directives(asked["cache-control"]):
        return False
    if "vary" in told and "*" in told["vary"]:
        return False
    return owned or not ("set-cookie" in told or has_credentials(asked))


def varying(told: Mapping[str, str], asked: Mapping[str, str]) -> Headers:
    """What Vary names, and what the request said in it; whitespace aside. Source: section 4.1."""
    if "vary" not in told:
        return ()
    names = sorted({name.strip().lower() for name in told["vary"].split(",")} - {""})
    return tuple((name, said(asked, name)) for name in names)


def without_hops(lines: Headers, told: Mapping[str, str]) -> Headers:
    """The header lines that are not the connection's. Source: section 3.1."""
    if HOP_BY_HOP.isdisjoint(told):
        return lines
    gone = HOP_BY_HOP
    if "connection" in told:
        gone |= {name.strip().lower() for name in told["connection"].split(",")}
    return tuple(line for line in lines if line[0] not in gone)


def said(asked: Mapping[str, str], name: str) -> str:
    """What a request says in a field; lines of one name are combined."""
    return ",".join(part.strip() for part in asked.get(name, "").split(","))


class StoredResponse:
    """A good answer that was kept.

    Attributes:
        received: Wall-clock seconds at which it came.
        took: Seconds that it took to come.
        status: Its status.
        headers: Its header lines, names in lower case, without those of the connection.
        body: Its body, as it came: encoded where Content-Encoding says so.
        vary: What the request that it answered said in the fields that Vary names.
    """

    __slots__ = ("body", "headers", "received", "status", "took", "vary")

    def __init__(
        self, received: float, took: float, status: int, headers: Headers, body: bytes, vary: Headers = ()
    ) -> None:
        self.received = received
        self.took = took
        self.status = status
        self.headers = headers
        self.body = body
        self.vary = vary

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredResponse) and self._facts == other._facts

    __hash__ = None  # type: ignore[assignment]  # nobody looks one up

    @property
    def _facts(self) -> tuple[object, ...]:
        return self.received, self.took, self.status, self.headers, self.body, self.vary

    def current_age(self, wall_now: float) -> float:
        """Seconds since its origin made it, or vouched for it."""
        fields = fields_of(self.headers)
        date, told = _date(fields.get("date")), fields.get("age", "").strip()
        apparent = 0.0 if date is None else max(0.0, self.received - date)
        corrected = (float(told) if told.isascii() and told.isdigit() and len(told) <= 10 else 0.0) + self.took
        return max(apparent, corrected) + max(0.0, wall_now - self.received)

    def answers(self, asked: Mapping[str, str], *, wall_now: float, max_age: float) -> bool:
        """Whether it may answer a request now that its origin has failed (laws 4 and 5)."""
        if any(said(asked, name) != value for name, value in self.vary):
            return False
        age, wish = self.current_age(wall_now), directives(asked.get("cache-control", ""))
        if "no-cache" in wish or wall_now - self.received > max_age:
            return False
        asked_age = seconds_of(wish, "max-age")
        if asked_age is not None and age > asked_age:
            return False
        fields = fields_of(self.headers)
        control = directives(fields.get("cache-control", ""))
        stale = age - _freshness(fields, control)
        if stale < 0:
            return True
        if control.keys() & {"must-revalidate", "proxy-revalidate", "s-maxage"}:
            return False
        allowed = [seconds_of(told, "stale-if-error") for told in (control, wish)]
        return stale <= min((seconds for seconds in allowed if seconds is not None), default=math.inf)

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        size = len(self.body) + 500
        for name, value in self.headers + self.vary:
            size += len(name) + len(value)
        return size


def with_variant(kept: tuple[StoredResponse, ...], newest: StoredResponse) -> tuple[StoredResponse, ...]:
    """The answers to keep for one URL: the newest, and those that other requests were answered, as Vary tells."""
    if not newest.vary:
        return (newest,)
    names = [name for name, _ in newest.vary]
    others = [one for one in kept if one.vary != newest.vary and [name for name, _ in one.vary] == names]
    return (newest, *others[: VARIANTS - 1])


def pack(kept: tuple[StoredResponse, ...]) -> bytes:
    """As bytes, for a store outside this process."""
    facts = [[one.received, one.took, one.status, one.headers, one.vary, len(one.body)] for one in kept]
    return json.dumps([FORMAT, facts], separators=(",", ":")).encode() + b"\n" + b"".join(one.body for one in kept)


def unpack(packed: Any) -> tuple[StoredResponse, ...]:
    """What pack() was given; nothing for what is not its: another version's, or what somebody else wrote there."""
    if not isinstance(packed, (bytes, bytearray, memoryview)):
        return ()
    head, _, bodies = bytes(packed).partition(b"\n")
    kept, at = [], 0
    try:
        version, facts = json.loads(head)
        if version != FORMAT:
            return ()
        for received, took, status, headers, vary, size in facts:
            if type(size) is not int or size < 0 or type(status) is not int or status not in UNDERSTOOD:
                return ()
            lines, body = _lines(headers), bodies[at : at + size]
            if not all(FIELD_NAME.fullmatch(name) and FIELD_VALUE.fullmatch(value) for name, value in lines):
                return ()
            kept.append(StoredResponse(_seconds(received), _seconds(took), status, lines, body, _lines(vary)))
            at += size
    except (ValueError, TypeError, RecursionError):  # the last: what is nested too deep
        return ()
    return tuple(kept) if at == len(bodies) else ()


def _lines(raw: Any) -> Headers:
    return tuple((str(name), str(value)) for name, value in raw)


def _seconds(raw: Any) -> float:
    if not 0 <= raw <= LATEST:  # NaN is not
        raise ValueError
    return float(raw)


def _freshness(fields: Mapping[str, str], control: Mapping[str, str]) -> float:
    """Seconds for which it is fresh; 0 where nothing says so. Source: section 4.2.1."""
    for name in ("s-maxage", "max-age"):
        told = seconds_of(control, name)
        if told is not None:
            return told
    expires, date = _date(fields.get("expires")), _date(fields.get("date"))
    return 0.0 if expires is None or date is None else max(0.0, expires - date)


def _date(text: str | None) -> float | None:
    try:
        return None if text is None else parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
