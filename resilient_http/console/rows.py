"""Rows: each upstream of this process as it stands, in few words; JSON-able, and such that rows can be added up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from resilient_http.console.recent import Recent
from resilient_http.control import Control
from resilient_http.telemetry.labels import OTHER
from resilient_http.upstreams.upstream import Upstream

SHOWN = 100  # endpoints of unnamed upstreams


def rows_of(control: Control, recent: Recent, now: float) -> dict[str, dict[str, Any]]:
    """By name: those of the settings and the guards; all unnamed ones are "other".

    Args:
        control: The upstreams.
        recent: Their calls.
        now: Monotonic seconds.
    """
    upstreams = control.upstreams()
    rows = {name: _row("upstream", each, control, now) for name, each in upstreams.items() if each.named}
    rows |= {name: _row("guard", each, control, now) for name, each in sorted(control.guards.items())}
    unnamed = [each for each in upstreams.values() if not each.named]
    if unnamed:
        rows[OTHER] = _other(unnamed, control, now)
    recent.forget_but(rows)
    at = recent.now()
    for name, row in rows.items():
        traffic = recent.traffic(name)
        row["traffic"], row["series"] = traffic.now(at), traffic.series(at)
    return rows


def _row(kind: str, upstream: Upstream, control: Control, now: float) -> dict[str, Any]:
    said = upstream.status(now)
    endpoints = list(_endpoints(upstream, said["endpoints"], control))
    return {
        "kind": kind,
        "endpoints": endpoints,
        "concurrency": said["concurrency"],
        "retry_budget": said["retry_budget"],
        "rate_limit": said["rate_limit"],
        "pool": {
            "connections": sum(each["connections"] for each in endpoints),
            "limit": upstream.settings.pool.max_connections * len(endpoints),
        },
        "switches": [{**each, "for": round(each["for"])} for each in said["switches"]],
        "chaos": _chaos(said["chaos"]),
        "discovery": _discovery(said["discovery"]),
        "pauses": said["pauses"],
        "retries": said["retries"],
        "hedges": said["hedges"],
        "fallbacks": said["fallbacks"],
        "routes": said["routes"],
        "pipeline": said["pipeline"],
    }


def _other(unnamed: list[Upstream], control: Control, now: float) -> dict[str, Any]:
    rows = [_row(OTHER, upstream, control, now) for upstream in unnamed[-SHOWN:]]
    first = rows[0]
    for row in rows[1:]:
        first["endpoints"] += row["endpoints"]
        for section in ("concurrency", "pool"):
            for key in ("in_flight", "queued", "connections", "limit", "queue"):
                if key in first[section]:
                    first[section][key] += row[section][key]
        first["switches"] += [each for each in row["switches"] if each not in first["switches"]]
    # A budget, or a count of decisions, of each of them says nothing of all.
    empty: dict[str, Any] = {"retries": {}, "hedges": {}, "fallbacks": {}, "retry_budget": None, "rate_limit": None}
    return {**first, **empty, "left_out": max(0, len(unnamed) - SHOWN)}


def _endpoints(upstream: Upstream, said: Iterable[dict[str, Any]], control: Control) -> Iterator[dict[str, Any]]:
    members = {member.url: member for member in upstream.endpoints.members}
    for each in said:
        member = members.get(each["url"])
        del each["load"]  # it fades from one moment to the next, whatever happens
        yield {**each, "connections": 0 if member is None else control.connections_to(member)}


def _chaos(said: dict[str, Any] | None) -> dict[str, Any] | None:
    """What is injected on purpose, into calls of any route, and for how long still."""
    if said is None:
        return None
    parts = [said, *said["routes"].values()]
    kinds = {kind for part in parts if part.get("ends_in") for kind in part["kinds"]}
    return {
        "kinds": sorted(kinds),
        "ends_in": round(max(part.get("ends_in", 0.0) for part in parts)),
        "by_header": any(part.get("by_header") for part in parts),
        "injected": said["injected"],
    }


def _discovery(said: dict[str, Any] | None) -> dict[str, Any] | None:
    """Without what changes from one moment to the next while all is well."""
    return None if said is None else {key: said[key] for key in ("kind", "where", "failing", "failing_for", "held")}
