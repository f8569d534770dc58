"""Table: what was measured, one client beside the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from example_project.figures import Figures, Run
from example_project.story import DOWN
from example_project.traffic import DEADLINES

NOTES = (
    "A success is a 200 within the caller's deadline ({deadlines}, in turn, told in a header).",
    "Times are from sending a request to the end of its answer, whatever the answer.",
    "Work after a deadline is for nobody. A node stops working when its caller closes the connection.",
    "Recovery is from when the nodes were well again to the last request that failed.",
    "The demo itself was at most {late} late to send a request; no time above is more exact than that.",
)


def table(runs: Sequence[Run]) -> list[str]:
    """Lines for the terminal."""
    rows: list[tuple[str, list[str]]] = [("", [run.client for run in runs])]

    def row(title: str, show: Callable[[Run], str]) -> None:
        rows.append((title, [show(run) for run in runs]))

    row("requests of users", lambda run: str(run.total.requests))
    row("success", lambda run: _share(run.total))
    for act in runs[0].acts:
        row(f"  {act}", lambda run, act=act: _share(run.acts[act]))  # type: ignore[misc]
    row("p50", lambda run: milliseconds(run.total.p50))
    row("p99", lambda run: milliseconds(run.total.p99))
    row("worst overrun of a caller's deadline", lambda run: milliseconds(run.total.overrun))
    row("work of the nodes after it", lambda run: f"{run.total.wasted:.1f} s")
    row("requests at the nodes per request", lambda run: f"{run.total.reached:.2f}")
    row(f"  {DOWN}", lambda run: f"{run.acts[DOWN].reached:.2f}")
    row("recovery", lambda run: "not seen" if run.recovered is None else f"{run.recovered:.1f} s")

    title_width = max(len(title) for title, _ in rows)
    widths = [max(len(cells[column]) for _, cells in rows) for column in range(len(runs))]
    lines = [
        "  ".join([title.ljust(title_width), *(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))])
        for title, cells in rows
    ]
    lines.insert(1, "-" * len(lines[0]))
    late = milliseconds(max(run.late for run in runs))
    deadlines = " or ".join(f"{seconds:g} s" for seconds in DEADLINES)
    return [*lines, "", *(note.format(deadlines=deadlines, late=late) for note in NOTES)]


def milliseconds(seconds: float) -> str:
    """For a person."""
    return f"{seconds * 1000:.0f} ms"


def _share(figures: Figures) -> str:
    # Never rounded up to a hundred.
    return f"{int(figures.success * 1000) / 10:.1f} %"
