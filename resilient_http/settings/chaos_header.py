"""Chaos header: a fault that a person chooses for one inbound request, signed, and with an end inside.

    x-chaos: BASE64URL(JSON).BASE64URL(HMAC-SHA256 of that)

The JSON has the keys of FaultSettings, and `upstream` and `until` (seconds since 1970). Whoever has a header may use it
until then, and nobody can make one without the key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from pydantic import ValidationError

from resilient_http.errors import SettingsError
from resilient_http.settings.chaos import LONGEST, SKEW, FaultSettings
from resilient_http.settings.validation import mistakes_in, settings_error

MOST = 4096  # characters
FOR = b"resilient_http chaos 1\0"  # so that nothing else that is signed with the key can be taken for one


class OrderSettings(FaultSettings):
    """What a header says.

    Attributes:
        upstream: Into whose calls; "*" for all that take orders.
        until: Seconds since 1970.
    """

    upstream: str
    until: float


def chaos_header(key: str, upstream: str, *, lasts: float = 60.0, **faults: Any) -> str:
    """The value of the header that has faults injected into the calls of one inbound request; see docs/chaos.md.

    Args:
        key: `chaos.key` of the settings of whoever gets the request.
        upstream: Into whose calls; "*" for all whose settings have `chaos.by_header`.
        lasts: Seconds from now for which it can be used; at most an hour.
        faults: `latency`, `error`, `abort`, `drip`, `methods`, as in the settings.

    Raises:
        SettingsError: One of them is wrong.
    """
    if not 0 < lasts <= LONGEST:
        message = f"lasts: {lasts!r} is not above 0 and at most {LONGEST:g} seconds"
        raise SettingsError(message, path="lasts", value=lasts)
    try:
        order = OrderSettings(upstream=upstream, until=round(time.time() + lasts, 3), **faults)
    except ValidationError as exc:
        raise settings_error(mistakes_in(exc, OrderSettings)) from None
    if not order.any:
        message = "nothing would be injected: give latency, error, abort or drip"
        raise SettingsError(message, path="faults")
    payload = _encoded(json.dumps(order.model_dump(mode="json", exclude_unset=True), separators=(",", ":")).encode())
    return f"{payload}.{_encoded(_signature(key, payload))}"


def read_order(value: str, key: str, wall_now: float) -> OrderSettings | None:
    """What a header says, or None when it says nothing: malformed, forged, over, or too long before it is.

    Args:
        value: Header value.
        key: What it has to be signed with.
        wall_now: Seconds since 1970.
    """
    payload, _, signature = value.strip().partition(".")
    if len(value) > MOST or not value.isascii():
        return None
    if not hmac.compare_digest(signature, _encoded(_signature(key, payload))):
        return None
    try:
        order = OrderSettings.model_validate(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))
    except ValueError:  # pydantic's and JSON's are that, too
        return None
    return order if order.any and 0 < order.until - wall_now <= LONGEST + SKEW else None


def _signature(key: str, payload: str) -> bytes:
    return hmac.digest(key.encode(), FOR + payload.encode(), hashlib.sha256)


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
