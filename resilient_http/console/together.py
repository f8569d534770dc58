"""Together: the rows of several processes as one, or those of one with what follows from them.

Counts, permits, connections and tokens are added up. Quantiles of "now" are those of all calls together, to one bucket
(4 %); in the charts they are those of the slowest process. Of an endpoint the worst circuit is shown, beside how many
processes say what. All is shown by our clock; see clocks.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from resilient_http.console.clocks import ahead, aligned, clock_of, note_on
from resilient_http.console.traffic import COLUMNS, EMPTY, KINDS, QUANTILES, SLICES, rounded
from resilient_http.console.trouble import trouble_of
from resilient_http.state.histogram import Histogram

Row = dict[str, Any]

WHO = ("process", "pid", "host", "started", "time", "enabled")
WORST_FIRST = ("forced open", "open", "half-open", "forced closed", "closed", "disabled")


def picture(known: Sequence[dict[str, Any]], shown: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is shown of processes, each of which is told as it stands.

    Args:
        known: All of them; the first one is this process, by whose clock the others are shown.
        shown: Those whose calls it is about.
    """
    own, now = known[0], clock_of(known[0])
    calls = [(each["at"] - ahead(one, now), one, each) for one in shown for each in one["degraded"]]
    return {
        "processes": [
            {**{key: one[key] for key in WHO}, "note": note_on(one, own)}
            for one in sorted(known, key=lambda one: (one["host"], one["pid"]))
        ],
        "upstreams": together([one["upstreams"] for one in shown], now),
        "degraded": [
            {**each, "pid": one["pid"], "host": one["host"]}
            for _, one, each in sorted(calls, key=lambda call: -call[0])
        ],
    }


def together(processes: Sequence[dict[str, Row]], now: float) -> dict[str, Row]:
    """By name: each upstream, as the processes that know it have it together.

    Args:
        processes: The rows of each.
        now: Seconds of our clock; see clocks.py.
    """
    names: dict[str, None] = {name: None for rows in processes for name in rows}
    return {name: _finished([rows[name] for rows in processes if name in rows], now) for name in names}


def _finished(rows: list[Row], now: float) -> Row:
    row = {**rows[0], **_sum(rows, now)} if len(rows) > 1 else rows[0]
    row = {**row, "traffic": _traffic([each["traffic"] for each in rows])}
    return {**row, "trouble": trouble_of(row)}


def _sum(rows: list[Row], now: float) -> Row:
    def of(key: str) -> list[Any]:
        return [row[key] for row in rows if row[key] is not None]

    return {
        "series": _series(of("series"), now),
        "endpoints": _by(of("endpoints"), lambda each: each["url"], _endpoint),
        "concurrency": _added(of("concurrency")),
        "retry_budget": _added(of("retry_budget")) or None,
        "rate_limit": _added(of("rate_limit")) or None,
        "pool": _added(of("pool")),
        "switches": _by(of("switches"), lambda each: (each["what"], each["by"]), _longest),
        "chaos": _injected(of("chaos")),
        "discovery": max(of("discovery"), key=lambda each: bool(each["failing"]), default=None),
        **{key: _added(of(key)) for key in ("pauses", "retries", "hedges", "fallbacks")},
    }


def _traffic(parts: list[dict[str, Any]]) -> dict[str, Any]:
    latency = Histogram.of(_histogram(part) for part in parts)
    counts = {key: sum(part[key] for part in parts) for key in (*KINDS, "degraded")}
    calls = counts["good"] + counts["failed"] + counts["refused"]
    return {
        **counts,
        "calls": calls,
        "rate": round(sum(_rate(part) for part in parts), 3),
        "success": counts["good"] / calls if calls else None,
        **{f"p{100 * share:g}": rounded(latency.quantile(share)) for share in QUANTILES},
    }


def _histogram(part: dict[str, Any]) -> Histogram:
    return Histogram.counted({int(bucket): count for bucket, count in part["latency"].items()}, part["longest"] or 0.0)


def _rate(part: dict[str, Any]) -> float:
    calls: int = part["good"] + part["failed"] + part["refused"]
    return calls / float(part["seconds"])


def _series(parts: list[dict[str, Any]], now: float) -> dict[str, Any]:
    parts = [aligned(part, now) for part in parts if part["step"] == parts[0]["step"]]
    end = max(part["end"] for part in parts)
    first = max(end - SLICES, min(part["end"] - len(part["calls"]) for part in parts)) + 1
    rows: dict[int, list[tuple[Any, ...]]] = {number: [] for number in range(first, end + 1)}
    for part in parts:
        begin = part["end"] - len(part["calls"]) + 1
        for number, point in enumerate(zip(*(part[column] for column in COLUMNS), strict=True), begin):
            if number in rows:
                rows[number].append(point)
    points = [_point(found) for found in rows.values()]
    columns = zip(*points, strict=True) if points else [()] * len(COLUMNS)
    return {"step": parts[0]["step"], "end": end, **dict(zip(COLUMNS, map(list, columns), strict=True))}


def _point(found: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    if not found:
        return EMPTY
    calls, bad, *quantiles = zip(*found, strict=True)
    slowest = (max((each for each in column if each is not None), default=None) for column in quantiles)
    return (sum(calls), sum(bad), *slowest)


def _endpoint(parts: list[Row]) -> Row:
    circuits = [part["circuit"] for part in parts if part["circuit"] is not None]
    said = Counter(circuit["state"] for circuit in circuits)
    worst = min(circuits, key=_rank, default=None)
    unwell = max(parts, key=lambda part: (bool(part["out"]), len(part["reasons"])))
    return {
        **unwell,
        "in_flight": sum(part["in_flight"] for part in parts),
        "connections": sum(part["connections"] for part in parts),
        "circuit": None if worst is None else {**worst, "said": dict(said)},
    }


def _rank(circuit: Row) -> tuple[int, bool]:
    """Less is worse; an open one that would let a probe through now is less bad."""
    return WORST_FIRST.index(circuit["state"]), circuit["retry_in"] == 0.0


def _injected(parts: list[Row]) -> Row | None:
    """Of who injects for longest; what was injected is added up."""
    if not parts:
        return None
    return {**max(parts, key=lambda part: float(part["ends_in"])), "injected": _added([p["injected"] for p in parts])}


def _longest(parts: list[Row]) -> Row:
    return max(parts, key=lambda part: float(part["for"]))


def _by(lists: Iterable[list[Row]], key: Callable[[Row], Any], one: Callable[[list[Row]], Row]) -> list[Row]:
    found: dict[Any, list[Row]] = {}
    for each in (each for rows in lists for each in rows):
        found.setdefault(key(each), []).append(each)
    return [one(parts) for parts in found.values()]


def _added(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums of what are numbers, also a level below; of the rest what the first one says."""
    total: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            known = total.get(key)
            if isinstance(value, dict):
                total[key] = _added([known or {}, value])
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                total[key] = round((known or 0) + value, 3)
            else:
                total.setdefault(key, value)
    return total
