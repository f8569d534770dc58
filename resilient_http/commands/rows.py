"""Rows: a snapshot of a console as a table for a terminal, the upstream with most trouble first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from resilient_http.console.foreign import told
from resilient_http.simulate.table import number, seconds, share

TITLES = ("upstream", "calls/s", "success", "p50", "p95", "p99", "circuits", "in flight", "queued", "budget", "trouble")
NAMES = 1  # columns that stand to the left
FIRST = (
    "success",
    "calls/s",
    "p99",
    "circuits",
    "in flight",
    "p95",
    "budget",
    "queued",
    "p50",
)  # where there is no room
GAP = 2  # spaces between two columns
WHY = 24  # characters for reasons, at least

Row = dict[str, Any]


def rows(snapshot: dict[str, Any]) -> list[tuple[float, tuple[str, ...]]]:
    """Each upstream: how much trouble it has (0 for none, infinite where that is not understood), and its cells."""
    found = [(_score(row), _cells(name, row)) for name, row in snapshot["upstreams"].items()]
    return sorted(found, key=lambda each: (-each[0], each[1]))


def fitting(lines: Sequence[Sequence[str]], width: int) -> list[int]:
    """The columns that a terminal has room for, by their places, in their order: all, or those that matter most.

    Args:
        lines: Cells, TITLES among them.
        width: Characters of a line.
    """
    widths = [max(len(line[place]) for line in lines) + GAP for place in range(len(TITLES))]
    left = width - min(widths[0], longest_name(width) + GAP) - min(widths[-1], WHY)
    shown = [0, len(TITLES) - 1]
    for place in map(TITLES.index, FIRST):
        if widths[place] <= left:
            left -= widths[place]
            shown.append(place)
    return sorted(shown)


def longest_name(width: int) -> int:
    """Characters of an upstream's name that are shown in a line of so many."""
    return max(12, width // 4)


def title(snapshot: dict[str, Any]) -> str:
    """Whose they are."""
    notes = [f"process {one['pid']} at {one['host']}: {one['note']}" for one in snapshot["processes"] if one["note"]]
    return "; ".join((_whose(snapshot), *notes, *filter(None, [told(snapshot["not_understood"])])))


def _whose(snapshot: dict[str, Any]) -> str:
    processes = snapshot["processes"]
    if snapshot["shown"] == "all" and len(processes) > 1:
        return f"{len(processes)} processes, the last minute"
    own = next((each for each in processes if each["process"] == snapshot["answered_by"]), None)
    who = "an unknown process" if own is None else f"process {own['pid']} at {own['host']}"
    other = "" if snapshot["gathered"] else "; other workers are not seen without a shared Redis"
    return f"{who}, the last minute{other}"


def _score(row: Row) -> float:
    score: float | None = row["trouble"]["score"]
    return math.inf if score is None else float(score)


def _cells(name: str, row: Row) -> tuple[str, ...]:
    traffic, limit, budget = row["traffic"], row["concurrency"], row["retry_budget"]
    return (
        name,
        number(traffic["rate"]),
        share(traffic["success"]),
        *(seconds(traffic[quantile]) for quantile in ("p50", "p95", "p99")),
        _circuits(row),
        f"{number(limit['in_flight'])}/{number(limit['limit'])}",
        number(limit["queued"]),
        "-" if budget is None else number(budget["tokens"]),
        "; ".join((*row["trouble"]["why"], *filter(None, [told(row["not_understood"])]))),
    )


def _circuits(row: Row) -> str:
    states = Counter(each["circuit"]["state"] for each in row["endpoints"] if each["circuit"] is not None)
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "-"
