"""Trouble: how much a row of the page asks to be looked at, and why. Rows are sorted by it.

A score is a sum: 100 is an upstream that nothing can be sent to, or none of whose calls is answered well.

What is not as usual with it is found where it is for health routes: by health_report.findings(). What is here beside
that is for a person alone: calls that were answered badly in the last minute, a queue that is not full yet, a spent
budget, faults on purpose. A health route does not count those: the next calls may go well, and no node is ill for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from resilient_http.health_report import Finding, findings

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


def _unusual(row: dict[str, Any]) -> Found:
    for found in findings(row):
        if found.kind != "full":  # _waiting() says how full
            yield _score(found), f"{found.text} ({found.where})" if found.where else found.text


def _score(found: Finding) -> float:
    if found.kind == "left alone":
        return MUCH * found.share
    if found.kind == "doubtful":
        return MUCH + SOME * found.share
    if found.kind == "undiscovered":
        return 100.0 if found.share else SOME
    return MUCH + 70 * found.share if found.kind == "open" else LITTLE


def _waiting(row: dict[str, Any]) -> Found:
    limit = row["concurrency"]
    if limit["queued"]:
        yield SOME + min(MUCH, limit["queued"]), f"{limit['queued']} calls in the queue"
    elif limit["limit"] and limit["in_flight"] >= limit["limit"]:
        yield SOME, "the concurrency limit is reached"
    budget = row["retry_budget"]
    if budget is not None and budget["tokens"] < 1.0:
        yield SOME, "the retry budget is spent"


def _chaos(row: dict[str, Any]) -> Found:
    chaos = row["chaos"]
    if chaos is not None and chaos["kinds"]:
        yield SOME, f"faults on purpose ({', '.join(chaos['kinds'])}) for {chaos['ends_in']:g} s more"


RULES = (_success, _unusual, _waiting, _chaos)
