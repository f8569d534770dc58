"""Merging: one layer of settings over another, as raw mappings, before anything is validated.

A mapping is merged into the mapping below it, null switches a policy off, a mapping over a null switches it on again,
anything else replaces. One exception: a fallback is of one kind, so a kind replaces the other ones below it, and a
fixed `response` is one thing.

The layers, from the lowest: the library's defaults, `defaults`, the upstream, the route, the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resilient_http.settings.fallback import KINDS
from resilient_http.settings.origins import Told
from resilient_http.settings.validation import Model

OF_A_ROUTE = ("timeout", "retry", "hedge", "idempotency_key", "priority", "fallback", "chaos")


def merge(below: Mapping[Any, Any], above: Mapping[Any, Any]) -> dict[Any, Any]:
    """One layer over another, as raw mappings; see the laws of this module."""
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        if not (isinstance(lower, Mapping) and isinstance(value, Mapping)):
            merged[key] = value
        elif key == "fallback":
            merged[key] = merge(_under_kind(lower, value), value)
        else:
            merged[key] = merge(lower, value)
    return merged


def inherit(raw: Mapping[Any, Any]) -> dict[Any, Any]:
    """The settings of a process, with what upstreams inherit from `defaults`, and routes from their upstream."""
    merged = dict(raw)
    defaults, upstreams = merged.get("defaults", {}), merged.get("upstreams")
    if not isinstance(defaults, Mapping):
        return merged
    if isinstance(upstreams, Mapping):
        merged["upstreams"] = {name: with_routes(over(defaults, own)) for name, own in upstreams.items()}
    if "defaults" in merged:
        merged["defaults"] = with_routes(defaults)
    return merged


def with_routes(upstream: Any) -> Any:
    """The settings of an upstream, with what its routes inherit from them."""
    if not isinstance(upstream, Mapping) or not isinstance(upstream.get("routes"), Mapping):
        return upstream
    own = {key: upstream[key] for key in OF_A_ROUTE if key in upstream}
    return {**upstream, "routes": {name: over(own, route) for name, route in upstream["routes"].items()}}


def over(defaults: Mapping[Any, Any], own: Any) -> Any:
    """`own` over `defaults`, where it is a mapping; what is none is told as a mistake when it is validated."""
    return merge(defaults, own) if isinstance(own, Mapping) else own


def as_raw(value: Any) -> Any:
    """Models, wherever they stand in it, as the mappings that they were made from."""
    if isinstance(value, Model):
        return value.model_dump(exclude_unset=True)
    return {key: as_raw(below) for key, below in value.items()} if isinstance(value, Mapping) else value


def _under_kind(below: Mapping[Any, Any], above: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """What is left of a fallback under another one: without the other kinds, and without a fixed response."""
    given = {kind for kind in KINDS if _value(above.get(kind)) is not None}
    gone = set(KINDS) - (given - {"response"}) if given else set()
    return {key: value for key, value in below.items() if key not in gone}


def _value(said: Any) -> Any:
    return said.value if isinstance(said, Told) else said
