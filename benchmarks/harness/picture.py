"""Picture: lines in one or more panels, as SVG. Needs matplotlib, of the extra `docs`; without it there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Colours that people with any colour vision tell apart (Okabe and Ito), and a shape each.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000", "#8c8c8c", "#7f5f3f", "#4b0082")
SHAPES = "osD^vPX*<>"


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        series: Name to its points: two lists, x and y. A y of None is a gap.
        span: From where to where on x something was going on, and what; or nothing.
    """

    title: str
    x: str
    y: str
    series: dict[str, tuple[Sequence[float], Sequence[float | None]]]
    log_x: bool = False
    log_y: bool = False
    marks: bool = True
    span: tuple[float, float, str] | None = None
    ticks: Sequence[float] = field(default_factory=list)


def draw(panels: Sequence[Panel], file: Path) -> bool:
    """Write the picture; False where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return False
    import matplotlib.pyplot as plt

    plt.switch_backend("svg")
    plt.rcParams.update({"svg.hashsalt": "resilient_http", "font.size": 9, "svg.fonttype": "none"})
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(7.2, 0.6 + 2.4 * len(panels)), squeeze=False, layout="constrained"
    )
    for panel, axis in zip(panels, axes[:, 0], strict=True):
        _fill(axis, panel)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
    return True


def _fill(axis: Any, panel: Panel) -> None:
    for number, (name, (x, y)) in enumerate(panel.series.items()):
        look = {"color": COLOURS[number % len(COLOURS)], "linewidth": 1.2}
        if panel.marks:
            look |= {"marker": SHAPES[number % len(SHAPES)], "markersize": 3.5}
        axis.plot(x, [float("nan") if value is None else value for value in y], label=name, **look)
    if panel.span is not None:
        begin, end, what = panel.span
        axis.axvspan(begin, end, color="#bbbbbb", alpha=0.3, label=what, linewidth=0)
    axis.set_xscale("log" if panel.log_x else "linear")
    axis.set_yscale("log" if panel.log_y else "linear")
    if not panel.log_y:
        axis.set_ylim(bottom=0)
    if panel.ticks:
        axis.set_xticks(panel.ticks, [f"{tick:g}" for tick in panel.ticks])
        axis.minorticks_off()
    axis.set_title(panel.title, loc="left", fontsize=9)
    axis.set_xlabel(panel.x)
    axis.set_ylabel(panel.y)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7, framealpha=0.9, loc="center left", bbox_to_anchor=(1.01, 0.5))
