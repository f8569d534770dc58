"""Clocks: what is done where that of another process is not ours, so that it pushes nobody's points out of a chart.

Laws
    1. A difference is told by the numbers of slices, which a process goes by until it ends, whoever sets its clock. So
       it is exact to a slice, and a process that was heard of some seconds ago is some seconds behind.
    2. Where it is more than `FAR` and a slice, the newest slice of the other is laid over our newest, and its calls are
       sorted as if its clock were ours. Instants are shown as it told them.
    3. Slices of another length cannot be laid over ours: they are in no chart but the process's own.
"""

from __future__ import annotations

from typing import Any

FAR = 10.0  # seconds

Series = dict[str, Any]
Process = dict[str, Any]


def clock_of(process: Process) -> float:
    """Seconds since 1970, as its slices are numbered by: to half a slice."""
    series = _series_of(process)
    return float(process["time"]) if series is None else float((series["end"] + 1.5) * series["step"])


def ahead(process: Process, now: float) -> float:
    """Seconds that its clock is ahead of ours; negative behind; 0.0 where it is about the same.

    Args:
        process: As it told of itself.
        now: Seconds of ours, as clock_of() says.
    """
    series = _series_of(process)
    step = 0.0 if series is None else series["step"]
    off = process["time"] - now if series is None else _off(series, now)
    return float(off) if abs(off) > FAR + step else 0.0


def aligned(series: Series, now: float) -> Series:
    """The same, in our time."""
    return {**series, "end": _newest(series, now)} if abs(_off(series, now)) > FAR + series["step"] else series


def note_on(process: Process, own: Process) -> str | None:
    """What a person has to know who sees it beside ours; None for nothing."""
    off, theirs, ours = ahead(process, clock_of(own)), _series_of(process), _series_of(own)
    if theirs is not None and ours is not None and theirs["step"] != ours["step"]:
        return "its console.span is not the same, so the charts of all are without it"
    if off:
        return f"its clock is {abs(off):.0f} s {'ahead' if off > 0 else 'behind'}, so in the charts it is moved to ours"
    return None


def _series_of(process: Process) -> Series | None:
    return next((row["series"] for row in process["upstreams"].values()), None)


def _newest(series: Series, now: float) -> int:
    return int(now // series["step"]) - 1


def _off(series: Series, now: float) -> float:
    return float((series["end"] - _newest(series, now)) * series["step"])
