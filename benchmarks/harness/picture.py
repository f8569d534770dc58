"""Picture: lines in one or more panels, as SVG. Needs matplotlib, of the extra `docs`; without it there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        ticks: Values of x that are written, and no others.
        names: Names of 0, 1, 2 ... on y, if it has such.
        bars: Whether those are bars from 0 to x, or dots at x.
        height: Inches; more where there are many names.
        span: From where to where on x something was going on, and what; or nothing.
    """

    title: str
    x: str
    y: str
    series: Mapping[str, tuple[Sequence[float], Sequence[float | None]]]
    log_x: bool = False
    log_y: bool = False
    marks: bool = True
    span: tuple[float, float, str] | None = None
    ticks: Sequence[float] = field(default_factory=list)
    names: Sequence[str] = field(default_factory=list)
    bars: bool = True
    height: float = 2.4


def draw(panels: Sequence[Panel], file: Path) -> bool:
    """Write the picture; False where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return False
    import matplotlib.pyplot as plt

    plt.switch_backend("svg")
    plt.rcParams.update({"svg.hashsalt": "resilient_http", "font.size": 9, "svg.fonttype": "none"})
    heights = [max(panel.height, 0.25 * len(panel.names)) for panel in panels]
    figure, axes = plt.subplots(
        len(panels),
        1,
        figsize=(7.2, 0.6 + sum(heights)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for panel, axis in zip(panels, axes[:, 0], strict=True):
        _fill(axis, panel)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
    return True


def _fill(axis: Any, panel: Panel) -> None:
    axis.set_title(panel.title, loc="left", fontsize=9)
    axis.set_xlabel(panel.x)
    axis.set_ylabel(panel.y)
    axis.grid(alpha=0.3)
    axis.set_xscale("log" if panel.log_x else "linear")
    if not panel.names:
        _lines(axis, panel)
        return
    for number, (name, (x, y)) in enumerate(panel.series.items()):
        colour = COLOURS[number % len(COLOURS)]
        if panel.bars:
            axis.barh(y, x, color=colour, height=0.6)
        else:
            axis.plot(x, y, SHAPES[number % len(SHAPES)], color=colour, markersize=4, label=name, alpha=0.8)
            _legend(axis)
    axis.set_yticks(range(len(panel.names)), panel.names)


def _lines(axis: Any, panel: Panel) -> None:
    for number, (name, (x, y)) in enumerate(panel.series.items()):
        look = {"color": COLOURS[number % len(COLOURS)], "linewidth": 1.2}
        if panel.marks:
            look |= {"marker": SHAPES[number % len(SHAPES)], "markersize": 3.5}
        axis.plot(x, [float("nan") if value is None else value for value in y], label=name, **look)
    if panel.span is not None:
        begin, end, what = panel.span
        axis.axvspan(begin, end, color="#bbbbbb", alpha=0.3, label=what, linewidth=0)
    axis.set_yscale("log" if panel.log_y else "linear")
    if not panel.log_y:
        axis.set_ylim(0, axis.get_ylim()[1] * 1.1)
    if panel.ticks:
        axis.set_xticks(panel.ticks, [f"{tick:g}" for tick in panel.ticks])
        axis.minorticks_off()
    if len(panel.series) > 1:
        _legend(axis)


def _legend(axis: Any) -> None:
    # Beside the axes, where it hides nothing.
    axis.legend(fontsize=7, framealpha=0.9, loc="center left", bbox_to_anchor=(1.01, 0.5))
