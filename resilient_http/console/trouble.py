"""Trouble: how much a row of the page asks to be looked at, and why. Rows are sorted by it.

A score is a sum: 100 is an upstream that nothing can be sent to, or none of whose calls is answered well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Found = Iterator[tuple[float, str]]

MUCH, SOME, LITTLE = 30.0, 10.0, 3.0


def trouble_of(row: dict[str, Any]) -> dict[str, Any]:
    """JSON-able: the score, and the reasons, the gravest first."""
    found = sorted((each for rule in RULES for each in rule(row)), key=lambda each: -each[0])
    return {"score": round(sum(score for score, _ in found), 1), "why": [why for _, why in found]}


def _success(row: dict[str, Any]) -> Found:
    traffic = row["traffic"]
    success = traffic["success"]
    if success is not None and success < 0.999:
        refused = f", {traffic['refused']} refused" if traffic["refused"] else ""
        yield 100 * (1 - success), f"{100 * (1 - success):.3g} % of the calls not answered well{refused}"


def _circuits(row: dict[str, Any]) -> Found:
    endpoints = [each for each in row["endpoints"] if each["circuit"] is not None]
    unwell = [each for each in endpoints if each["circuit"]["state"] in ("open", "forced open", "half-open")]
    if unwell:
        share = len(unwell) / len(row["endpoints"])
        yield MUCH + 70 * share, f"{len(unwell)} of {len(row['endpoints'])} circuits open"


def _endpoints(row: dict[str, Any]) -> Found:
    if not row["endpoints"]:
        yield 100.0, "no endpoint is known"
    out = [each for each in row["endpoints"] if each["out"]]
    if out:
        yield MUCH * len(out) / len(row["endpoints"]), f"{len(out)} of {len(row['endpoints'])} endpoints left alone"


def _limits(row: dict[str, Any]) -> Found:
    limit = row["concurrency"]
    if limit["queued"]:
        yield SOME + min(MUCH, limit["queued"]), f"{limit['queued']} calls in the queue"
    elif limit["limit"] and limit["in_flight"] >= limit["limit"]:
        yield SOME, "the concurrency limit is reached"
    budget = row["retry_budget"]
    if budget is not None and budget["tokens"] < 1.0:
        yield SOME, "the retry budget is spent"


def _discovery(row: dict[str, Any]) -> Found:
    discovery = row["discovery"]
    if discovery is not None and discovery["failing"]:
        yield SOME, f"discovery fails at {discovery['where']}"


def _switches(row: dict[str, Any]) -> Found:
    for switch in row["switches"]:
        yield LITTLE, f"switched: {switch['what']}"


def _chaos(row: dict[str, Any]) -> Found:
    chaos = row["chaos"]
    if chaos is not None and chaos["kinds"]:
        yield SOME, f"faults on purpose ({', '.join(chaos['kinds'])}) for {chaos['ends_in']:g} s more"


RULES = (_success, _circuits, _endpoints, _limits, _discovery, _switches, _chaos)
