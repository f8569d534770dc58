"""Overrides: settings of one call, over those of its upstream.

They are what `extensions={"resilient_http": {...}}` of a request says, and `call_options(...)` makes. What all calls of
an upstream share (circuits, limits, budget, connections) is not one call's to change.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal

from pydantic import ValidationError

from resilient_http.errors import SettingsError, suggestion
from resilient_http.settings.merging import as_raw, merge
from resilient_http.settings.models import UpstreamSettings
from resilient_http.settings.routes import SHARED
from resilient_http.settings.validation import mistakes_in, nearest, settings_error

EXTENSION = "resilient_http"
OVERRIDABLE = ("retry", "hedge", "idempotency_key", "priority", "fallback")


class Unset(Enum):
    """Stands for an argument that was not given, where None means "off"."""

    UNSET = "as the upstream's settings say"


UNSET = Unset.UNSET


def call_options(
    *,
    retry: Mapping[str, Any] | Unset | None = UNSET,
    hedge: Mapping[str, Any] | Unset | None = UNSET,
    idempotency_key: Literal["auto"] | Unset | None = UNSET,
    priority: Literal["sheddable", "default", "critical"] | Unset | None = UNSET,
    fallback: Mapping[str, Any] | Unset | None = UNSET,
) -> dict[str, Any]:
    """Settings of one call, over those of its upstream: `client.get(url, extensions=call_options(retry=None))`.

    They are validated with the call's first hop; a mistake is a SettingsError that names its path.

    Args:
        retry: Keys of `retry`, or None for no repeats. Not `budget`, which all calls of the upstream share.
        hedge: Keys of `hedge`, or None for no hedge.
        idempotency_key: "auto" for an Idempotency-Key of the call's own, so that it may be repeated; None for none. A
            key that you have goes into `headers=`.
        priority: "sheddable", "default" or "critical"; None for what the inbound request says.
        fallback: `{"response": {...}}` or `{"function": ...}`, or None for none. Not `stale`, which all calls of the
            upstream share.

    Returns:
        A mapping for `extensions=`.
    """
    given = {
        "retry": retry, "hedge": hedge, "idempotency_key": idempotency_key, "priority": priority,
        "fallback": fallback,
    }  # fmt: skip
    return {EXTENSION: {name: value for name, value in given.items() if value is not UNSET}}


def overridden(settings: UpstreamSettings, overrides: Any) -> UpstreamSettings:
    """The upstream's settings, with those of one call over them.

    Raises:
        SettingsError: Something is wrong, or is not one call's to change; the path begins with `extensions`.
    """
    path = f"extensions.{EXTENSION}"
    if not isinstance(overrides, Mapping):
        message = f"{path}: a mapping is needed, not {type(overrides).__name__}"
        raise SettingsError(message, path=path, value=overrides)
    for key, value in overrides.items():
        if key not in OVERRIDABLE:
            message = f"{path}.{key}: not a setting of one call{suggestion(nearest(str(key), OVERRIDABLE))}"
            raise SettingsError(message, path=f"{path}.{key}", value=value)
        for shared in SHARED.get(key, ()):
            if isinstance(value, Mapping) and shared in value:
                message = f"{path}.{key}.{shared}: all calls of the upstream share it; change it in the settings"
                raise SettingsError(message, path=f"{path}.{key}.{shared}", value=value[shared])
    try:
        return UpstreamSettings(**merge(as_raw(settings.routed(None)), overrides))
    except ValidationError as exc:
        raise settings_error(mistakes_in(exc, UpstreamSettings, ("extensions", EXTENSION))) from None


def frozen(value: Any) -> Any:
    """The same as something hashable, to know overrides by."""
    if isinstance(value, Mapping):
        return dict, *((key, frozen(below)) for key, below in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value), *map(frozen, value)
    return type(value), value  # 1 and True are equal, and not the same
