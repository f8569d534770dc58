"""Report: what a benchmark says, to the terminal at once, and to a JSON file and a picture in the end.

The file holds the figures, how they are written, and the points of the picture: the page of the docs is made of it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import BENCHMARKS, ROOT
from harness.command import progress_ends
from harness.machine import described, machine
from harness.picture import Panel, draw

RESULTS = BENCHMARKS / "results"
PICTURES = ROOT / "docs" / "pictures" / "performance"

Value = float | int | str | None
Row = Sequence[Value]


@dataclass(frozen=True)
class Table:
    """Rows of a name and figures.

    Attributes:
        title: What the rows are.
        columns: Heading and format of each figure.
        rows: The name, then the figures; None is shown as "-".
        note: What a reader has to know about it.
    """

    title: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[Row]
    note: str = ""

    def text(self) -> str:
        """As the terminal shows it."""
        headings = [self.title, *(heading for heading, _ in self.columns)]
        lines = [headings, *(written(row, self.columns) for row in self.rows)]
        widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
        shown = []
        for name, *figures in lines:
            aligned = (figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True))
            shown.append("  ".join([name.ljust(widths[0]), *aligned]))
        return "\n".join([*shown, *([self.note] if self.note else [])])


def written(row: Row, columns: Sequence[Sequence[str]]) -> list[str]:
    """The cells of a row."""
    name, *figures = row
    return [
        str(name),
        *(_cell(figure, form) for figure, (_, form) in zip(figures, columns, strict=True)),
    ]


def _cell(figure: Value, form: str) -> str:
    if figure is None:
        return "-"
    return figure if isinstance(figure, str) else format(figure, form)


class Report:
    """One run of a benchmark.

    Args:
        name: Of the script.
        question: The first sentence of its docstring.
        options: As command.parse() gave them.
        method: How it was measured in this run: rounds, seconds, rates.
        does_not_show: What a reader might take it for, and must not.
        packages: Distributions whose versions matter.
        tools: What else has a version that matters, and the version.
        partial: Whether it is only a part of the benchmark, which takes the place of no result of the whole.
    """

    def __init__(
        self,
        name: str,
        question: str,
        options: argparse.Namespace,
        *,
        method: str,
        does_not_show: Sequence[str],
        packages: Iterable[str] = (),
        tools: Mapping[str, str] | None = None,
        partial: bool = False,
    ) -> None:
        self.name, self.question, self.method = name, question, method
        self.does_not_show = list(does_not_show)
        self.machine = machine(["resilient-http", "httpx", *packages])
        self.machine["packages"] |= dict(tools or {})
        self.tables: list[Table] = []
        self.goals: list[dict[str, Any]] = []
        self.missing: dict[str, str] = {}
        self.panels: list[Panel] = []
        self.raw: dict[str, Any] = {}
        self._quick = options.quick
        self._results: Path | None = options.results
        self._kept = not (partial or options.quick)
        print("\n".join([*described(self.machine), method]), flush=True)

    def table(self, table: Table) -> None:
        """Show it, and keep it."""
        self.tables.append(table)
        progress_ends()
        print(f"\n{table.text()}", flush=True)

    def goal(self, text: str, value: float | None, *, least: float | None = None, most: float | None = None) -> None:
        """Hold a figure against what it should be; nothing fails by it."""
        bound = f"at least {least:g}" if least is not None else f"at most {most:g}"
        if value is None:
            shown, verdict = "-", "not measured"
        else:
            kept = (least is None or value >= least) and (most is None or value <= most)
            shown, verdict = f"{value:.3g}", "kept" if kept else "MISSED"
        self.goals.append({"goal": text, "bound": bound, "value": value, "verdict": verdict})
        print(f"{text}: {shown}; {bound} is the goal: {verdict}", flush=True)

    def left_out(self, contender: str, why: str) -> None:
        """A contender that could not take part."""
        self.missing[contender] = why
        print(f"left out: {contender}: {why}", flush=True)

    def finish(self) -> None:
        """Say what it does not show, and write the files."""
        print("\nWhat this does not show:")
        for sentence in self.does_not_show:
            print(f"- {sentence}")
        if self._results is None and not self._kept:
            return
        results, pictures = (self._results, self._results) if self._results else (RESULTS, PICTURES)
        results.mkdir(parents=True, exist_ok=True)
        file = results / f"{self.name}.json"
        file.write_text(json.dumps(self._content(), ensure_ascii=False, default=list) + "\n")
        print(f"\nwritten: {_told(file)}")
        if self.panels:
            picture = pictures / f"{self.name}.svg"
            print(f"written: {_told(picture)}" if draw(self.panels, picture) else _NO_PICTURE)

    def _content(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "question": self.question,
            "quick": self._quick,
            "machine": self.machine,
            "method": self.method,
            "tables": [asdict(table) for table in self.tables],
            "goals": self.goals,
            "left_out": self.missing,
            "does_not_show": self.does_not_show,
            "panels": [asdict(panel) for panel in self.panels],
            "raw": self.raw,
        }


_NO_PICTURE = 'no picture: it is drawn with matplotlib, of the extras "bench" and "docs"'


def _told(path: Path) -> Path:
    path = path.resolve()
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
