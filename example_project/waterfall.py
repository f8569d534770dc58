"""Waterfall: a trace, as text and as a picture (SVG)."""

from __future__ import annotations

from html import escape

from example_project.table import milliseconds
from example_project.trace import Happening, Span, Trace

WIDTH = 48  # characters
ROW, LEFT, CHART, MARGIN = 20, 410, 520, 12  # pixels
COLOURS = {"INTERNAL": "#0072B2", "CLIENT": "#009E73", "SERVER": "#8c8c8c"}  # Okabe and Ito
FAILED = "#D55E00"


def as_text(trace: Trace) -> list[str]:
    """Lines: a span each, and below it what it tells of moments."""
    title = f"trace {trace.number}"
    heads = [_head(depth, span) for depth, span in trace.spans]
    wide = max(len(title), *(len(head) for head in heads)) + 2
    took = trace.root.ended - trace.root.began
    lines = [f"{title.ljust(wide)}{'0 ms':<{WIDTH - 8}}{milliseconds(took):>8}"]
    for head, (depth, span) in zip(heads, trace.spans, strict=True):
        lines.append(f"{head.ljust(wide)}{_bar(trace, span, took)}  {milliseconds(span.ended - span.began)}")
        lines += [f"{'  ' * depth}    {_moment(trace, happening)}" for happening in span.happened]
    return lines


def as_svg(trace: Trace) -> str:
    """A picture; the same trace gives the same one."""
    rows: list[str] = []
    took = max(trace.root.ended - trace.root.began, 1e-6)
    for depth, span in trace.spans:
        rows.append(_drawn_span(trace, depth, span, took, _top(rows)))
        rows += [_drawn_moment(trace, happening, took, _top(rows)) for happening in span.happened]
    height, width = ROW * (len(rows) + 1) + 2 * MARGIN, LEFT + CHART + 90
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
    title = f"One checkout: trace {trace.number}, {milliseconds(took)}"
    return "\n".join(
        [
            f'{svg} font-family="sans-serif" font-size="12">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            f'<text x="{MARGIN}" y="{MARGIN + 12}" font-weight="bold">{escape(title)}</text>',
            *rows,
            "</svg>\n",
        ]
    )


def _top(rows: list[str]) -> int:
    return MARGIN + ROW * (len(rows) + 1)


def _head(depth: int, span: Span) -> str:
    result = f" {span.result}" if span.result else ""
    return f"{'  ' * depth}{span.service}: {span.name}{result}"


def _moment(trace: Trace, happening: Happening) -> str:
    return f"at {milliseconds(trace.at(happening.at))}, {happening.text}"


def _bar(trace: Trace, span: Span, took: float) -> str:
    begin, end = (int(trace.at(at) / took * WIDTH) for at in (span.began, span.ended))
    begin = max(0, min(begin, WIDTH - 1))
    end = max(begin + 1, min(end, WIDTH))
    return (" " * begin + ("x" if span.failed else "=") * (end - begin)).ljust(WIDTH)


def _drawn_span(trace: Trace, depth: int, span: Span, took: float, top: int) -> str:
    left, wide = _place(trace, span.began, took), max(1.5, (span.ended - span.began) / took * CHART)
    colour = FAILED if span.failed else COLOURS.get(span.kind, COLOURS["SERVER"])
    label = milliseconds(span.ended - span.began)
    return (
        f'<text x="{MARGIN + 12 * depth}" y="{top + 14}">{escape(_head(0, span))}</text>'
        f'<rect x="{left:.1f}" y="{top + 4}" width="{wide:.1f}" height="{ROW - 8}" fill="{colour}"/>'
        f'<text x="{left + wide + 4:.1f}" y="{top + 14}" fill="#555555">{label}</text>'
    )


def _drawn_moment(trace: Trace, happening: Happening, took: float, top: int) -> str:
    at = _place(trace, happening.at, took)
    x, anchor = (at + 8, "start") if at < LEFT + CHART / 2 else (at - 8, "end")
    return (
        f'<circle cx="{at:.1f}" cy="{top + 10}" r="3" fill="{FAILED}"/>'
        f'<text x="{x:.1f}" y="{top + 14}" text-anchor="{anchor}" fill="#555555">'
        f"{escape(_moment(trace, happening))}</text>"
    )


def _place(trace: Trace, at: float, took: float) -> float:
    return LEFT + max(0.0, min(1.0, trace.at(at) / took)) * CHART
