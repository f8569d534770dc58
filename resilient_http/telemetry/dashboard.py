"""Dashboard: a Grafana dashboard of all instruments, made of their table. One panel for each, two for a histogram."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from resilient_http.telemetry.instruments import GAUGE, HISTOGRAM, INSTRUMENTS, SECONDS_UNIT, Instrument

WIDTH, HEIGHT, COLUMNS = 12, 8, 2
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
QUANTILES = (0.5, 0.95, 0.99)
CHOSEN = 'upstream=~"$upstream"'
SPAN = "$__rate_interval"


def dashboard() -> dict[str, Any]:
    """It, as Grafana imports it. Source: Grafana's dashboard JSON model, schema 39."""
    numbers = count()
    panels = [_placed(panel, next(numbers)) for row in INSTRUMENTS for panel in _panels(row)]
    calls = next(row for row in INSTRUMENTS if row.kind == HISTOGRAM)
    return {
        "title": "resilient_http",
        "uid": "resilient-http",
        "tags": ["resilient_http"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                {
                    "name": "upstream",
                    "type": "query",
                    "datasource": SOURCE,
                    "query": f"label_values({calls.prometheus}_count, upstream)",
                    "includeAll": True,
                    "multi": True,
                    "current": {"text": "All", "value": "$__all"},
                    "refresh": 2,
                },
            ]
        },
        "panels": panels,
    }


def expressions() -> list[str]:
    """All queries of the dashboard, with Grafana's variables filled in; for whoever checks them."""
    queries = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return [query.replace(SPAN, "5m").replace("$upstream", ".*") for query in queries]


def _panels(row: Instrument) -> Iterator[dict[str, Any]]:
    title = row.name.removeprefix("resilient_http.").replace(".", " ").replace("_", " ")
    labels, chosen = ", ".join(row.labels), CHOSEN if "upstream" in row.labels else ""
    legend = " ".join(f"{{{{{label}}}}}" for label in row.labels)
    if row.kind == HISTOGRAM:
        rate = f"sum by ({labels}) (rate({row.prometheus}_count{{{chosen}}}[{SPAN}]))"
        if len(row.labels) > 1:
            yield _panel(f"{title}: per second", row.means, "ops", [(rate, legend)])
        buckets = f"sum by (upstream, le) (rate({row.prometheus}_bucket{{{chosen}}}[{SPAN}]))"
        quantiles = [(f"histogram_quantile({q}, {buckets})", f"{{{{upstream}}}} p{q * 100:.0f}") for q in QUANTILES]
        yield _panel(f"{title}: quantiles", row.means, "s", quantiles)
    elif row.kind == GAUGE:
        unit = "s" if row.unit == SECONDS_UNIT else "short"
        yield _panel(title, row.means, unit, [(f"{row.across} by ({labels}) ({row.prometheus}{{{chosen}}})", legend)])
    else:
        rate = f"sum by ({labels}) (rate({row.prometheus}{{{chosen}}}[{SPAN}]))"
        yield _panel(f"{title}: per second", row.means, "ops", [(rate, legend)])


def _panel(title: str, means: str, unit: str, queries: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": title,
        "description": means,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": query, "legendFormat": legend}
            for number, (query, legend) in enumerate(queries)
        ],
    }


def _placed(panel: dict[str, Any], number: int) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    return {**panel, "id": number + 1, "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT}}
