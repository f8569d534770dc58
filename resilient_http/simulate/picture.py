"""Picture: one or more runs of a scenario over time, as SVG or PNG. Needs matplotlib, of the extra `docs`."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from resilient_http.errors import SettingsError
from resilient_http.simulate.result import Result
from resilient_http.simulate.slice import Figures

# Colours that people with any colour vision tell apart (Okabe and Ito), and a dash each.
LOOKS = (("#009E73", "-"), ("#D55E00", "--"), ("#0072B2", "-."), ("#CC79A7", ":"))
MADE = "#8c8c8c"
KINDS = (".svg", ".png")
LOGARITHMIC = "seconds waited, p99"
AT_ONCE = 0.001  # seconds: what is refused takes none, and a logarithm has no place for that

PANELS: tuple[tuple[str, Callable[[Figures], float | None]], ...] = (
    ("good answers a second", lambda one: one.goodput),
    (LOGARITHMIC, lambda one: None if one.p99 is None else max(one.p99, AT_ONCE)),
    ("requests a second", lambda one: one.sent),
    ("useful work, share", lambda one: one.useful),
    ("circuits open, share", lambda one: one.circuits_open),
    ("retry budget, tokens", lambda one: one.budget),
)


def check_drawable(path: str) -> None:
    """Refuse what could not be drawn, before it takes long to find that out.

    Raises:
        SettingsError: matplotlib is missing, or the suffix is neither .svg nor .png.
    """
    if Path(path).suffix.lower() not in KINDS:
        raise SettingsError(f"picture: {path}: a file that ends in {' or '.join(KINDS)} is needed", path="picture")
    if find_spec("matplotlib") is None:
        message = 'picture: needs matplotlib, of the extra docs: pip install "resilient-http[docs]"'
        raise SettingsError(message, path="picture")


def draw(results: Mapping[str, Result], path: str) -> None:
    """Write the picture of one or more runs of one scenario.

    Args:
        results: Name to result; the names tell them apart.
        path: A file, .svg or .png. The same results give the same file.
    """
    check_drawable(path)
    matplotlib, figures = import_module("matplotlib"), import_module("matplotlib.figure")
    first = next(iter(results.values()))
    with matplotlib.rc_context({"svg.hashsalt": "resilient_http", "svg.fonttype": "none", "font.size": 8}):
        figure = figures.Figure(figsize=(7.2, 1.3 * len(PANELS) + 0.6), layout="constrained")
        axes = figure.subplots(len(PANELS), 1, sharex=True)
        for axis, (title, of) in zip(axes, PANELS, strict=True):
            _fill(axis, title, of, results)
            _mark_phases(axis, first, named=axis is axes[0])
        title = textwrap.fill(f"{first.title}: {first.upstream}, {len(first.nodes)} nodes", 100)
        axes[0].set_title(title, loc="left", pad=16, fontsize=9)
        axes[0].legend(fontsize=7, loc="lower left", framealpha=0.9)
        axes[-1].set_xlabel("seconds")
        metadata = {"Date": None} if path.lower().endswith(".svg") else {"Software": None}
        figure.savefig(path, dpi=150, metadata=metadata)


def _fill(axis: Any, title: str, of: Callable[[Figures], float | None], results: Mapping[str, Result]) -> None:
    first = next(iter(results.values()))
    if title == PANELS[0][0]:
        axis.plot(*_points(first, lambda one: one.rate), color=MADE, linewidth=0.8, label="calls made")
    for (name, result), (colour, dash) in zip(results.items(), LOOKS, strict=False):
        axis.plot(*_points(result, of), color=colour, linestyle=dash, linewidth=1.2, label=name or "good answers")
    axis.set_ylabel(title.replace(", ", ",\n").replace(" a second", "\na second"))
    axis.grid(alpha=0.3)
    if title == LOGARITHMIC:
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)


def _points(result: Result, of: Callable[[Figures], float | None]) -> tuple[list[float], list[float]]:
    middles = [(one.begin + one.end) / 2 for one in result.series]
    values = [of(one) for one in result.series]
    return middles, [float("nan") if value is None else value for value in values]


def _mark_phases(axis: Any, result: Result, *, named: bool) -> None:
    for phase in result.phases:
        axis.axvline(phase.begin, color="#000000", linewidth=0.6, linestyle=":")
        if named:
            axis.annotate(
                phase.name, (phase.begin, 1), xycoords=("data", "axes fraction"), xytext=(2, 3),
                textcoords="offset points", fontsize=7,
            )  # fmt: skip
    axis.set_xlim(result.total.begin, result.total.end)
