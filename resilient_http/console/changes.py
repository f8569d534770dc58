"""Changes: what is other in a snapshot than in the one before it. A page that has the one makes the other of it."""

from __future__ import annotations

from typing import Any

UPSTREAMS = "upstreams"


def changed(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What has changed: keys with their new values; below "upstreams" by name and section; null is gone."""
    found = {key: value for key, value in now.items() if key != UPSTREAMS and before.get(key) != value}
    rows, known = now[UPSTREAMS], before[UPSTREAMS]
    upstreams: dict[str, Any] = {name: None for name in known if name not in rows}
    for name, row in rows.items():
        sections = _sections(known.get(name, {}), row)
        if sections:
            upstreams[name] = sections
    return {**found, UPSTREAMS: upstreams} if upstreams else found


def _sections(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in now.items() if key not in before or before[key] != value}
